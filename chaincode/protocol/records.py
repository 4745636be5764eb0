"""Base of the protocol's objects: frozen dataclasses whose annotations are their schema.

    @dataclass(frozen=True)
    class Output(Record):
        owner: Digest
        amount: Positive

Every field is checked when an object is made, so that an object that exists is well-formed; `to_json` gives a dict for
`canonical.dumps`, `from_json` reads one back and refuses unknown and missing fields (with a default it may be missing).
Bytes are bytes in Python and lowercase hex in JSON. Every refusal is a `MalformedInput` that names class and field.
"""

# ruff: noqa: D102 - what a codec does is told at Codec

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Annotated, Any, Self

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.codecs import Bytes, Codec, Flag, Integer, ManyOf, Nullable, Size, Text
from goldengrain.chaincode.protocol.errors import MalformedInput

MAX_AMOUNT = 2**63 - 1
MAX_SCORE = 1_000_000
MAX_TIME = 2**62
BASIS_POINTS = 10_000
ENCRYPTION_KEY_SIZE = 1216
"""Bytes of an HPKE public key: ML-KEM-768's 1,184 and X25519's 32."""

Amount = Annotated[int, Integer(0, MAX_AMOUNT)]
"""Smallest units of the market's credit."""
Positive = Annotated[int, Integer(1, MAX_AMOUNT)]
Score = Annotated[int, Integer(0, MAX_SCORE)]
"""Parts per million."""
Threshold = Annotated[int, Integer(0, 2 * MAX_SCORE)]
"""A score, or one that none reaches."""
Time = Annotated[int, Integer(0, MAX_TIME)]
"""Seconds of ledger time since 1970."""
Seconds = Annotated[int, Integer(0, 100 * 365 * 86_400)]
Count = Annotated[int, Integer(0, 2**32)]
Index = Annotated[int, Integer(0, 2**31)]
BasisPoints = Annotated[int, Integer(0, BASIS_POINTS)]
Version = Annotated[int, Integer(1, 2**31)]

Digest = Annotated[bytes, Bytes(32, 32)]
"""A SHA-256 digest, an id, an account or another value of 32 bytes."""
SigningKey = Annotated[bytes, Bytes(33, 33)]
"""A compressed secp256k1 public key."""
EncryptionKey = Annotated[bytes, Bytes(ENCRYPTION_KEY_SIZE, ENCRYPTION_KEY_SIZE)]
"""An HPKE public key, ML-KEM-768 then X25519."""
Signature = Annotated[bytes, Bytes(65, 65)]
"""r, s and v of a secp256k1 signature."""
Fmspc = Annotated[bytes, Bytes(6, 6)]
"""Family-Model-Stepping-Platform-CustomSKU of an SGX platform."""

Name = Annotated[str, Text(1, 128)]
CoinId = Annotated[str, Text(66, 68, r"[0-9a-f]{64}:(0|[1-9][0-9]?)")]
"""A coin's id: transaction id, colon, index."""
TransactionId = Annotated[str, Text(64, 64, r"[0-9a-f]{64}")]
Bookmark = Annotated[str, Text(0, 512)]


class Nested(Codec):
    """Another record."""

    def __init__(self, kind: type[Record]) -> None:
        self.kind = kind

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, self.kind):
            raise MalformedInput(f"{name} must be a {self.kind.__name__}, not {type(value).__name__}")

    def encode(self, value: Any) -> Json:
        return value.to_json()

    def decode(self, name: str, value: Json) -> Record:
        if not isinstance(value, dict):
            raise MalformedInput(f"{name} must be an object of {self.kind.__name__}, not {type(value).__name__}")
        return self.kind.from_json(value)


class Choice(Codec):
    """One of the words of an enumeration."""

    def __init__(self, kind: type[StrEnum]) -> None:
        self.kind = kind

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, self.kind):
            raise MalformedInput(f"{name} must be a {self.kind.__name__}, not {type(value).__name__}")

    def encode(self, value: Any) -> Json:
        return str(value)

    def decode(self, name: str, value: Json) -> StrEnum:
        if not isinstance(value, str) or value not in [str(word) for word in self.kind]:
            raise MalformedInput(f"{name} must be one of {', '.join(self.kind)}; got {str(value)[:40]!r}")
        return self.kind(value)


class Record:
    """An object of the protocol; subclasses are frozen dataclasses."""

    def __post_init__(self) -> None:
        for name, codec in schema(type(self)).items():
            codec.check(f"{type(self).__name__}.{name}", getattr(self, name))
        self.check()

    def check(self) -> None:
        """Refuse fields that contradict each other; raises `MalformedInput` or a named refusal."""

    def to_json(self) -> dict[str, Json]:
        """Return the object as JSON has it."""
        return {name: codec.encode(getattr(self, name)) for name, codec in schema(type(self)).items()}

    def to_bytes(self) -> bytes:
        """Return the object's canonical JSON."""
        return canonical.dumps(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes, max_size: int = canonical.MAX_SIZE) -> Self:
        """Read an object from JSON; raises `MalformedInput`."""
        return cls.from_json(canonical.loads(data, max_size))

    @classmethod
    def from_json(cls, document: Json) -> Self:
        """Read an object back; raises `MalformedInput` on unknown or missing fields and on wrong values."""
        if not isinstance(document, dict):
            raise MalformedInput(f"{cls.__name__} must be a JSON object, not {type(document).__name__}")
        codecs = schema(cls)
        unknown = sorted(set(document) - set(codecs))
        if unknown:
            raise MalformedInput(f"{cls.__name__} has no field {unknown[0][:80]!r}; it has {', '.join(codecs)}")
        missing = sorted(required(cls) - set(document))
        if missing:
            raise MalformedInput(f"{cls.__name__} lacks {', '.join(missing)}")
        values = {name: codecs[name].decode(f"{cls.__name__}.{name}", value) for name, value in document.items()}
        return cls(**values)


_SCHEMAS: dict[type[Any], dict[str, Codec]] = {}
_REQUIRED: dict[type[Any], frozenset[str]] = {}


def schema(kind: type[Any]) -> dict[str, Codec]:
    """Return the codec of each field of a record's class, in the order of its fields."""
    if kind not in _SCHEMAS:
        hints = typing.get_type_hints(kind, include_extras=True)
        _SCHEMAS[kind] = {field.name: codec_of(hints[field.name]) for field in fields(kind)}
    return _SCHEMAS[kind]


def required(kind: type[Any]) -> frozenset[str]:
    """Return the names of the fields without a default."""
    if kind not in _REQUIRED:
        bare = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        _REQUIRED[kind] = frozenset(bare)
    return _REQUIRED[kind]


def codec_of(hint: Any) -> Codec:
    """Return the codec of an annotation; raises `TypeError` for one that says too little."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is Annotated:
        kind, rule = arguments[0], arguments[1]
        if isinstance(rule, Codec):
            return rule
        if isinstance(rule, Size) and typing.get_origin(kind) is tuple:
            return ManyOf(codec_of(typing.get_args(kind)[0]), rule)
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and type(None) in arguments:
        return Nullable(codec_of(next(arm for arm in arguments if arm is not type(None))))
    if hint is bool:
        return Flag()
    if isinstance(hint, type) and issubclass(hint, Record):
        return Nested(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Choice(hint)
    raise TypeError(f"{hint!r} doesn't say what is allowed")
