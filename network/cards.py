"""A consortium whose members keep their own keys: what they hand each other.

    init_organization(home, organization)          # at each member: its keys stay there
    card = make_card(home, organization)           # certificates and addresses, nothing secret
    found_network(home, topology, cards)           # at one member: genesis block of all cards
    bundle = make_bundle(home)                     # what the others join by: topology, cards, genesis blocks
    join_network(other_home, bundle)               # at each other member; then each brings its own nodes up

A card is JSON: the organisation as the topology describes it, and the public files of its folder.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError

from goldengrain.chaincode.protocol.unreadable import UNREADABLE

from .errors import CardInvalid, NetworkError
from .genesis import write_genesis
from .home import Home, write_atomically
from .pki import create_organization
from .ports import assign_ports
from .profiles import write_profiles, write_wallet
from .topology import Channel, Gossip, OrdererOrganization, Organization, Topology
from .topology_file import dump_topology, parse_topology, read_organization

Member = Organization | OrdererOrganization

_PUBLIC = ("msp/config.yaml", "msp/cacerts/*", "msp/tlscacerts/*", "msp/crls/*")
_OF_ORDERERS = ("orderers/*/tls/server.crt", "orderers/*/msp/signcerts/*")
_AUTHORITIES = ("msp/cacerts/", "msp/tlscacerts/")
_MOST_FILES, _LARGEST = 200, 64 * 1024


def init_organization(home: Home, organization: Member) -> Member:
    """Make an organisation's certificates and keys in a folder without a network, ports assigned.

    Raises:
        IdentityExists: if it has them already.

    """
    assigned = assign_ports(_alone(organization), administration=True)
    found: Member = assigned.orderer if isinstance(organization, OrdererOrganization) else assigned.organizations[0]
    home.path.mkdir(parents=True, exist_ok=True)
    create_organization(home, found)
    write_card(home, found)
    return found


def write_card(home: Home, organization: Member) -> None:
    """Write an organisation's card; after its authorities are renewed, too."""
    write_atomically(card_file(home, organization), json.dumps(make_card(home, organization), indent=2).encode())


def accept_card(home: Home, card: Mapping[str, Any]) -> Member:
    """Take an organisation's card over again: its authorities have renewed their certificates.

    Raises:
        CardInvalid: if the card is none, or of nobody in this network, or an authority has another key.

    """
    organization = _organization(card)
    topology = home.load_topology()
    if organization.msp_id not in [one.msp_id for one in topology.everyone if one.domain == organization.domain]:
        raise CardInvalid(f"{organization.msp_id} is not in this network; `goldengrain org add --card` adds it")
    folder = home.organization(organization)
    for name, text in card["files"].items():
        if name.startswith(_AUTHORITIES) and not _has_same_key(text.encode(), folder / name):
            raise CardInvalid(f"{name} of {organization.msp_id} has another key than before; no renewal does that")
    place_card(home, card)
    write_profiles(home, topology)
    return organization


def _has_same_key(certificate: bytes, path: Path) -> bool:
    try:
        new, old = (x509.load_pem_x509_certificate(one).public_key() for one in (certificate, path.read_bytes()))
    except (OSError, *UNREADABLE):
        return False
    return new == old


def card_file(home: Home, organization: Member) -> Path:
    """Where an organisation's card lies: `HOME/cards/NAME.json`."""
    return home.path / "cards" / f"{organization.name}.json"


def make_card(home: Home, organization: Member) -> dict[str, Any]:
    """What others need to know of an organisation: addresses and certificates, no key."""
    folder = home.organization(organization)
    patterns = _PUBLIC + (_OF_ORDERERS if isinstance(organization, OrdererOrganization) else ())
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in paths}
    kind = "orderer" if isinstance(organization, OrdererOrganization) else "member"
    public = json.loads(json.dumps(asdict(organization) | {"users": []}))
    return {"card": 1, "kind": kind, "organization": public, "files": files}


def read_card(path: Path) -> dict[str, Any]:
    """Read a card file.

    Raises:
        CardInvalid: if it is none.

    """
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CardInvalid(f"{path} is no organisation's card: {error}") from error
    _organization(card)
    return dict(card)


def found_network(
    home: Home, cards: Iterable[Mapping[str, Any]], channel: Channel, gossip: Gossip | None = None
) -> Topology:
    """Make the channel of some organisations, in the folder of one of them; nothing is started.

    Raises:
        CardInvalid: if a card is none.
        TopologyInvalid: if they cannot be a network together.

    """
    organizations = [_organization(card) for card in cards]
    orderers = [one for one in organizations if isinstance(one, OrdererOrganization)]
    if not orderers:
        raise CardInvalid(
            "no card is of an organisation that runs orderers; make one by `goldengrain org init --orderers`"
        )
    members = tuple(one for one in organizations if isinstance(one, Organization))
    topology = Topology(members, orderers[0], channel, tuple(orderers[1:]), gossip=gossip or Gossip())
    with _whole(home):
        _place(home, cards)
        for one in topology.channels:
            write_genesis(home, topology, channel=one)
        _finish(home, topology)
    return topology


def make_bundle(home: Home) -> dict[str, Any]:
    """What an organisation joins a network by: its topology, everybody's cards, the genesis blocks."""
    topology = home.load_topology()
    blocks = {
        one.name: base64.b64encode(home.genesis_file(one.name).read_bytes()).decode() for one in topology.channels
    }
    cards = [make_card(home, organization) for organization in topology.everyone]
    return {"bundle": 1, "topology": dump_topology(topology), "cards": cards, "genesis": blocks}


def join_network(home: Home, bundle: Mapping[str, Any]) -> Topology:
    """Make the folder of an organisation, whose keys may be in it, that of a network; nothing is started.

    Raises:
        CardInvalid: if the bundle is none, or its genesis block is of another channel.

    """
    try:
        topology = parse_topology(bundle["topology"], source="bundle")
        blocks = {name: base64.b64decode(block, validate=True) for name, block in bundle["genesis"].items()}
        if not all(common_pb2.Block.FromString(blocks[channel.name]).data.data for channel in topology.channels):
            raise ValueError("a genesis block is empty")
        cards = list(bundle["cards"])
        for card in cards:
            _organization(card)
    except (KeyError, TypeError, ValueError, AttributeError, DecodeError, NetworkError) as error:
        raise CardInvalid(f"this is no network's bundle: {error!r}") from error
    with _whole(home):
        _place(home, cards)
        for channel in topology.channels:
            write_atomically(home.genesis_file(channel.name), blocks[channel.name])
        _finish(home, topology)
    return topology


@contextmanager
def _whole(home: Home) -> Iterator[None]:
    """Take away what has come into a folder where something goes wrong meanwhile."""
    before = set(home.path.rglob("*"))
    try:
        yield
    except BaseException:
        for path in sorted(set(home.path.rglob("*")) - before, reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        raise


def _finish(home: Home, topology: Topology) -> None:
    write_profiles(home, topology)
    write_wallet(home, topology)
    home.save_topology(topology)
    home.nodes.mkdir(exist_ok=True)  # keys lie apart: real peers and orderers run it


def place_card(home: Home, card: Mapping[str, Any]) -> Member:
    """Write an organisation's public files into the folder, unless its own keys are there.

    Raises:
        CardInvalid: if the card is none.

    """
    organization = _organization(card)
    folder = home.organization(organization)
    if not (folder / "ca").exists():
        for name, text in card["files"].items():
            write_atomically(folder / name, text.encode())
    return organization


def _place(home: Home, cards: Iterable[Mapping[str, Any]]) -> None:
    for card in cards:
        place_card(home, card)


def _organization(card: object) -> Member:
    if not isinstance(card, dict) or card.get("card") != 1 or not isinstance(card.get("files"), dict):
        raise CardInvalid("this is no organisation's card; `goldengrain org init` writes one")
    files = card["files"]
    if len(files) > _MOST_FILES or not all(_is_public(name, text) for name, text in files.items()):
        raise CardInvalid("this card has files that no card has")
    return read_organization(card.get("organization"), orderer=card.get("kind") == "orderer")


def _is_public(name: object, text: object) -> bool:
    if not isinstance(name, str) or not isinstance(text, str) or len(text) > _LARGEST:
        return False
    path = Path(name)
    if "\0" in name or any("\ud800" <= one <= "\udfff" for one in name + text):
        return False
    return ".." not in path.parts and any(path.match(pattern) for pattern in (*_PUBLIC, *_OF_ORDERERS))


def _alone(organization: Member) -> Topology:
    if isinstance(organization, OrdererOrganization):
        return Topology((Organization("None", "NoneMSP", "none.invalid"),), organization)
    return Topology((organization,), replace(OrdererOrganization(), domain="none.invalid"))
