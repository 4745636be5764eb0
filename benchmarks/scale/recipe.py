"""How the values of a story hang together, so that a copy of it under fresh ids is what the rules would have made.

While the script is played, everything that the protocol hashes is noted. A value of 32 bytes in the records is then one
of three: *fixed* (it also stands outside the story: operators, enclaves, the policy), *drawn* (transaction ids, digests
of files, secrets, accounts; a copy draws its own), or *hashed* (task and offer ids, h = H(r), …: a copy hashes its own
preimage). Records become templates with a hole for each value that is not fixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.scale.story import People, ScriptedWorld, Story, founded
from goldengrain.chaincode.protocol import digests

_VALUE = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_WORD = 32

Piece = bytes | int
"""Bytes that every copy has, or the number of a value."""


@dataclass(frozen=True)
class Template:
    """A record: its key and its bytes with `%b` for each value, and the values' numbers."""

    key: bytes
    key_values: tuple[int, ...]
    value: bytes
    value_values: tuple[int, ...]

    @property
    def family(self) -> bytes:
        """The first part of the key."""
        return family_of(self.key)


@dataclass
class Recipe:
    """Templates of a story's records, and where their values come from."""

    base: Mapping[str, bytes]
    """What stands on the ledger without any story."""
    templates: list[Template]
    preimages: dict[int, tuple[Piece, ...]]
    """Of each hashed value what it is the SHA-256 of."""
    accounts: dict[int, bytes]
    """The people's accounts: half of the copies keep them."""
    values: int
    """Number of values."""


def make_recipe() -> Recipe:
    """Play the story once on a ledger in memory and take its records apart."""
    world, people = founded(ScriptedWorld()), People.of("of the loaded state")
    base = dict(world.ledger.state)
    with _noted() as hashed:
        Story(world, people).play()
    records = {name: value for name, value in world.ledger.state.items() if name not in base}
    changed = [name for name, value in base.items() if world.ledger.state.get(name) != value]
    if changed:
        raise AssertionError(f"the story changes {changed}, which every copy would share")
    return _Values(base, hashed, people).recipe(records)


@contextmanager
def _noted() -> Iterator[dict[bytes, bytes]]:
    """Note what `digests` hashes meanwhile: digest -> preimage."""
    noted: dict[bytes, bytes] = {}
    plain = digests.sha256

    def sha256(data: bytes | bytearray | memoryview) -> bytes:
        found = plain(data)
        noted[found] = bytes(data)
        return found

    digests.sha256 = sha256
    try:
        yield noted
    finally:
        digests.sha256 = plain


class _Values:
    """Numbers the values of a story."""

    def __init__(self, base: Mapping[str, bytes], hashed: Mapping[bytes, bytes], people: People) -> None:
        self._base = base
        text = b"\n".join([*(name.encode() for name in base), *base.values()])
        self._fixed = {bytes.fromhex(one.decode()) for one in _VALUE.findall(text)} | {bytes(_WORD)}
        self._hashed = hashed
        self._people = people
        self._drawn: set[bytes] = set()
        self._numbers: dict[bytes, int] = {}
        self._varies: dict[bytes, bool] = {}

    def recipe(self, records: Mapping[str, bytes]) -> Recipe:
        text = b"\n".join([*(name.encode() for name in records), *records.values()])
        found = [bytes.fromhex(one.decode()) for one in _VALUE.findall(text)]
        self._drawn = {one for one in found if one not in self._hashed and one not in self._fixed}
        self._drawn |= set(self._people.accounts)
        templates = [self._template(name.encode(), value) for name, value in records.items()]
        preimages = self._preimages()
        accounts = {self._numbers[one]: one for one in self._people.accounts}
        return Recipe(self._base, templates, preimages, accounts, len(self._numbers))

    def _varying(self, value: bytes) -> bool:
        """Whether copies have another one: it is drawn, or hashed from something that varies."""
        if value not in self._varies:
            preimage = b"" if value in self._drawn else self._hashed.get(value, b"")
            self._varies[value] = value in self._drawn or any(self._varying(one) for one in _words(preimage))
        return self._varies[value]

    def _number(self, value: bytes) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def _template(self, key: bytes, value: bytes) -> Template:
        return Template(*self._holes(key), *self._holes(value))

    def _holes(self, text: bytes) -> tuple[bytes, tuple[int, ...]]:
        numbers: list[int] = []

        def hole(match: re.Match[bytes]) -> bytes:
            value = bytes.fromhex(match[0].decode())
            if not self._varying(value):
                return match[0]
            numbers.append(self._number(value))
            return b"%b"

        return _VALUE.sub(hole, text.replace(b"%", b"%%")), tuple(numbers)

    def _preimages(self) -> dict[int, tuple[Piece, ...]]:
        """Take apart what is hashed; that may number further values, whose preimages follow."""
        found: dict[int, tuple[Piece, ...]] = {}
        while waiting := [v for v, n in self._numbers.items() if v not in self._drawn and n not in found]:
            for value in waiting:
                pieces = _words(self._hashed[value])
                found[self._numbers[value]] = tuple(self._number(one) if self._varying(one) else one for one in pieces)
        return found


def _words(preimage: bytes) -> Sequence[bytes]:
    return [preimage[first : first + _WORD] for first in range(0, len(preimage), _WORD)]


def family_of(key: bytes) -> bytes:
    """Return the first part of a key with its slash."""
    return key[: key.find(b"/") + 1] or key
