"""The enclave as a process of its own, over its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from goldengrain.chaincode.protocol import canonical, digests
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import CollateralUntrusted, QuoteMeasurementRefused
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.quote_rules import AllOf, MeasurementIn, NotDebug, StatusIn
from goldengrain.chaincode.protocol.quotes import inspect_quote
from goldengrain.chaincode.protocol.report import Outcome, Report
from goldengrain.enclave import errors, sockets
from goldengrain.enclave.client import EnclaveClient, EnclaveIdentity, Reach
from goldengrain.enclave.dataset import pack
from goldengrain.enclave.frames import frame, read_frame
from goldengrain.enclave.job import Bench
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.measurement import simulated_measurement
from goldengrain.enclave.quoting import DevelopmentRoot, simulated_source
from goldengrain.enclave.quoting.bodies import measurement_of
from goldengrain.enclave.ratls import Trust
from goldengrain.enclave.runner import Runner
from goldengrain.enclave.service import Service
from goldengrain.enclave.tls import client_context

from .fabric import CHANNEL, CONTRACT, NOW, Forge
from .market import Deal, examples, model_bytes

BAD_MODEL = b"PK\x03\x04" + bytes(50)
NOBODY = Trust((), AllOf(()))


class Enclave:
    """A running enclave process and where it lies."""

    def __init__(self, folder: Path, bundle: TrustBundle) -> None:
        self.socket: Path | str = folder / "s"
        self.exchange, self.root = folder / "exchange", folder / "root"
        self.clock = folder / "clock"
        self.bundle_file = folder / "bundle.json"
        self.exchange.mkdir()
        DevelopmentRoot.create(self.root)
        self.bundle_file.write_bytes(canonical.dumps(bundle.to_json()))
        self.process: asyncio.subprocess.Process | None = None
        self.ready: dict[str, Any] = {}

    def reach(self, tee: Tee = Tee.SGX, measurement: bytes | None = None) -> Reach:
        wanted = measurement or measurement_of(tee, simulated_measurement())
        rules = AllOf((StatusIn(("UpToDate",)), NotDebug(), MeasurementIn((wanted,))))
        return Reach(self.socket, Trust(((self.root / "root.der").read_bytes(),), rules), LedgerClock(self.clock))

    async def start(self, *options: str) -> None:
        command = [
            "-m",
            "goldengrain.enclave",
            *options,
            "--socket",
            self.socket,
            "--name",
            "e1",
            "--bundle",
            self.bundle_file,
        ]
        command += ["--root-dir", self.root, "--exchange", self.exchange, "--clock", self.clock]
        command += ["--channel", CHANNEL, "--contract", CONTRACT]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.ready = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 30))

    async def stop(self) -> tuple[int, str]:
        assert self.process is not None
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)  # Popen's own would reap behind asyncio's back
        _, log = await asyncio.wait_for(self.process.communicate(), 30)
        return self.process.returncode or 0, log.decode()


@pytest.fixture
async def enclave(tmp_path: Path, bundle: TrustBundle) -> AsyncIterator[Enclave]:
    made = Enclave(tmp_path, bundle)
    made.clock.write_text(str(NOW - int(time.time())))
    await made.start()
    yield made
    await made.stop()


def deal_for(identity: EnclaveIdentity, bundle: TrustBundle, **fields: Any) -> Deal:
    """A deal sealed to a running enclave, of which only the public keys are known."""

    class Public:
        enclave = identity.enclave
        encryption = type("Key", (), {"public": identity.encryption_key})

    return Deal.make(bundle, Public(), **fields)  # type: ignore[arg-type]


async def run(client: EnclaveClient, enclave: Enclave, forge: Forge, deal: Deal) -> Any:
    (enclave.exchange / "model.bin").write_bytes(deal.ciphertext)
    (enclave.exchange / "dataset.bin").write_bytes(deal.dataset.ciphertext)
    ticket = forge.ticket(deal.payload(), await client.nonce())
    return await client.run_job(ticket, deal.model_envelope, deal.dataset_envelope, "model.bin", "dataset.bin")


async def test_whole_job_over_the_socket(enclave: Enclave, bundle: TrustBundle, forge: Forge) -> None:
    async with enclave.reach().client() as client:
        identity = await client.identity()
        assert identity.enclave == digests.enclave_id(identity.signing_key)
        assert identity.measurement == simulated_measurement()
        assert (identity.bundle, identity.attestation) == (bundle.digest(), "simulated")
        assert enclave.ready["enclave"] == identity.enclave.hex()
        deal = deal_for(identity, bundle)
        report = await run(client, enclave, forge, deal)
        assert (report.outcome, report.result.score) == (Outcome.PASS, 900_000)
        Report.of(deal.task, deal.order, deal.payload().ticket, report.result).verify(report.signature)
        hostile = await run(client, enclave, forge, deal_for(identity, bundle, model=BAD_MODEL))
        assert (hostile.outcome, hostile.reason) == (Outcome.FAILED, errors.ModelUnparsable.code)
        assert (await run(client, enclave, forge, deal)).outcome is Outcome.PASS


async def test_quote_registers_this_enclave(enclave: Enclave, bundle: TrustBundle) -> None:
    async with enclave.reach().client() as client:
        identity = await client.identity()
        operator, challenge = digests.sha256(b"operator"), digests.sha256(b"challenge")
        quoted = await client.quote(operator, challenge)
    root = (enclave.root / "root.der").read_bytes()
    verdict = inspect_quote(quoted.quote, quoted.collateral, root, NOW)
    assert (verdict.status, verdict.debug, verdict.simulated) == ("UpToDate", False, True)
    assert verdict.measurement == identity.measurement
    keys = digests.enclave_binding(identity.signing_key, identity.encryption_key, bundle.digest())
    assert verdict.report_data == keys + digests.registration_binding(CHANNEL, CONTRACT, operator, challenge)


async def test_a_plain_connection_gets_no_answer(enclave: Enclave) -> None:
    reader, writer = await asyncio.open_unix_connection(enclave.socket)
    writer.write(frame(b'{"v":1,"request":"identity"}'))
    with contextlib.suppress(ConnectionError):
        assert b"measurement" not in await asyncio.wait_for(reader.read(), 20)
    writer.close()


async def test_an_enclave_of_another_measurement_or_root_is_refused_before_it_is_asked(
    enclave: Enclave, tmp_path: Path
) -> None:
    with pytest.raises(QuoteMeasurementRefused):
        await enclave.reach(measurement=bytes(32)).client().identity()
    other = DevelopmentRoot.create(tmp_path / "other").root_der
    mine = enclave.reach()
    with pytest.raises(CollateralUntrusted):
        await replace(mine, trust=replace(mine.trust, roots=(other,))).client().identity()


async def test_a_simulated_tdx_guest_serves_over_tcp(tmp_path: Path, bundle: TrustBundle) -> None:
    made = Enclave(tmp_path, bundle)
    made.socket = f"tcp://127.0.0.1:{free_port()}"
    await made.start("--quotes", "simulated-tdx")
    async with made.reach(Tee.TDX).client() as client:
        identity = await client.identity()
        assert identity.attestation == "simulated"
        assert identity.measurement == measurement_of(Tee.TDX, simulated_measurement())
        quoted = await client.quote(bytes(32), bytes(32))
        assert quoted.collateral is not None
        assert (
            inspect_quote(quoted.quote, quoted.collateral, made.reach().trust.roots[0], int(time.time())).tee is Tee.TDX
        )
    assert (await made.stop())[0] == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_refusals_arrive_as_the_same_class(enclave: Enclave, bundle: TrustBundle, forge: Forge) -> None:
    async with enclave.reach().client() as client:
        deal = deal_for(await client.identity(), bundle)
        (enclave.exchange / "m").write_bytes(deal.ciphertext)
        (enclave.exchange / "d").write_bytes(deal.dataset.ciphertext)
        envelopes = deal.model_envelope, deal.dataset_envelope
        with pytest.raises(errors.TicketNonceUnknown):
            await client.run_job(forge.ticket(deal.payload(), bytes(32)), *envelopes, "m", "d")
        alone = forge.ticket(deal.payload(), await client.nonce(), lambda p: p.endorsers.pop())
        with pytest.raises(errors.TicketTooFewOrganizations):
            await client.run_job(alone, *envelopes, "m", "d")
        with pytest.raises(errors.HostBytesRefused):
            await client.run_job(forge.ticket(deal.payload(), await client.nonce()), *envelopes, "d", "d")
        with pytest.raises(errors.HostBytesRefused, match="No such file"):
            await client.run_job(forge.ticket(deal.payload(), await client.nonce()), *envelopes, "absent", "d")
        with pytest.raises(errors.TicketMalformed):
            await client.run_job(b"\xff" * 30, *envelopes, "m", "d")
        assert (await run(client, enclave, forge, deal)).outcome is Outcome.PASS


async def test_file_outside_the_exchange_folder_is_refused(enclave: Enclave, bundle: TrustBundle, forge: Forge) -> None:
    (enclave.exchange / "link").symlink_to("/etc/passwd")
    async with enclave.reach().client() as client:
        deal = deal_for(await client.identity(), bundle)
        ticket = forge.ticket(deal.payload(), await client.nonce())
        envelopes = deal.model_envelope, deal.dataset_envelope
        for name in ("../root/root.key", "/etc/passwd", ".hidden", "", "a/b", "link"):
            with pytest.raises((errors.RequestRefused, errors.HostBytesRefused)):
                await client.run_job(ticket, *envelopes, name, "x")


BAD_REQUESTS = [
    b"",
    b"not json",
    b"[]",
    b"{}",
    b'{"v":2,"request":"nonce"}',
    b'{"v":1,"request":"open sesame"}',
    b'{"v":1,"request":["nonce"]}',
    b'{"v":1,"request":"nonce","more":1}',
    b'{"v":1,"v":1,"request":"nonce"}',
    b'{"v":1,"request":"nonce","x":1.5}',
    b'{"v":1,"request":"quote","operator":"00","challenge":"00"}',
    b'{"v":1,"request":"quote","operator":5,"challenge":null}',
    b'{"v":1,"request":"run_job"}',
    b"[" * 5_000,
    b'{"v":1,"request":"quote","operator":"' + b"AB" * 32 + b'","challenge":"' + b"00" * 32 + b'"}',
]


async def test_bad_requests_are_answered_and_the_service_lives(enclave: Enclave) -> None:
    reader, writer = await sockets.open_tls(enclave.socket, client_context())
    for request in BAD_REQUESTS:
        writer.write(frame(request))
        reply = json.loads(await read_frame(reader, 10_000) or b"")
        assert reply["error"]["code"] in {"REQUEST_REFUSED", "MALFORMED_INPUT"}, request
    writer.write(frame(b'{"v":1,"request":"identity"}'))
    assert "ok" in json.loads(await read_frame(reader, 10_000) or b"")
    writer.close()


async def test_frames_too_long_or_cut_off_close_only_their_connection(enclave: Enclave) -> None:
    for data in (b"\xff\xff\xff\xff", b"\x00\x00", b"\x00\x00\x00\x09abc"):
        reader, writer = await sockets.open_tls(enclave.socket, client_context())
        writer.write(data)
        await writer.drain()
        if data[0]:
            assert b"REQUEST_REFUSED" in await reader.read()
        writer.close()
    async with enclave.reach().client() as client:
        assert len(await client.nonce()) == 32


async def test_stops_on_sigterm_with_a_log_that_holds_no_secret(
    enclave: Enclave, bundle: TrustBundle, forge: Forge
) -> None:
    async with enclave.reach().client() as client:
        deal = deal_for(await client.identity(), bundle)
        nonce = await client.nonce()
        await run(client, enclave, forge, deal)
    code, log = await enclave.stop()
    assert code == 0
    assert not os.path.lexists(enclave.socket)  # noqa: ASYNC240
    assert all(json.loads(line)["enclave"] == "e1" for line in log.splitlines())
    keys = EnclaveKeys.unseal_or_make(enclave.root / "enclaves" / "e1", simulated_measurement(), bundle.digest(), NOW)
    secrets = [nonce, deal.key, deal.secret, deal.dataset.key, keys.signing, keys.encryption.secret, model_bytes()]
    assert not any(secret.hex() in log for secret in secrets)
    assert "900000" not in log


async def test_restart_keeps_the_identity(enclave: Enclave) -> None:
    first = enclave.ready["enclave"]
    await enclave.stop()
    await enclave.start()
    assert enclave.ready["enclave"] == first


async def test_new_epoch_brings_new_keys(enclave: Enclave) -> None:
    async with enclave.reach().client() as client:
        first = await client.identity()
        enclave.clock.write_text(str(first.expires - int(time.time()) + 1))
        second = await client.identity()
    assert second.enclave != first.enclave
    assert second.encryption_key != first.encryption_key
    assert second.expires > first.expires


async def test_old_keys_are_erased_when_due_though_nobody_asks(tmp_path: Path, bundle: TrustBundle) -> None:
    clock_file, state = tmp_path / "clock", tmp_path / "state"
    clock, now = LedgerClock(clock_file), int(time.time())

    def current() -> EnclaveKeys:
        return EnclaveKeys.unseal_or_make(state, bytes(32), bundle.digest(), clock.now())

    source = simulated_source(DevelopmentRoot.create(tmp_path / "root"), "e1", bytes(32))
    bench = Bench(current(), bundle, cast("Runner", None))
    service = Service("e1", bench, source, tmp_path, clock, current)
    first, sealed = bench.keys, list(state.glob("*.sealed"))
    task = asyncio.create_task(service.keep_epochs(0.01))
    await asyncio.sleep(0.1)
    assert service.bench.keys == first
    clock_file.write_text(str(first.expires - now + 1))
    for _ in range(2_000):
        if service.bench.keys != first:
            break
        await asyncio.sleep(0.01)
    task.cancel()
    assert service.bench.keys != first
    assert not any(path.exists() for path in sealed)
    assert len(list(state.glob("*.sealed"))) == 1


async def test_long_socket_path_works(tmp_path: Path, bundle: TrustBundle) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    made = Enclave(folder, bundle)
    await made.start()
    async with made.reach().client() as client:
        assert (await client.identity()).name == "e1"
    assert (await made.stop())[0] == 0


async def test_client_names_an_absent_enclave(tmp_path: Path) -> None:
    with pytest.raises(errors.EnclaveUnreachable, match="enclave run"):
        async with Reach(tmp_path / "none", NOBODY, LedgerClock()).client():
            pass
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "dead"))
    sock.close()
    with pytest.raises(errors.EnclaveUnreachable):
        await Reach(tmp_path / "dead", NOBODY, LedgerClock()).client().nonce()


@pytest.mark.parametrize("bundle_text", ["", "{}", "no json"])
async def test_bad_bundle_is_refused_without_a_traceback(tmp_path: Path, bundle: TrustBundle, bundle_text: str) -> None:
    made = Enclave(tmp_path, bundle)
    made.bundle_file.write_text(bundle_text)
    with pytest.raises(json.JSONDecodeError):
        await made.start()
    code, log = await made.stop()
    assert code == 1
    assert log.startswith("BUNDLE_REFUSED: ")
    assert "Traceback" not in log


@pytest.mark.check
async def test_jobs_run_side_by_side_and_a_drain_lets_them_end(
    tmp_path: Path, bundle: TrustBundle, forge: Forge
) -> None:
    """Three jobs on two places; the enclave is told to stop while they run, and every report comes."""
    made = Enclave(tmp_path, bundle)
    made.clock.write_text(str(NOW - int(time.time())))
    await made.start("--jobs", "2")
    inputs, labels = examples()
    inputs, labels = np.tile(inputs, (400, 1)), np.tile(labels, 400)
    async with made.reach().client() as client:
        container, spec = pack(inputs, labels, name="long"), {"samples": len(inputs)}
        deal = deal_for(await client.identity(), bundle, container=container, spec=spec)
    (made.exchange / "m").write_bytes(deal.ciphertext)
    (made.exchange / "d").write_bytes(deal.dataset.ciphertext)

    async def job() -> tuple[float, float, Any]:
        async with made.reach().client() as own:
            ticket = forge.ticket(deal.payload(), await own.nonce())
            began = time.monotonic()
            report = await own.run_job(ticket, deal.model_envelope, deal.dataset_envelope, "m", "d")
            return began, time.monotonic(), report

    jobs = [asyncio.create_task(job()) for _ in range(3)]
    await asyncio.sleep(1.0)
    assert made.process is not None
    os.kill(made.process.pid, signal.SIGTERM)
    found = await asyncio.gather(*jobs)
    assert [one[2].outcome for one in found] == [Outcome.PASS] * 3
    code, log = await made.stop()
    assert code == 0
    assert log.count('"request": "run_job", "outcome": "ok"') == 3
