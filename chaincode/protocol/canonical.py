"""Canonical JSON: the one way in which commands, records and events are written.

Keys are sorted, nothing is spaced, everything is ASCII; values are integers, text, booleans, null, lists and objects.
There are no floats. Bytes travel as lowercase hex. What is read back is refused when it repeats a key, holds a float,
isn't UTF-8, nests too deep or is too large, on every peer alike.

    >>> dumps({"b": 1, "a": ["x", None]})
    b'{"a":["x",null],"b":1}'
    >>> loads(b'{"a": 1}')
    {'a': 1}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from goldengrain.chaincode.protocol.errors import MalformedInput

Json = Any
"""What `json` reads: None, bool, int, str, list or dict with str keys."""

MAX_SIZE = 256 * 1024
"""Greatest size in bytes of a document, unless the reader says otherwise."""

MAX_DEPTH = 16
MAX_DIGITS = 20

_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")


def dumps(document: Json) -> bytes:
    """Write a document. Raises `TypeError` on a value that has no canonical form: that is a fault in the program."""
    _require_plain(document)
    return dumps_plain(document)


def dumps_plain(document: Json) -> bytes:
    """Write what is known to hold nothing but JSON's own types, such as a record's `to_json`; as `dumps` otherwise."""
    return _WRITER.encode(document).encode("ascii")


def join(members: Mapping[str, bytes]) -> bytes:
    """Write an object whose members have been written before."""
    return b"{" + b",".join(dumps_plain(name) + b":" + members[name] for name in sorted(members)) + b"}"


def loads(data: bytes, max_size: int = MAX_SIZE) -> Json:
    """Read a document of at most `max_size` bytes. Raises `MalformedInput`. Spaces and the order of keys are free."""
    if len(data) > max_size:
        raise MalformedInput(f"JSON of {len(data):,} bytes; at most {max_size:,} are read")
    _require_shallow(data)
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_parse_int,
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MalformedInput(f"not JSON in UTF-8: {error}") from error


def _require_shallow(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise MalformedInput(f"JSON nests deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    document = dict(pairs)
    if len(document) != len(pairs):
        repeated = sorted({name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1})
        raise MalformedInput(f"JSON repeats the key {repeated[0]!r}")
    return document


def _refuse_number(text: str) -> NoReturn:
    raise MalformedInput(f"JSON holds {text[:MAX_DIGITS]}; only integers are read")


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise MalformedInput(f"JSON holds an integer of {len(text)} digits; at most {MAX_DIGITS} are read")
    return int(text)


def _require_plain(document: Json) -> None:
    if document is None or isinstance(document, bool | int | str):
        return
    if isinstance(document, list | tuple):
        for item in document:
            _require_plain(item)
    elif isinstance(document, dict):
        for key, item in document.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of canonical JSON is text, not {type(key).__name__}")
            _require_plain(item)
    else:
        raise TypeError(f"{type(document).__name__} has no canonical JSON")
