"""Files that people, other organisations and other machines hand over: configuration, profiles, cards, data sets.

The first two bytes choose a parser, and whether the rest is the file itself or says how one that is in order (of the
corpus) is changed in a few places. A named refusal is what is expected; anything else is a find.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fabric_protos.common import common_pb2 as common
from fabric_protos.gateway import gateway_pb2 as gateway
from google.protobuf.message import DecodeError

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.shim.errors import InvalidArgument
from goldengrain.chaincode.shim.identity import ClientIdentity
from goldengrain.chaincode.shim.key_policies import organizations_of
from goldengrain.cli import enclave_config, secret_files
from goldengrain.cli.contexts import _load as contexts
from goldengrain.enclave import client, provenance
from goldengrain.enclave.__main__ import read_bundle
from goldengrain.enclave.models import converters
from goldengrain.gateway.blocks import processed, transactions
from goldengrain.gateway.checkpoint import FileCheckpointer
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.errors import BlockError, SavedMalformed
from goldengrain.gateway.market.announcements import read_payload
from goldengrain.gateway.market.views import EnclaveView, OfferView, TaskView, read
from goldengrain.gateway.proposal import parse_proposal
from goldengrain.gateway.saved import read_saved
from goldengrain.gateway.trust import ChannelTrust
from goldengrain.gateway.verifier import BlockVerifier, check_orderer_signatures, check_transaction
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.cards import read_card
from goldengrain.network.embedded.packages import LifecycleError, parse_package
from goldengrain.network.home import Home
from goldengrain.network.topology_file import parse_topology
from tests.fuzz.changing import Source, changed
from tests.fuzz.files import file as _file
from tests.fuzz.files import folder as _folder

CORPUS = Path(__file__).parent / "corpus" / "documents"
YAML = ("profile-yaml", "topology")
ROWS = 16
"""Samples of a data set that are read: more are the same again."""
VIEWS = (OfferView, TaskView, EnclaveView)


def _enclave(data: bytes) -> None:
    """`enclave.json`, and what its values are used for."""
    config = enclave_config.load(_file(f"enclave/{enclave_config.FILE}", data).parent)
    if not config.quotes.simulated:
        config.reach(Home(_folder()))


def _profile(name: str) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        profile = ConnectionProfile.load(_file(name, data))
        for organization in profile.organizations:
            profile.gateways(organization)
            for user in profile.organizations[organization].users:
                profile.credentials(user, organization)

    return parse


def _read(source: converters.Source) -> None:
    if len(source.labels) <= ROWS:
        for _ in source.batches():
            pass


def _source(name: str) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        _read(converters.open_source(_file(name, data)))

    return parse


def _idx(data: bytes) -> None:
    """Images and labels of one content: what is inside the compression is fuzzed as well."""
    for content in (data, gzip.compress(data, mtime=0)):
        _file("idx/t-images-idx3-ubyte.gz", content)
        path = _file("idx/t-labels-idx1-ubyte.gz", content)
        try:
            _read(converters.open_source(path.with_name("t-images-idx3-ubyte.gz")))
        except GoldenGrainError:
            continue


def _image(data: bytes) -> None:
    _file("images/a/1.png", data)
    for _ in converters.open_source(_folder() / "images", image_size=(4, 4)).batches():
        pass


def _wallet(data: bytes) -> None:
    Wallet(_file("wallet/me.id", data).parent).get("me", b"")


def _secret(data: bytes) -> None:
    path = secret_files.path_of(Home(_folder()), "offers", bytes(32))
    _file(str(path.relative_to(_folder())), data)
    secret_files.read(Home(_folder()), "offers", bytes(32), "it")


def _package(data: bytes) -> None:
    with suppress(LifecycleError):
        parse_package(data)


def _block(data: bytes) -> None:
    try:
        block = common.Block.FromString(data)
    except DecodeError:  # whoever receives it parses it
        return
    transactions(block)


def _config_block(data: bytes) -> None:
    try:
        block = common.Block.FromString(data)
    except DecodeError:
        return
    ChannelTrust.from_config_block(block)


def _view(data: bytes) -> None:
    document = canonical.loads(data)
    if isinstance(document, dict):
        for kind in VIEWS:
            try:
                read(kind, document)
            except GoldenGrainError:
                continue


@cache
def _verified() -> BlockVerifier:
    """A verifier after the genesis block of a recorded channel."""
    block = common.Block.FromString((CORPUS / "config-block").read_bytes()[2:])
    return BlockVerifier.from_genesis(block)


def _next_block(data: bytes) -> None:
    """The ordering service's signatures on a block, and what its transactions prove."""
    try:
        block = common.Block.FromString(data)
    except DecodeError:
        return
    trust = _verified().trust
    with suppress(BlockError):
        check_orderer_signatures(block, trust)
    for one in transactions(block):
        with suppress(BlockError):
            check_transaction(one, trust)


def _saved(data: bytes) -> None:
    for kind in (gateway.ProposedTransaction, gateway.PreparedTransaction, common.Envelope):
        with suppress(SavedMalformed):
            read_saved(kind, data)


def _client(data: bytes) -> None:
    """Who calls a contract, as the peer hands it on."""
    with suppress(InvalidArgument):
        found = ClientIdentity.from_bytes(data)
        str((found.common_name, found.attributes, found.node_ou))


PARSERS: tuple[Callable[[bytes], object], ...] = (
    _enclave,
    _profile("profile.json"),
    _profile("profile.yaml"),
    lambda data: parse_topology(data.decode("utf-8", "replace")),
    lambda data: read_card(_file("card.json", data)),
    _wallet,
    _secret,
    lambda data: contexts(_file("contexts.json", data)),
    lambda data: FileCheckpointer(_file("checkpoint", data)),
    _source("table.csv"),
    _source("arrays.npz"),
    _source("array.npy"),
    _idx,
    _image,
    lambda data: provenance.verify(data),
    lambda data: read_bundle(_file("bundle.json", data)),
    client._content,
    _package,
    _block,
    _config_block,
    processed,
    _view,
    _next_block,
    read_payload,
    parse_proposal,
    _saved,
    organizations_of,
    _client,
)


ORDERLY = {
    0: "enclave", 1: "profile-json", 2: "profile-yaml", 3: "topology", 4: "card", 5: "wallet", 6: "secret",
    7: "contexts", 8: "checkpoint", 14: "provenance", 15: "bundle", 16: "reply",
}  # fmt: skip
"""Documents of the corpus that are in order, by the parser that reads them."""


@cache
def _orderly(number: int) -> Any:
    content = (CORPUS / ORDERLY[number]).read_bytes()[2:]
    return yaml.safe_load(content) if ORDERLY[number] in YAML else json.loads(content)


def _changed(number: int, source: Source) -> bytes:
    document = changed(_orderly(number), source)
    if ORDERLY[number] in YAML:
        return yaml.safe_dump(document).encode("utf-8", "replace")
    return json.dumps(document).encode()


def documents(data: bytes) -> None:
    """Give a parser, which the first bytes choose, a file."""
    source = Source(data)
    number = source.number(2 * len(PARSERS))
    if number < len(PARSERS):
        content = source.rest()
    else:
        number -= len(PARSERS)
        content = _changed(number, source) if number in ORDERLY else gzip.compress(source.rest(), mtime=0)
    try:
        PARSERS[number](content)
    except GoldenGrainError:
        return
