"""Keys: the checks that peers leave to shims, and composite keys.

A peer on LevelDB commits an empty key, keys that begin with U+0000 and reversed ranges without a word, so what must
not happen is refused here, the same for reads and writes:

- no empty key, nothing that UTF-8 cannot carry (lone surrogates);
- a key that begins with U+0000 has to be a whole composite key, because that is Fabric's name space for them:
  U+0000, the object type and every attribute, each followed by U+0000; U+0000 and U+10FFFF in none of them;
- no collection name that a definition could not have; `_` at its start is Fabric's, for implicit collections;
- range bounds are simple keys; an empty start means U+0001, so that composite keys stay out of open ranges; a start
  behind its end is a mistake, not an empty result.
"""

import re
from collections.abc import Sequence

from goldengrain.chaincode.shim.errors import InvalidArgument, InvalidKey

COMPOSITE_NAMESPACE = "\x00"
SEPARATOR = "\x00"
MAX_RUNE = "\U0010ffff"
FIRST_SIMPLE_KEY = "\x01"
IMPLICIT_COLLECTION = "_implicit_org_"
_COLLECTION = re.compile(rf"[A-Za-z0-9-][A-Za-z0-9_-]*|{IMPLICIT_COLLECTION}[^\x00]+")


def check_key(key: str) -> str:
    """Return the key if it may reach the ledger. Raises InvalidKey."""
    if not key:
        raise InvalidKey("a key must not be empty")
    _check_encodable(key)
    if key.startswith(COMPOSITE_NAMESPACE) and not (len(key) > 1 and key.endswith(SEPARATOR)):
        raise InvalidKey("a key that begins with U+0000 has to be a composite key: make it with composite_key()")
    return key


def check_range(start: str, end: str) -> tuple[str, str]:
    """Bounds of a range over simple keys: `start` included, `end` not; empty is open. Raises InvalidKey."""
    for bound in (start, end):
        _check_encodable(bound)
        if bound.startswith(COMPOSITE_NAMESPACE):
            raise InvalidKey("a range bound must not begin with U+0000: use range_composite() for composite keys")
    start = start or FIRST_SIMPLE_KEY
    if end and start > end:  # code points sort as their UTF-8 bytes do
        raise InvalidKey("a range's start lies behind its end")
    return start, end


def check_collection(name: str) -> str:
    """Return the name if a private data collection can have it. Raises InvalidArgument."""
    if not _COLLECTION.fullmatch(name):
        raise InvalidArgument(
            "a private data collection's name is of letters, digits, - and _, and begins with _ only where it is an "
            "organisation's own: take that from implicit_collection()"
        )
    return name


def implicit_collection(msp_id: str) -> str:
    """Name of the collection that every organisation has for itself, without a definition. Raises InvalidArgument."""
    return check_collection(IMPLICIT_COLLECTION + msp_id)


def composite_key(object_type: str, attributes: Sequence[str] = ()) -> str:
    """U+0000 object type U+0000 attribute U+0000 …, as every Fabric shim writes it. Raises InvalidKey."""
    parts = (object_type, *attributes)
    for part in parts:
        _check_encodable(part)
        if SEPARATOR in part or MAX_RUNE in part:
            raise InvalidKey("U+0000 and U+10FFFF are not allowed in a part of a composite key")
    return COMPOSITE_NAMESPACE + "".join(part + SEPARATOR for part in parts)


def split_composite_key(key: str) -> tuple[str, list[str]]:
    """Object type and attributes of a composite key. Raises InvalidKey."""
    if len(key) < 2 or not key.startswith(COMPOSITE_NAMESPACE) or not key.endswith(SEPARATOR):
        raise InvalidKey("not a composite key")
    object_type, *attributes = key[1:-1].split(SEPARATOR)
    return object_type, attributes


def composite_range(object_type: str, attributes: Sequence[str] = ()) -> tuple[str, str]:
    """Bounds of all composite keys that begin with these parts (the key of just these parts included)."""
    start = composite_key(object_type, attributes)
    return start, start + MAX_RUNE


def all_composite_range() -> tuple[str, str]:
    """Bounds of all composite keys, whatever their object type."""
    return COMPOSITE_NAMESPACE, FIRST_SIMPLE_KEY


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey("a key must be encodable as UTF-8 (no lone surrogates)") from error
