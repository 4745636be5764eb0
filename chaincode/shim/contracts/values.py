"""Arguments and results: bytes on the wire, typed values in the contract (ADR 0041).

| type | on the wire |
| --- | --- |
| `bytes` | as it is |
| `str`, and what JSON writes as a string (`datetime`, `Decimal`, `UUID`, enumerations of texts, …) | its text |
| anything else: numbers, `bool`, lists, dataclasses, `TypedDict`, … | JSON |

JSON is read strictly (no `"1"` for a number) and written with all fields in the order of their names, so that endorsers
agree.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from goldengrain.chaincode.shim.errors import DeclarationError, InvalidArgument
from goldengrain.chaincode.shim.responses import Response, success

Value = TypeVar("Value")
Reader = Callable[[bytes], Any]

_SIMPLE = frozenset({str, int, bool, float, bytes, type(None)})
# Not "deterministic": that leaves a dataclass's fields in the order in which they were set.
_ENCODER = msgspec.json.Encoder(order="sorted")


def to_json(value: object) -> bytes:
    """Write a value as JSON, the same bytes for equal values on every endorser.

    Raises InvalidArgument for what JSON cannot hold.
    """
    _complete(value)
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"a {type(value).__name__} cannot be written as JSON: {error}") from error


def from_json(raw: bytes | None, kind: type[Value]) -> Value:
    """Read a value of a type. Raises InvalidArgument, which names the place and the type, for anything else.

    None is what the state has under a key that it does not know (here; another peer may be a block ahead).
    """
    if raw is None:
        raise InvalidArgument(f"there is no {getattr(kind, '__name__', kind)} to read: nothing is stored under the key")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(_complaint(error)) from error


def reader_of(kind: Any) -> Reader:
    """Return what reads an argument of a type. Raises DeclarationError for a type that no argument can have."""
    if _plain(kind) is bytes:
        return bytes
    try:
        decoder = msgspec.json.Decoder(kind)
        textual = is_text(kind)
    except (TypeError, RuntimeError) as error:
        raise DeclarationError(str(error)) from error
    return _text_reader(kind) if textual else _json_reader(decoder)


def is_text(kind: Any) -> bool:
    """Whether values of a type are written as strings, and so are their own text on the wire."""
    schema = msgspec.json.schema(kind)
    while "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return bool(kinds) and all(_is_string(one) for one in kinds)


def schema_of(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON schema of a type, and the ones that it refers to as `#/components/schemas/<name>`."""
    if _plain(kind) is bytes:
        return {"type": "string", "format": "byte"}, {}
    try:
        (schema,), components = msgspec.json.schema_components((kind,), ref_template="#/components/schemas/{name}")
    except (TypeError, RuntimeError) as error:
        raise DeclarationError(str(error)) from error
    return schema, components


def answer(result: object) -> Response:
    """What a function returned, as a response: nothing is empty, bytes and texts are themselves, the rest JSON."""
    if isinstance(result, Response):
        return result
    if result is None:
        return success()
    if isinstance(result, bytes):
        return success(result)
    if isinstance(result, str) and not isinstance(result, Enum):
        return success(result.encode())
    encoded = to_json(result)
    return success(msgspec.json.decode(encoded, type=str).encode() if encoded.startswith(b'"') else encoded)


def _complete(value: object) -> None:
    """Give dataclasses in a value the fields that they have from their class alone.

    msgspec leaves a field that was not in the JSON to the class's default and would not write it back: two equal values
    would have different bytes.
    """
    if type(value) in _SIMPLE:
        return
    if isinstance(value, dict):
        for one in value.values():
            _complete(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            _complete(one)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _complete(getattr(value, name))
    elif is_dataclass(value) and not isinstance(value, type):
        own = getattr(value, "__dict__", None)
        for name in value.__dataclass_fields__:
            found = getattr(value, name)
            if own is not None and name not in own:
                own[name] = found
            _complete(found)


def _text_reader(kind: Any) -> Reader:
    def read(raw: bytes) -> Any:
        try:
            return msgspec.convert(raw.decode(), kind)
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            raise InvalidArgument(_complaint(error)) from error

    return read


def _json_reader(decoder: "msgspec.json.Decoder[Any]") -> Reader:
    def read(raw: bytes) -> Any:
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidArgument(_complaint(error)) from error

    return read


def _complaint(error: Exception) -> str:
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def _is_string(schema: dict[str, Any]) -> bool:
    if "type" in schema:
        return bool(schema["type"] == "string")
    choices = schema.get("enum", [schema.get("const")])
    return all(isinstance(choice, str) for choice in choices)


def _plain(kind: Any) -> Any:
    """Return the type without `| None`."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [one for one in get_args(kind) if one is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind
