"""What programs beside this one say, and notes in its folder: HTTP/2 of peers, admin endpoints, events, keys, rules.

The first two bytes choose a parser, the rest is its input. A named refusal is what is expected; anything else is a
find.
"""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from fabric_protos.peer import proposal_pb2 as proposals

from goldengrain.chaincode.protocol import stream
from goldengrain.chaincode.protocol.errors import GoldenGrainError, error_from_response
from goldengrain.chaincode.shim.errors import ServerError
from goldengrain.chaincode.shim.tls import TLSOptions
from goldengrain.cli import contract_process, enclave, inspection, policy
from goldengrain.cli.agents.watch import Watch
from goldengrain.enclave.dataset_file import DatasetFile
from goldengrain.enclave.frames import read_frame
from goldengrain.enclave.quoting import DevelopmentRoot
from goldengrain.gateway.errors import details_of_status
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.identity import PrivateKeySigner, credentials_from_pem
from goldengrain.gateway.market import waiting
from goldengrain.network import cards, importing, nodes, participation
from goldengrain.network.certificate_check import _check
from goldengrain.network.embedded.config import ChannelConfig, parse_duration
from goldengrain.network.embedded.joined import JoinedPeers
from goldengrain.network.embedded.msp import Msp, MspManager
from goldengrain.network.embedded.policies import SignaturePolicy
from goldengrain.network.embedded.proposals import BadProposal, FilteredProposal, read_target, unpack
from goldengrain.network.genesis import parse_channel_policy
from goldengrain.network.home import Home
from goldengrain.network.indexes import read_indexes
from goldengrain.network.msp_folders import read_authorities
from goldengrain.network.signature_policy import parse_signature_policy
from goldengrain.network.snapshot_join import read_channel
from goldengrain.wire.call_connection import CallConnection, Target
from goldengrain.wire.client import _Dialled
from goldengrain.wire.errors import WireError
from goldengrain.wire.server import StreamServer, _Accepted
from goldengrain.wire.stream import Stream
from tests.fuzz.changing import Source, changed
from tests.fuzz.files import file as _file
from tests.fuzz.files import folder as _folder
from tests.gateway.certificates import Ca, Issued

PATH = "/a.B/C"
NOW = 1_900_000_000
LARGEST = 1 << 20  # bytes of what claims to be a chunk, a frame or an answer


@cache
def _member() -> tuple[Ca, Issued]:
    ca = Ca("Org1MSP")
    return ca, ca.issue("user", "client")


# -- HTTP/2


class _Transport(asyncio.Transport):
    """What is written goes nowhere; once closed, the connection is lost."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._closed = False

    def write(self, data: object) -> None:
        """Nobody reads."""

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to its end; what a callback raises, which asyncio only reports, is raised."""
    raised: list[BaseException] = []
    loop = _loop()
    loop.set_exception_handler(lambda _, said: raised.append(said.get("exception") or AssertionError(said["message"])))
    loop.run_until_complete(work)
    if raised:
        raise raised[0]


async def _said(protocol: asyncio.Protocol, transport: _Transport, data: bytes) -> None:
    """Two halves, as a socket may have it."""
    for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
        if not transport.is_closing():
            protocol.data_received(piece)
        await asyncio.sleep(0)
    transport.close()
    await asyncio.sleep(0)


async def _calls(data: bytes) -> None:
    connection = CallConnection(Target("http", "peer"), 60)
    transport = _Transport(connection)
    connection.connection_made(transport)
    end = asyncio.get_running_loop().time() + 5
    asked = [asyncio.ensure_future(connection.call(PATH, b"message", end)) for _ in range(2)]
    await asyncio.sleep(0)
    await _said(connection, transport, data)
    for one in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(one, BaseException) and not isinstance(one, WireError):
            raise one


async def _dialled(data: bytes) -> None:
    connection = _Dialled(60)
    transport = _Transport(connection)
    connection.connection_made(transport)
    number = connection.next_number()
    opened = connection.add(number, PATH)
    request = [(":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", "peer")]
    connection.headers(number, request)
    reading = asyncio.ensure_future(_messages(opened))
    await _said(connection, transport, data)
    await reading


async def _messages(opened: Stream) -> None:
    with suppress(WireError):
        async for _ in opened:
            pass


async def _accepted(data: bytes) -> None:
    async def echo(opened: Stream) -> None:
        async for message in opened:
            opened.send(message)

    server = StreamServer({PATH: echo})
    connection = _Accepted(server)
    transport = _Transport(connection)
    connection.connection_made(transport)
    tasks = connection.tasks
    await _said(connection, transport, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + data)
    for one in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(one, Exception):
            raise one


def _frames(data: bytes) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        while await read_frame(reader, LARGEST) is not None:
            pass

    refused: list[GoldenGrainError] = []

    async def named() -> None:
        try:
            await read()
        except GoldenGrainError as error:
            refused.append(error)

    _run(named())


# -- what programs answer


def _admin(data: bytes) -> None:
    """An orderer's admin endpoint."""
    asked = object.__new__(participation.Participation)
    asked._port = 1
    for status in (200, 400):
        asked._call = lambda *_, status=status: (status, data)  # type: ignore[method-assign]  # a double
        with suppress(GoldenGrainError):
            asked.info("market")
        with suppress(GoldenGrainError):
            asked.join(b"block")


def _metrics(data: bytes) -> None:
    text = participation.metrics_of(data)
    participation.has_leader(text, "market")


def _event(data: bytes) -> None:
    waiting._concerns(ChaincodeEvent(1, "a", "market", "Offer", data), bytes(32))
    Watch(cast("Any", None), cast("Any", None), cast("Any", None)).note(data)


def _response(data: bytes) -> None:
    error_from_response(data.decode("utf-8", "replace"))


# -- notes in the folder


def _state(data: bytes) -> None:
    home = Home(_folder())
    _file(home.network_file.relative_to(_folder()).as_posix(), data)
    home.load_state()


def _node(data: bytes) -> None:
    home = Home(_folder())
    node = nodes.node_of(home, "peer0", "peer")
    _file((node.folder / nodes._RECORD).relative_to(_folder()).as_posix(), data)
    nodes._recorded(node)


def _contract(data: bytes) -> None:
    _file("contract.json", data)
    contract_process.load(Home(_folder()))


def _joined(data: bytes) -> None:
    (_folder() / "joined").mkdir(exist_ok=True)
    joined = JoinedPeers(_folder() / "joined")
    joined._path.write_bytes(data)
    JoinedPeers(_folder() / "joined").channels()


def _snapshot(data: bytes) -> None:
    from goldengrain.network import snapshot_join

    read_channel(_file(f"snapshot/{snapshot_join._FILE}", data).parent)


def _imported(name: str) -> Callable[[bytes], None]:
    """Another network's connection profile."""

    def parse(data: bytes) -> None:
        path = _file(name, data)
        _, user = _member()
        credentials = credentials_from_pem("Org1MSP", user.certificate, user.key)
        home = Home(Path(tempfile.mkdtemp(dir=_folder())))
        try:
            importing.import_network(home, path, credentials, user.key)
        except GoldenGrainError:
            if any(one.is_file() for one in home.path.rglob("*")):
                raise AssertionError("the profile is refused, and something of it stays") from None
            raise
        finally:
            shutil.rmtree(home.path)

    return parse


def _bundle(data: bytes) -> None:
    """A network's bundle: a folder is that network's, or nothing is in it."""
    home = Home(Path(tempfile.mkdtemp(dir=_folder())))
    try:
        bundle = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        cards.join_network(home, bundle)
    except GoldenGrainError:
        left = [str(path.relative_to(home.path)) for path in home.path.rglob("*") if path.is_file()]
        if left:
            raise AssertionError(f"the bundle is refused, and {left[0]} stays") from None
        raise
    finally:
        shutil.rmtree(home.path)


# -- keys, certificates, rules


def _key(data: bytes) -> None:
    PrivateKeySigner.from_pem(data, b"x")


def _certificate(data: bytes) -> None:
    credentials_from_pem("Org1MSP", data, _member()[1].key)


def _authorities(data: bytes) -> None:
    for kind in ("ca", "tlsca"):
        _file(f"authorities/{kind}/{kind}.org1-cert.pem", data)
        _file(f"authorities/{kind}/priv_sk", data)
    read_authorities(_folder() / "authorities", "org1")


def _node_certificate(data: bytes) -> None:
    for name in ("msp/signcerts/a.pem", "tls/server.crt"):
        _file(f"certificates/{name}", data)
    for name in ("msp/cacerts/a.pem", "tls/ca.crt"):
        _file(f"certificates/{name}", _member()[0].pem)
    _check(_folder() / "certificates", "org1", "peer0", datetime.fromtimestamp(NOW, UTC))


def _rules(data: bytes) -> None:
    for parse in (policy._read, enclave._policy):
        with suppress(GoldenGrainError):
            parse(_file("rules.json", data))


def _signatures(data: bytes) -> None:
    parse_signature_policy(data.decode("utf-8", "replace"))


# -- the embedded network


@cache
def _msps() -> MspManager:
    return MspManager([])


@cache
def _msp() -> Msp:
    return Msp.from_bytes((CORPUS / "msp").read_bytes()[2:])


def _creator(data: bytes) -> None:
    """Who sends a proposal: a certificate, and an organisation's rules for it."""
    msp = _msp()
    msp.validate(msp.identity(data))


def _msp_setup(data: bytes) -> None:
    msp = Msp.from_bytes(data)
    certificate = (CORPUS / "creator").read_bytes()[2:]
    msp.validate(msp.identity(certificate))


def _shim_tls(data: bytes) -> None:
    _, user = _member()
    for pair in ((data, user.key, None), (user.certificate, data, None), (user.certificate, user.key, data)):
        with suppress(ServerError):
            TLSOptions(*pair).context()


def _proposal(data: bytes) -> None:
    signed = proposals.SignedProposal(proposal_bytes=data, signature=b"x")
    with suppress(BadProposal, FilteredProposal):
        read_target(signed)
    with suppress(BadProposal, FilteredProposal):
        unpack(signed, NOW).validate(_msps(), "Org1MSP")


def _data_set(data: bytes) -> None:
    found = DatasetFile(io.BytesIO(data))
    found.extremes()
    for _ in found.pieces():
        pass


def _development_root(data: bytes) -> None:
    """Its certificate, then its key."""
    certificate, _, key = data.partition(b"-----BEGIN")
    _file("root/root.der", certificate)
    DevelopmentRoot.load(_file("root/root.key", b"-----BEGIN" + key).parent)


def _stream(data: bytes) -> None:
    header = stream.Header.from_bytes(data)
    if header.chunk_size <= LARGEST:
        stream.decrypt_file(bytes(32), io.BytesIO(data), io.BytesIO())
        stream.decrypt(bytes(32), data)


PARSERS: tuple[Callable[[bytes], object], ...] = (
    lambda data: _run(_calls(data)),
    lambda data: _run(_dialled(data)),
    lambda data: _run(_accepted(data)),
    _frames,
    _admin,
    _metrics,
    _event,
    _response,
    details_of_status,
    _state,
    _node,
    _contract,
    _joined,
    _snapshot,
    lambda data: read_indexes(_file("indexes/a.json", data).parent),
    _imported("connection.json"),
    _imported("connection.yaml"),
    _key,
    _certificate,
    _authorities,
    _node_certificate,
    _rules,
    _signatures,
    _proposal,
    _msp_setup,
    lambda data: SignaturePolicy.from_bytes(data, _msps()),
    lambda data: ChannelConfig.from_envelope(data, 0),
    _stream,
    _bundle,
    _creator,
    _shim_tls,
    lambda data: parse_channel_policy(data.decode("utf-8", "replace")),
    lambda data: parse_duration(data.decode("utf-8", "replace")),
    _data_set,
    inspection.inspect_model,
    inspection.own_interface,
    _development_root,
)
CORPUS = Path(__file__).parent / "corpus" / "neighbours"
ORDERLY = {
    4: "admin", 6: "event", 9: "network", 10: "record", 11: "contract", 12: "joined", 13: "snapshot", 14: "index",
    15: "profile-json", 28: "bundle",
}  # fmt: skip
"""Documents of the corpus that are in order, by the parser that reads them."""


@cache
def _orderly(number: int) -> Any:
    return json.loads((CORPUS / ORDERLY[number]).read_bytes()[2:])


def neighbours(data: bytes) -> None:
    """Give a parser, which the first bytes choose, the rest, or one of its documents changed as the rest says."""
    source = Source(data)
    number = source.number(2 * len(PARSERS))
    content = source.rest()
    if number >= len(PARSERS):
        number = (number - len(PARSERS)) % len(PARSERS)
        content = json.dumps(changed(_orderly(number), source)).encode() if number in ORDERLY else content
    with suppress(GoldenGrainError):
        PARSERS[number](content)
