"""A state of any size, in the order of its keys: copies of a story, beside what stands on the ledger without one.

Rows are made family by family (all coins, all claims, …) and sorted within one, so that the file is written from its
front to its back. The values of all copies are held in memory, 12 kB each (600 MB for a million offers).
"""

from __future__ import annotations

import struct
from binascii import hexlify
from collections.abc import Iterator, Mapping
from hashlib import sha256, shake_256

from benchmarks.scale.recipe import Piece, Recipe, Template, family_of
from benchmarks.scale.story import OFFERS

_PLACE = struct.Struct(">IH")
_SIZE = 32
Row = tuple[bytes, bytes]


class Copies:
    """`count` copies of a recipe's story; every second one keeps its people's accounts."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        self.recipe = recipe
        self.count = count
        order = _order(recipe.preimages)
        self._values = [hexlify(b"".join(self._values_of(copy, order))) for copy in range(count)]

    @classmethod
    def of_offers(cls, recipe: Recipe, offers: int) -> Copies:
        """As many copies as hold that many offers; raises ValueError where no whole number does."""
        if offers % OFFERS:
            raise ValueError(f"a story has {OFFERS} offers, so {offers} are no whole number of stories")
        return cls(recipe, offers // OFFERS)

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(self.recipe.base) + self.count * len(self.recipe.templates)

    def rows(self) -> Iterator[Row]:
        """Return every key and value, in the order of keys."""
        families = {one.family for one in self.recipe.templates}
        families |= {family_of(name.encode()) for name in self.recipe.base}
        for family in sorted(families):
            yield from self._family(family)

    def _values_of(self, copy: int, order: list[int]) -> list[bytes]:
        drawn = shake_256(b"copy %d" % copy).digest(_SIZE * self.recipe.values)
        values = [drawn[first : first + _SIZE] for first in range(0, len(drawn), _SIZE)]
        if copy % 2:
            for number, account in self.recipe.accounts.items():
                values[number] = account
        for number in order:
            pieces = self.recipe.preimages[number]
            values[number] = sha256(b"".join(p if isinstance(p, bytes) else values[p] for p in pieces)).digest()
        return values

    def _family(self, family: bytes) -> Iterator[Row]:
        """Sort keys with the place of their record behind them, then fill the templates in that order."""
        templates = [_Filled(one) for one in self.recipe.templates if one.family == family]
        base = {name.encode(): value for name, value in self.recipe.base.items()}
        alone = {name: value for name, value in base.items() if family_of(name) == family}
        keys = [name + b"\0" + _PLACE.pack(0, len(templates)) for name in alone]
        for copy, values in enumerate(self._values):
            keys += [one.key(values) + b"\0" + _PLACE.pack(copy, index) for index, one in enumerate(templates)]
        keys.sort()
        for entry in keys:
            name = entry[: -_PLACE.size - 1]
            copy, index = _PLACE.unpack(entry[-_PLACE.size :])
            yield name, alone[name] if index == len(templates) else templates[index].value(self._values[copy])


class _Filled:
    """A template, and where in a copy's values in hex those for its holes stand."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._in_key = [slice(n * 2 * _SIZE, (n + 1) * 2 * _SIZE) for n in template.key_values]
        self._in_value = [slice(n * 2 * _SIZE, (n + 1) * 2 * _SIZE) for n in template.value_values]

    def key(self, values: bytes) -> bytes:
        return self._template.key % tuple([values[one] for one in self._in_key])

    def value(self, values: bytes) -> bytes:
        return self._template.value % tuple([values[one] for one in self._in_value])


def _order(preimages: Mapping[int, tuple[Piece, ...]]) -> list[int]:
    """Hashed values, each after those that it is hashed from."""
    ordered: dict[int, None] = {}

    def visit(number: int) -> None:
        for piece in preimages[number]:
            if isinstance(piece, int) and piece in preimages and piece not in ordered:
                visit(piece)
        ordered[number] = None

    for number in preimages:
        if number not in ordered:
            visit(number)
    return list(ordered)
