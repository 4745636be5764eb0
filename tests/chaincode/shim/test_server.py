import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import grpc
import grpc.aio
import pytest
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, ServerError, StreamLost, TLSOptions, stream
from tests.chaincode.shim.certificates import Authority
from tests.chaincode.shim.conftest import PACKAGE_ID, Calling, Network
from tests.chaincode.shim.ledger import Ledger
from tests.chaincode.shim.peer import FakePeer


async def echo(stub: ChaincodeStub) -> bytes:
    return await stub.get_state("a") or b"none"


async def test_a_peer_is_told_the_package_id_first(network: Network) -> None:
    peer = await network.peer(await network.serve(Calling(echo)))
    assert peer.registered_as == PACKAGE_ID


async def test_peers_have_streams_of_their_own(network: Network) -> None:
    server = await network.serve(Calling(echo))
    peers = [await network.peer(server, Ledger({("", "a"): name})) for name in (b"one", b"two", b"three")]
    outcomes = await asyncio.gather(*(peer.call("f") for _ in range(20) for peer in peers))
    assert [outcome.response.payload for outcome in outcomes] == [b"one", b"two", b"three"] * 20
    assert server.peers == 3
    await peers[0].close()
    assert (await peers[1].call("f")).response.payload == b"two"
    assert server.peers == 2


async def test_a_lost_stream_cancels_its_transactions_and_the_peer_can_come_back(network: Network) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def body(stub: ChaincodeStub) -> bytes:
        if stub.function != "hang":
            return await echo(stub)
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    server = await network.serve(Calling(body))
    peer, other = await network.peer(server), await network.peer(server)
    hanging = asyncio.create_task(peer.call("hang"))
    await entered.wait()
    await peer.close()
    with pytest.raises(ConnectionError):
        await hanging
    await asyncio.wait_for(ended.wait(), 5)
    assert (await other.call("f")).response.status == 200
    assert (await (await network.peer(server)).call("f")).response.status == 200


async def test_a_request_under_way_when_the_stream_is_lost_fails(network: Network) -> None:
    failures: list[BaseException] = []
    failed, asked = asyncio.Event(), asyncio.Event()

    class Silent(FakePeer):
        async def _handle(self, message: ChaincodeMessage) -> None:
            if self.registered_as:
                asked.set()
            else:
                await super()._handle(message)

    async def body(stub: ChaincodeStub) -> None:
        try:
            await stub.get_state("a")
        except BaseException as failure:
            failures.append(failure)
            failed.set()
            raise

    server = await network.serve(Calling(body))
    async with Silent(server.port) as peer:  # type: ignore[attr-defined]
        call = asyncio.create_task(peer.call("f"))
        await asyncio.wait_for(asked.wait(), 5)
    await asyncio.wait_for(failed.wait(), 5)
    assert isinstance(failures[0], StreamLost | asyncio.CancelledError)
    with pytest.raises(ConnectionError):
        await call


async def test_a_peer_that_ends_its_stream_sees_it_end_well(network: Network) -> None:
    peer = await network.peer(await network.serve(Calling(echo)))
    assert await peer.end() == grpc.StatusCode.OK


async def test_stopping_lets_running_transactions_finish_and_turns_new_ones_away(network: Network) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def body(stub: ChaincodeStub) -> bytes:
        entered.set()
        await release.wait()
        return await echo(stub)

    server = await network.serve(Calling(body))
    peer = await network.peer(server)
    running = asyncio.create_task(peer.call("f"))
    await entered.wait()
    stopping = asyncio.create_task(server.stop(10))
    await asyncio.sleep(0.05)
    late = await peer.call("f")
    assert (late.response.status, late.response.message) == (503, stream.STOPPING_TEXT)
    assert not stopping.done()
    release.set()
    assert (await running).response.payload == b"none"
    await stopping
    await server.wait()


async def test_stopping_does_not_wait_longer_than_its_grace(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        await asyncio.Event().wait()

    server = await network.serve(Calling(body))
    peer = await network.peer(server)
    call = asyncio.create_task(peer.call("f"))
    await asyncio.sleep(0.05)
    before = asyncio.get_running_loop().time()
    await server.stop(0.2)
    assert asyncio.get_running_loop().time() - before < 2
    with pytest.raises(ConnectionError):
        await call


async def test_stopping_a_server_that_never_started_does_nothing() -> None:
    server = ChaincodeServer(Calling(echo), "127.0.0.1:0", PACKAGE_ID)
    await server.stop()
    await server.wait()


async def test_a_package_id_that_the_peer_does_not_know_is_mentioned_in_the_log(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "REGISTRATION_WARNING", 0.01)
    server = await network.serve(Calling(echo))
    await network.peer(server, accept=[])
    await asyncio.sleep(0.1)
    assert f"has not accepted {PACKAGE_ID}" in caplog.text
    assert server.peers == 0


async def test_a_second_server_on_the_same_address_is_refused(network: Network) -> None:
    first = await network.serve(Calling(echo))
    address = f"127.0.0.1:{first.port}"  # type: ignore[attr-defined]
    with pytest.raises(ServerError, match="in use"):
        await ChaincodeServer(Calling(echo), address, PACKAGE_ID).start()


async def test_a_peer_reaches_a_server_with_tls(network: Network) -> None:
    authority = Authority()
    server = await network.serve(Calling(echo), tls=TLSOptions(*authority.issue("localhost")))
    peer = await network.peer(server, credentials=grpc.ssl_channel_credentials(authority.pem))
    assert (await peer.call("f")).response.payload == b"none"


async def test_mutual_tls_lets_only_known_peers_in(network: Network) -> None:
    authority, stranger = Authority(), Authority()
    tls = TLSOptions(*authority.issue("localhost"), client_root=authority.pem)
    server = await network.serve(Calling(echo), tls=tls)
    certificate, key = authority.issue("peer0.org1.example.com")
    known = grpc.ssl_channel_credentials(authority.pem, key, certificate)
    assert (await (await network.peer(server, credentials=known)).call("f")).response.payload == b"none"
    certificate, key = stranger.issue("peer0.org1.example.com")
    unknown = [None, grpc.ssl_channel_credentials(authority.pem, key, certificate)]
    for credentials in (unknown[1], grpc.ssl_channel_credentials(authority.pem)):
        peer = FakePeer(server.port, credentials=credentials)  # type: ignore[attr-defined]
        entering = asyncio.create_task(peer.__aenter__())
        await asyncio.sleep(0.3)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert peer.received == []
        await peer.close()
    assert server.peers == 1


async def test_tls_material_that_cannot_work_is_refused_at_the_start(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("localhost")
    _, other_key = authority.issue("localhost")
    bad = [TLSOptions(certificate, other_key), TLSOptions(b"x", key), TLSOptions(certificate, key, b"x")]
    for options in bad:
        with pytest.raises(ServerError):
            await ChaincodeServer(Calling(echo), "127.0.0.1:0", PACKAGE_ID, options).start()
    assert key.decode() not in repr(bad[0])
    with pytest.raises(ServerError, match="cannot read"):
        TLSOptions.from_files(tmp_path / "none.pem", tmp_path / "none.key")


async def test_a_server_takes_its_settings_from_fabrics_variables(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("localhost")
    for name, content in (("cert", certificate), ("key", key), ("ca", authority.pem)):
        (tmp_path / name).write_bytes(content)
    environment = {
        "CHAINCODE_SERVER_ADDRESS": "127.0.0.1:0",
        "CHAINCODE_ID": PACKAGE_ID,
        "CHAINCODE_TLS_DISABLED": "false",
        "CHAINCODE_TLS_CERT": str(tmp_path / "cert"),
        "CHAINCODE_TLS_KEY": str(tmp_path / "key"),
        "CHAINCODE_CLIENT_CA_CERT": str(tmp_path / "ca"),
    }
    server = ChaincodeServer.from_environment(Calling(echo), environment=environment)
    assert await server.start() > 0
    await server.stop(0)
    assert TLSOptions.from_environment({}) is None
    assert TLSOptions.from_environment(environment) == TLSOptions(certificate, key, authority.pem)
    for missing in ("CHAINCODE_ID", "CHAINCODE_SERVER_ADDRESS", "CHAINCODE_TLS_KEY"):
        partial = {name: value for name, value in environment.items() if name != missing}
        with pytest.raises(ServerError, match=missing):
            ChaincodeServer.from_environment(Calling(echo), environment=partial)


async def test_the_example_runs_as_a_program_and_stops_on_sigterm() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "CHAINCODE_SERVER_ADDRESS": f"127.0.0.1:{port}", "CHAINCODE_ID": PACKAGE_ID}
    command = (sys.executable, "-m", "goldengrain.chaincode.shim.example")
    program = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    assert program.stderr is not None
    try:
        while b"listens" not in await asyncio.wait_for(program.stderr.readline(), 20):
            pass
        async with FakePeer(port) as peer:
            assert (await peer.call("put", "a", "1")).transaction.writes == [("put", "", "a", b"1")]
            program.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(program.wait(), 10) == 0
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()
