"""Codecs of single values: what is allowed in a field, and how it is written in JSON."""

# ruff: noqa: D102 - what a codec does is told at Codec

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.errors import MalformedInput

_HEX = re.compile(r"(?:[0-9a-f]{2})*")


class Codec(ABC):
    """How one field is checked, written and read; `name` is what errors call it."""

    @abstractmethod
    def check(self, name: str, value: object) -> None:
        """Raise `MalformedInput` unless the value is allowed."""

    def encode(self, value: Any) -> Json:
        """Return the value as JSON has it."""
        return value

    def decode(self, name: str, value: Json) -> Any:
        """Return the value of its JSON; what it is, is checked when the record is made."""
        return value


@dataclass(frozen=True)
class Integer(Codec):
    """An integer from `low` to `high`; neither a bool nor a float is one."""

    low: int
    high: int

    def check(self, name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise MalformedInput(f"{name} must be an integer, not {type(value).__name__}")
        if not self.low <= value <= self.high:
            raise MalformedInput(f"{name} must be from {self.low:,} to {self.high:,}")


@dataclass(frozen=True)
class Flag(Codec):
    """True or false."""

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, bool):
            raise MalformedInput(f"{name} must be true or false, not {type(value).__name__}")


@dataclass(frozen=True)
class Text(Codec):
    """Printable text of `low` to `high` characters that a pattern, if any, matches as a whole."""

    low: int
    high: int
    pattern: str | None = None
    printable: bool = True

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, str):
            raise MalformedInput(f"{name} must be text, not {type(value).__name__}")
        if not self.low <= len(value) <= self.high:
            raise MalformedInput(f"{name} must have {self.low:,} to {self.high:,} characters, not {len(value):,}")
        if self.printable and not value.isprintable():
            raise MalformedInput(f"{name} must be printable text")
        if self.pattern is not None and re.fullmatch(self.pattern, value, re.ASCII) is None:
            raise MalformedInput(f"{name} must match {self.pattern}; got {value[:80]!r}")
        if not value.isascii():
            _require_utf8(name, value)


def _require_utf8(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedInput(f"{name} has no UTF-8") from error


@dataclass(frozen=True)
class Bytes(Codec):
    """`low` to `high` bytes; lowercase hex in JSON."""

    low: int
    high: int

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, bytes):
            raise MalformedInput(f"{name} must be bytes, not {type(value).__name__}")
        if not self.low <= len(value) <= self.high:
            size = f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"
            raise MalformedInput(f"{name} must have {size} bytes, not {len(value):,}")

    def encode(self, value: Any) -> Json:
        return value.hex()

    def decode(self, name: str, value: Json) -> Any:
        if not isinstance(value, str):
            raise MalformedInput(f"{name} must be lowercase hex, not {type(value).__name__}")
        if len(value) > 2 * self.high:
            raise MalformedInput(f"{name} must have at most {self.high:,} bytes, not {len(value) // 2:,}")
        if _HEX.fullmatch(value) is None:
            raise MalformedInput(f"{name} must be lowercase hex")
        return bytes.fromhex(value)


@dataclass(frozen=True)
class Nullable(Codec):
    """A value that may be absent."""

    inner: Codec

    def check(self, name: str, value: object) -> None:
        if value is not None:
            self.inner.check(name, value)

    def encode(self, value: Any) -> Json:
        return None if value is None else self.inner.encode(value)

    def decode(self, name: str, value: Json) -> Any:
        return None if value is None else self.inner.decode(name, value)


@dataclass(frozen=True)
class Size:
    """How many items a tuple may have, and whether they may repeat: `Annotated[tuple[Digest, ...], Size(1, 64)]`."""

    low: int
    high: int
    unique: bool = False


@dataclass(frozen=True)
class ManyOf(Codec):
    """A tuple of values; a list in JSON."""

    inner: Codec
    size: Size

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, tuple):
            raise MalformedInput(f"{name} must be a tuple, not {type(value).__name__}")
        self._check_length(name, value)
        for index, item in enumerate(value):
            self.inner.check(f"{name}[{index}]", item)
        if self.size.unique and len(set(value)) != len(value):
            raise MalformedInput(f"{name} must not repeat an item")

    def encode(self, value: Any) -> Json:
        return [self.inner.encode(item) for item in value]

    def decode(self, name: str, value: Json) -> Any:
        if not isinstance(value, list):
            raise MalformedInput(f"{name} must be a list, not {type(value).__name__}")
        self._check_length(name, value)
        return tuple(self.inner.decode(f"{name}[{index}]", item) for index, item in enumerate(value))

    def _check_length(self, name: str, value: Sequence[object]) -> None:
        if not self.size.low <= len(value) <= self.size.high:
            raise MalformedInput(f"{name} must have {self.size.low:,} to {self.size.high:,} items, not {len(value):,}")
