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

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .errors import TopologyInvalid
from .topology import BatchSettings, Channel, Orderer, OrdererOrganization, Organization, Peer, Topology, User

_T = TypeVar("_T")

VERSION = 1
"""Version of this file format, written as `version`."""


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
    except yaml.YAMLError as error:
        raise TopologyInvalid(f"{source} is not YAML: {error}") from error
    try:
        return _topology(document)
    except TopologyInvalid as error:
        raise TopologyInvalid(f"{source}: {error}") from error


def dump_topology(topology: Topology) -> str:
    """Write a topology as YAML text that `parse_topology` reads back to an equal value."""
    document = {"version": VERSION, **_plain(asdict(topology))}
    return yaml.safe_dump(document, sort_keys=False)


def _topology(document: object) -> Topology:
    values = _mapping("the file", document, {"version", *_names(Topology)})
    version = values.get("version", VERSION)
    if version != VERSION:
        raise TopologyInvalid(f"version: {version!r} is not {VERSION}; this file is of another release")
    if "organizations" not in values:
        raise TopologyInvalid("organizations: missing")
    return Topology(
        organizations=_list("organizations", values["organizations"], _organization),
        orderer=_orderer_organization("orderer", values.get("orderer", {})),
        channel=_channel("channel", values.get("channel", {})),
    )


def _organization(place: str, value: object) -> Organization:
    values = _mapping(place, value, _names(Organization))
    if "name" not in values:
        raise TopologyInvalid(f"{place}.name: missing")
    name = _scalar(f"{place}.name", values["name"], str)
    rest = _optional(place, values, {"msp_id": str, "domain": str})
    rest = {"msp_id": f"{name}MSP", "domain": f"{name.lower()}.example.com", **rest}
    if "peers" in values:
        rest["peers"] = _list(f"{place}.peers", values["peers"], _flat(Peer))
    if "users" in values:
        rest["users"] = _list(f"{place}.users", values["users"], _user)
    return Organization(name=name, **rest)


def _orderer_organization(place: str, value: object) -> OrdererOrganization:
    values = _mapping(place, value, _names(OrdererOrganization))
    rest = _optional(place, values, {"name": str, "msp_id": str, "domain": str})
    if "orderers" in values:
        rest["orderers"] = _list(f"{place}.orderers", values["orderers"], _flat(Orderer))
    if "users" in values:
        rest["users"] = _list(f"{place}.users", values["users"], _user)
    return OrdererOrganization(**rest)


def _channel(place: str, value: object) -> Channel:
    values = _mapping(place, value, _names(Channel))
    rest = _optional(place, values, {"name": str})
    if "batch" in values:
        rest["batch"] = _flat(BatchSettings)(f"{place}.batch", values["batch"])
    return Channel(**rest)


def _user(place: str, value: object) -> User:
    values = _mapping(place, value, _names(User))
    if "name" not in values:
        raise TopologyInvalid(f"{place}.name: missing")
    rest = _optional(place, values, {"name": str, "role": str})
    attributes = _mapping(f"{place}.attributes", values.get("attributes", {}), None)
    for key, attribute in attributes.items():
        _scalar(f"{place}.attributes.{key}", attribute, str)
    return User(**rest, attributes=attributes)


def _flat(kind: Callable[..., _T]) -> Callable[[str, object], _T]:
    """Reader for a dataclass whose fields are all numbers or text."""
    types = {field.name: {"int": int, "str": str}[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]

    def read(place: str, value: object) -> _T:
        return kind(**_optional(place, _mapping(place, value, set(types)), types))

    return read


def _names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def _mapping(place: str, value: object, known: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TopologyInvalid(f"{place}: a mapping is expected, not {type(value).__name__}")
    unknown = sorted(set(value) - known) if known is not None else []
    if unknown:
        raise TopologyInvalid(f"{place}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known or ()))}")
    return dict(value)


def _list(place: str, value: object, read: Callable[[str, object], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise TopologyInvalid(f"{place}: a list is expected, not {type(value).__name__}")
    return tuple(read(f"{place}[{index}]", item) for index, item in enumerate(value))


def _optional(place: str, values: Mapping[str, Any], types: Mapping[str, type]) -> dict[str, Any]:
    return {key: _scalar(f"{place}.{key}", values[key], kind) for key, kind in types.items() if key in values}


def _scalar(place: str, value: object, kind: type[_T]) -> _T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TopologyInvalid(f"{place}: {value!r} is not {'a whole number' if kind is int else 'text'}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
