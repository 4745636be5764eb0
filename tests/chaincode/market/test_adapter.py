"""The contract on a peer's stream: the same rules, over gRPC, with the clock window in front."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.market import adapter
from goldengrain.chaincode.market.adapter import MarketChaincode, caller_of
from goldengrain.chaincode.market.memory import MemoryLedger
from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.accounts import Role, account_of
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.shim import ChaincodeServer
from tests.chaincode.market import determinism
from tests.chaincode.market.world import (
    ADMINS,
    DEVELOPER,
    OPERATOR3,
    PROVIDER,
    START,
    World,
    enclave3,
    policy,
    word,
)
from tests.chaincode.shim.ledger import Ledger
from tests.chaincode.shim.peer import FakePeer, Outcome, call_message, new_tx_id, signed_proposal


class FixedClock(LedgerClock):
    """A peer's clock that stands still."""

    def __init__(self, now: int) -> None:
        super().__init__()
        self.fixed = now

    def now_ns(self) -> int:
        return self.fixed * 1_000_000_000


class RecordingLedger(MemoryLedger):
    """Keeps what was sent, so that it can be sent to a peer again."""

    def submit_args(self, caller: Caller, args: list[bytes], at: int | None = None) -> Any:
        committed = super().submit_args(caller, args, at)
        SENT.append((committed.tx_id, caller, args, committed.timestamp))
        return committed


SENT: list[tuple[str, Caller, list[bytes], int]] = []


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def _peer(stack: AsyncExitStack, clock: LedgerClock, **options: Any) -> FakePeer:
    server = ChaincodeServer(MarketChaincode(clock), "127.0.0.1:0", "golden-grain_1:00")
    port = await server.start()
    stack.push_async_callback(server.stop, 0.2)
    return await stack.enter_async_context(FakePeer(port, Ledger(), **options))


async def _call(peer: FakePeer, args: list[bytes], creator: bytes, seconds: int, tx_id: str | None = None) -> Outcome:
    tx_id = tx_id or new_tx_id()
    proposal = signed_proposal(tx_id, creator=creator, seconds=seconds)
    return await peer.run(call_message(*args, tx_id=tx_id, proposal=proposal))


def _whole_swap() -> World:
    SENT.clear()
    world = World(RecordingLedger(now=START)).found()
    world.mint(PROVIDER, DEVELOPER, OPERATOR3)
    world.put_collateral()
    world.change_policy(operators=(OPERATOR3.account,))
    world.register(enclave3())
    task = world.open_task(sealed_to=(enclave3(),))
    offer = world.claimed(task, sealed_to=(enclave3(),))
    world.reported(offer)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    world.send(PROVIDER, c.Acknowledge(offer))
    return world


@pytest.mark.parametrize("modern", [True, False], ids=["Fabric 3.1", "Fabric 2.5"])
async def test_a_peer_gets_the_very_writes_of_the_ledger_in_memory(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, modern: bool
) -> None:
    world = _whole_swap()
    by_name = {one.account + one.msp_id.encode(): one for _, one, _, _ in SENT}
    monkeypatch.setattr(adapter, "caller_of", by_name.__getitem__)
    peer = await _peer(stack, FixedClock(START), **({} if modern else {"params": None}))
    for tx_id, who, args, seconds in SENT:
        outcome = await _call(peer, args, who.account + who.msp_id.encode(), seconds, tx_id)
        assert outcome.response.status == 200, outcome.response.message
        assert outcome.event is not None
        assert outcome.event.event_name == args[0].decode()
        assert json.loads(outcome.event.payload)["v"] == 1
        reads = [kind for kind in outcome.transaction.kinds if kind.startswith("GET_STATE")]
        assert not modern or len(reads) <= 3
        outcome.transaction.commit()
    assert {key: value for (_, key), value in peer.ledger.values.items()} == world.ledger.state


@pytest.mark.parametrize("modern", [True, False], ids=["Fabric 3.1", "Fabric 2.5"])
async def test_every_command_reads_in_three_messages_at_most_and_writes_in_one(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, modern: bool
) -> None:
    calls = determinism.record(games=12)
    callers = {json.dumps(call["who"]).encode(): call["who"] for call in calls if "who" in call}
    monkeypatch.setattr(adapter, "caller_of", lambda creator: determinism.caller(callers[creator]))
    clock, sent = FixedClock(START), set()
    peer = await _peer(stack, clock, **({} if modern else {"params": None}))
    founded: dict[tuple[str, str], bytes] = {}
    founding = next(call["again"] for call in calls if "again" in call)
    for number, call in enumerate(calls):
        if "again" in call:
            peer.ledger.values.clear()
            peer.ledger.values.update(founded)
            continue
        clock.fixed, args = call["at"], [bytes.fromhex(one) for one in call["args"]]
        tx_id = hashlib.sha256(f"transaction {call['number'] + 1}".encode()).hexdigest()
        outcome = await _call(peer, args, json.dumps(call["who"]).encode(), call["at"], tx_id)
        if outcome.response.status == 200:
            sent.add(args[0].decode())
            kinds = outcome.transaction.kinds
            reads = [kind for kind in kinds if kind.startswith("GET_STATE")]
            writes = [kind for kind in kinds if kind not in reads]
            if modern:
                assert (len(reads) <= 3, writes) == (True, ["WRITE_BATCH_STATE"]), (args[0], kinds)
            else:
                assert set(kinds) <= {"GET_STATE", "PUT_STATE", "DEL_STATE"}, (args[0], kinds)
                assert kinds == reads + writes, "a read after a write"
            outcome.transaction.commit()
        if number + 1 == founding:
            founded = dict(peer.ledger.values)
    assert sent == set(c.COMMANDS)


async def test_a_job_ticket_has_status_200_no_event_and_no_write(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.founded()
    task = world.open_task()
    offer = world.claimed(task)
    monkeypatch.setattr(adapter, "caller_of", lambda creator: OPERATOR3)
    peer = await _peer(stack, FixedClock(START))
    peer.ledger.values.update({("", key): value for key, value in world.ledger.state.items()})
    asked = q.JobTicket(offer, 1, enclave3().id, word("nonce"))
    outcome = await _call(peer, asked.to_args(), b"x", START)
    assert (outcome.response.status, outcome.response.message, outcome.event) == (200, "", None)
    assert outcome.transaction.writes == []
    assert outcome.response.payload == world.ticket(offer).to_bytes()
    page = await _call(peer, q.ListCoins(page_size=2).to_args(), b"x", START - 10_000)
    assert len(json.loads(page.response.payload)["items"]) == 2


@pytest.mark.parametrize(("drift", "accepted"), [(-121, False), (-120, True), (0, True), (120, True), (121, False)])
async def test_the_clock_window_is_held_to_the_second(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, drift: int, accepted: bool
) -> None:
    monkeypatch.setattr(adapter, "caller_of", lambda creator: ADMINS["Org1MSP"])
    peer = await _peer(stack, FixedClock(START))
    outcome = await _call(peer, c.Bootstrap(policy()).to_args(), b"x", START + drift)
    if accepted:
        assert outcome.response.status == 200
        return
    assert outcome.response.status == 409
    assert outcome.response.message.startswith("CLOCK_REFUSED: ")
    assert outcome.transaction.writes == []


async def test_the_tasks_own_window_counts_not_todays_policy(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.founded()
    task = world.open_task()
    world.change_policy(window=5, guard=10, reveal_min=30, test=True)
    monkeypatch.setattr(adapter, "caller_of", lambda creator: PROVIDER)
    peer = await _peer(stack, FixedClock(START))
    peer.ledger.values.update({("", key): value for key, value in world.ledger.state.items()})
    assert (await _call(peer, c.ShutTask(task).to_args(), b"x", START + 100)).response.status == 200
    challenged = await _call(peer, c.Challenge(OPERATOR3.account).to_args(), b"x", START + 6)
    assert challenged.response.message.startswith("CLOCK_REFUSED: ")


@pytest.mark.parametrize(
    ("args", "status", "code"),
    [
        ([b"GetPolicy"], 404, "POLICY_NOT_FOUND"),
        ([b"Nothing", b"{}"], 400, "UNKNOWN_COMMAND"),
        ([b"Transfer", b"{"], 400, "MALFORMED_INPUT"),
        ([], 400, "UNKNOWN_COMMAND"),
        (c.Bootstrap(policy()).to_args(), 403, "ADMIN_REQUIRED"),
    ],
)
async def test_a_refusal_is_status_and_code(stack: AsyncExitStack, args: list[bytes], status: int, code: str) -> None:
    peer = await _peer(stack, FixedClock(START))
    outcome = await _call(peer, args, _creator("provider", "client"), START)
    assert outcome.response.status == status
    assert outcome.response.message.startswith(f"{code}: ")
    assert outcome.transaction.writes == []
    assert outcome.event is None


async def test_init_is_refused(stack: AsyncExitStack) -> None:
    peer = await _peer(stack, FixedClock(START))
    outcome = await peer.run(call_message(b"Bootstrap", kind=ChaincodeMessage.INIT))
    assert outcome.response.status == 400


@pytest.mark.parametrize("unit", ["admin", "client", "peer", "nothing"])
def test_a_caller_is_account_organisation_and_role(unit: str) -> None:
    creator = _creator("somebody", unit)
    identity = identities_pb2.SerializedIdentity.FromString(creator)
    who = caller_of(creator)
    assert who.account == account_of("Org1MSP", identity.id_bytes)
    assert (who.msp_id, who.role) == ("Org1MSP", None if unit == "nothing" else Role(unit))


def test_the_contract_runs_as_a_process_and_stops_on_sigterm(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("86400\n")
    command = [sys.executable, "-m", "goldengrain.chaincode.market", "--address", "127.0.0.1:0"]
    options = ["--package-id", "golden-grain_1:00", "--clock", str(clock), "--log-level", "warning"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            assert (ready["ready"], ready["pid"]) == (True, process.pid)
            asyncio.run(_bootstrap(int(ready["address"].rpartition(":")[2]), LedgerClock(clock).now()))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


async def _bootstrap(port: int, now: int) -> None:
    async with FakePeer(port, Ledger()) as peer:
        outcome = await _call(peer, c.Bootstrap(policy()).to_args(), _creator("admin", "admin"), now)
        assert outcome.response.status == 200, outcome.response.message
        late = await _call(peer, c.Bootstrap(policy()).to_args(), _creator("admin", "admin"), now - 86_400)
        assert late.response.message.startswith("CLOCK_REFUSED: ")


def test_an_address_that_is_none_is_a_named_error() -> None:
    command = [sys.executable, "-m", "goldengrain.chaincode.market", "--address", "256.0.0.1:1", "--package-id", "x:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "SHIM_SERVER" in done.stderr
    assert "Traceback" not in done.stderr


def _creator(name: str, unit: str) -> bytes:
    """A creator with a certificate of Org1 whose subject names a NodeOU."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca.org1")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    return identities_pb2.SerializedIdentity(mspid="Org1MSP", id_bytes=pem).SerializeToString()
