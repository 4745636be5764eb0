"""What a record of the ledger is: an object of the protocol with the version of its kind.

On the ledger it stands as canonical JSON, `{"v": 1, …}`. A field that a later version adds gets a default, so that it
reads what an older contract has written; a record of a later version than this contract knows is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.records import Record, schema

MAX_RECORD_SIZE = 4 * 1024 * 1024
"""Greatest size in bytes of a record that is read back; collateral is the largest kind."""

REMEMBERED_SIZE = 16 * 1024
"""Greatest size in bytes of a record that is kept parsed: policy, tasks and enclaves are read all the time."""


Kind = TypeVar("Kind", bound=Record)

if TYPE_CHECKING:
    from dataclasses import (
        replace as replace,
    )  # which names and types a record takes, type checkers know of this one only
else:

    def replace(record: Kind, /, **changes: Any) -> Kind:
        """Return a record with other values in some fields; only those are checked, the rest has been.

        Raises:
            MalformedInput: a value that the field doesn't take, or fields that now contradict each other.

        """
        codecs = schema(type(record))
        for name, value in changes.items():
            codecs[name].check(f"{type(record).__name__}.{name}", value)
        copy = object.__new__(type(record))
        for name in codecs:
            object.__setattr__(copy, name, changes[name] if name in changes else getattr(record, name))
        copy.check()
        return copy


class StateUnreadable(ContractError):
    """A record that this contract can't read: deploy the version that wrote it, or a newer one."""

    code = "STATE_UNREADABLE"
    status: ClassVar[int] = 500


class StateRecord(Record):
    """Base of every record of the ledger; subclasses are frozen dataclasses."""

    VERSION: ClassVar[int] = 1
    stored_version: ClassVar[int] = 0
    """The version in which a record that was read stands on the ledger (set on the instance); 0 of a new one."""

    @property
    def held(self) -> int:
        """Amount that this record holds: of a coin its own, of anything else what is in escrow there."""
        return 0

    def document(self) -> dict[str, Any]:
        """Return the record as queries answer with it: its fields and `v`, the version."""
        return {"v": self.VERSION, **self.to_json()}

    def changes_from(self, before: StateRecord) -> dict[str, Any]:
        """Return the document's fields that differ from an older record of the key; all of it in another version."""
        if type(before) is not type(self) or before.stored_version != self.VERSION:
            return self.document()
        fields = schema(type(self)).items()
        return {
            name: codec.encode(getattr(self, name))
            for name, codec in fields
            if getattr(self, name) != getattr(before, name)
        }

    def encode(self) -> bytes:
        """Return the record's bytes on the ledger."""
        return canonical.dumps_plain(self.document())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a record back. What was read lately isn't parsed again: records never change, bytes say all of them."""
        if len(data) > REMEMBERED_SIZE:
            return cls.decode_anew(data)
        return cast("Self", _remembered(cls.decode_anew, data))

    @classmethod
    def decode_anew(cls, data: bytes) -> Self:
        """Read a record back without looking whether it is known."""
        try:
            document = json.loads(data)
        except ValueError as error:
            raise StateUnreadable(f"a {cls.__name__} that is not JSON: {error}") from error
        version = document.pop("v", None) if isinstance(document, dict) else None
        if not isinstance(version, int) or not 1 <= version <= cls.VERSION:
            raise StateUnreadable(f"version {version!r} of a {cls.__name__}; this contract reads up to {cls.VERSION}")
        record = cls.from_json(document)
        object.__setattr__(record, "stored_version", version)
        return record


@lru_cache(maxsize=2048)
def _remembered(decode: Callable[[bytes], StateRecord], data: bytes) -> StateRecord:
    return decode(data)
