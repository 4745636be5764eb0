"""How a contract function is called: its name, then its arguments as one document of canonical JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import MalformedInput, UnknownCommand
from goldengrain.chaincode.protocol.records import Record


@dataclass(frozen=True)
class Request(Record):
    """A call of a contract function; the class's name is the function's."""

    @classmethod
    def function(cls) -> str:
        """Return the contract function's name."""
        return cls.__name__

    def to_args(self) -> list[bytes]:
        """Return the call's arguments: [name, canonical JSON of the fields]."""
        return [self.function().encode(), canonical.dumps(self.to_json())]

    @classmethod
    def from_args(cls, args: Sequence[bytes]) -> Self:
        """Read a call of this function; without a second argument all fields take their defaults."""
        if not args or args[0] != cls.function().encode():
            raise UnknownCommand(f"the function must be {cls.function()}")
        if len(args) > 2:
            raise MalformedInput(f"{cls.function()} takes one argument, a JSON object; got {len(args) - 1}")
        return cls.from_json(canonical.loads(args[1]) if len(args) == 2 else {})


@dataclass(frozen=True)
class Command(Request):
    """A call that changes the ledger."""


@dataclass(frozen=True)
class Query(Request):
    """A call that reads only."""


def parse_request(functions: Mapping[str, type[Request]], args: Sequence[bytes]) -> Request:
    """Read a call of any of the functions; raises `UnknownCommand` or `MalformedInput`."""
    if not args:
        raise UnknownCommand("name a function; `goldengrain tx evaluate GetPolicy` is one to start with")
    kind = functions.get(args[0][:64].decode("utf-8", "replace"))
    if kind is None:
        raise UnknownCommand(f"the contract has no function {args[0][:64]!r}; it has {', '.join(functions)}")
    return kind.from_args(args)
