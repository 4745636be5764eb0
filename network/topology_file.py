"""The YAML form of a topology.

Every key is optional but `organizations[].name`; what is left out is derived (`Org1` gives `Org1MSP` and
`org1.example.com`) or has the default of the dataclass. Keys that are not known are refused, so that a misspelt one
does not pass for its default.

    organizations:
      - name: Org1
        peers: [{name: peer0, port: 7051}]
        users: [{name: User1}, {name: Auditor, role: client, attributes: {department: audit}}]
      - name: Org2
    channel: {name: market, batch: {timeout_ms: 50, max_messages: 100}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from .errors import TopologyInvalid
from .topology import OrdererOrganization, Organization, Topology

VERSION = 1
"""Version of this file format, written as `version`."""

SCHEMA = Path(__file__).with_name("topology.schema.json")
"""The format as a JSON schema, for editors; `schema()` makes it."""


def load_topology(path: Path) -> Topology:
    """Read a topology from a YAML file.

    Raises:
        TopologyInvalid: if it cannot be read, is not YAML, or is not a valid topology; the message names the place.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TopologyInvalid(f"cannot read topology file {path}: {error}") from error
    return parse_topology(text, source=str(path))


def parse_topology(text: str, source: str = "topology") -> Topology:
    """Read a topology from YAML text; `source` is named in errors.

    Raises:
        TopologyInvalid: see `load_topology`.

    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise TopologyInvalid(f"{source} is not YAML: {error}") from error
    try:
        return _topology(document)
    except TopologyInvalid as error:
        raise TopologyInvalid(f"{source}: {error}") from error


def dump_topology(topology: Topology) -> str:
    """Write a topology as YAML text that `parse_topology` reads back to an equal value."""
    document = {"version": VERSION, **_plain(asdict(topology))}
    return yaml.safe_dump(document, sort_keys=False)


def read_organization(value: object, *, orderer: bool = False) -> Organization | OrdererOrganization:
    """Read one organisation from plain values, as it stands under `organizations` or `orderer`.

    Raises:
        TopologyInvalid: see `load_topology`.

    """
    found: Organization | OrdererOrganization = _read(
        "organization", OrdererOrganization if orderer else Organization, value
    )
    Topology(
        organizations=(Organization("Other", "OtherMSP", "other.invalid") if orderer else found,),  # type: ignore[arg-type]
        orderer=found if isinstance(found, OrdererOrganization) else OrdererOrganization(domain="orderer.invalid"),
    )
    return found


def schema() -> dict[str, Any]:
    """Describe the file format as a JSON schema (draft 2020-12), from the dataclasses that it is read into."""
    found = _schema(Topology)
    found["properties"] = {"version": {"const": VERSION}, **found["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A network of Golden Grain", **found}


def _topology(document: object) -> Topology:
    values = _mapping("the file", document, {"version", *_fields(Topology)})
    version = values.pop("version", VERSION)
    if version != VERSION:
        raise TopologyInvalid(f"version: {version!r} is not {VERSION}; this file is of another release")
    topology = _read("", Topology, values)
    if not isinstance(topology, Topology):
        raise AssertionError("a topology is read")
    return topology


def _read(place: str, kind: Any, value: object) -> Any:
    """Read a value of a type that a topology is made of."""
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_fields(place, kind, value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise TopologyInvalid(f"{place}: a list is expected, not {type(value).__name__}")
        return tuple(_read(f"{place}[{index}]", arguments[0], item) for index, item in enumerate(value))
    if origin is Literal:
        if value not in arguments:
            raise TopologyInvalid(f"{place}: {value!r} is not {' or '.join(map(str, arguments))}")
        return value
    if origin is UnionType:
        return None if value is None else _read(place, arguments[0], value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        items = _mapping(place, value, None).items()
        return {key: _read(f"{place}.{key}", arguments[1], item) for key, item in items}
    return value if kind is Any else _scalar(place, value, kind)


def _read_fields(place: str, kind: type, value: object) -> Any:
    known = _fields(kind)
    values = _mapping(place, value, set(known))
    if kind is Organization and "name" in values:
        name = str(values["name"])
        values = {"name": values["name"], "msp_id": f"{name}MSP", "domain": f"{name.lower()}.example.com", **values}
    for name, described in known.items():
        if name not in values and _required(described):
            raise TopologyInvalid(f"{place}{'.' if place else ''}{name}: missing")
    hints = get_type_hints(kind)
    prefix = f"{place}." if place else ""
    return kind(**{name: _read(f"{prefix}{name}", hints[name], item) for name, item in values.items()})


def _schema(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and is_dataclass(kind):
        hints, known = get_type_hints(kind), _fields(kind)
        derived = {"msp_id", "domain"} if kind is Organization else set()
        return {
            "type": "object",
            "description": (kind.__doc__ or "").partition("\n")[0],
            "properties": {name: _schema(hints[name]) for name in known},
            "required": [name for name, one in known.items() if _required(one) and name not in derived],
            "additionalProperties": False,
        }
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is UnionType:
        return {"anyOf": [_schema(one) for one in arguments]}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    return {
        int: {"type": "integer"},
        str: {"type": "string"},
        bool: {"type": "boolean"},
        NoneType: {"type": "null"},
    }.get(kind, {})


def _fields(kind: Any) -> dict[str, Field[Any]]:
    return {field.name: field for field in fields(kind)}


def _required(described: Field[Any]) -> bool:
    return described.default is MISSING and described.default_factory is MISSING


def _mapping(place: str, value: object, known: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TopologyInvalid(f"{place}: a mapping is expected, not {type(value).__name__}")
    unknown = sorted(set(value) - known) if known is not None else []
    if unknown:
        raise TopologyInvalid(f"{place}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known or ()))}")
    return dict(value)


def _scalar(place: str, value: object, kind: type) -> object:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {int: "a whole number", bool: "true or false"}
        raise TopologyInvalid(f"{place}: {value!r} is not {names.get(kind, 'text')}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
