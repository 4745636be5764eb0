"""Private data: who has it, what is public of it, when it goes."""

import hashlib
from collections.abc import Callable

import pytest

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import LedgerError, SimulationError
from goldengrain.network.embedded.simulator import TxSimulator
from tests.network.embedded.core.kit import Consortium, collection, put

NAME = "secret"


@pytest.fixture
async def secret(consortium: Consortium, channel: Channel) -> Channel:
    two, all_three = "OR('Org1MSP.member', 'Org2MSP.member')", "OR('Org1MSP.member','Org2MSP.member','Org3MSP.member')"
    collections = [collection("pair", two), collection("brief", all_three, block_to_live=2)]
    await consortium.define(channel, NAME, collections=collections)
    return channel


def write(where: str, key: str, value: str) -> Callable[[TxSimulator], None]:
    return lambda simulator: simulator.put_private(NAME, where, key, value.encode())


def read(channel: Channel, msp_id: str, where: str, key: str) -> bytes | None:
    simulator = channel.simulator("tx", msp_id)
    try:
        return simulator.get_private(NAME, where, key)
    finally:
        simulator.done()


def read_hash(channel: Channel, where: str, key: str) -> bytes | None:
    simulator = channel.simulator("tx", "Org3MSP")
    try:
        return simulator.get_private_hash(NAME, where, key)
    finally:
        simulator.done()


async def submit(consortium: Consortium, channel: Channel, work: Callable[[TxSimulator], object]) -> str:
    return await consortium.submit(channel, work, chaincode=NAME)


async def test_members_have_the_value_others_its_hash(consortium: Consortium, secret: Channel) -> None:
    assert await submit(consortium, secret, write("pair", "k", "v")) == "VALID"
    assert read(secret, "Org1MSP", "pair", "k") == read(secret, "Org2MSP", "pair", "k") == b"v"
    with pytest.raises(SimulationError, match="private data matching public hash version is not available"):
        read(secret, "Org3MSP", "pair", "k")
    assert read_hash(secret, "pair", "k") == hashlib.sha256(b"v").digest()
    assert read(secret, "Org1MSP", "pair", "missing") is None
    await submit(consortium, secret, write("pair", "clear key", "clear value"))
    assert b"clear" not in secret.ledger.chain.block_bytes(secret.height - 1)


async def test_private_ranges_need_a_read_only_transaction(consortium: Consortium, secret: Channel) -> None:
    for number in range(3):
        await submit(consortium, secret, write("pair", f"k{number}", str(number)))
    simulator = secret.simulator("tx", "Org2MSP")
    rows = simulator.private_range(NAME, "pair", "k1", "")
    assert [rows.next(), rows.next(), rows.next()] == [("k1", b"1"), ("k2", b"2"), None]
    with pytest.raises(SimulationError, match="already performed queries on pvt data"):
        simulator.put_state(NAME, "a", b"1")
    simulator.done()
    other = secret.simulator("tx", "Org2MSP")
    other.put_state(NAME, "a", b"1")
    with pytest.raises(SimulationError, match="only in a read-only transaction"):
        other.private_range(NAME, "pair", "", "")
    other.done()


async def test_private_reads_conflict_too(consortium: Consortium, secret: Channel) -> None:
    def touch(simulator: TxSimulator) -> None:
        simulator.get_private_hash(NAME, "pair", "k")
        simulator.put_state(NAME, "seen", b"1")

    reader = await consortium.prepare(secret, touch, chaincode=NAME)
    await submit(consortium, secret, write("pair", "k", "v"))
    assert await consortium.commit(secret, reader) == ["MVCC_READ_CONFLICT"]


async def test_deleting_and_purging(consortium: Consortium, secret: Channel) -> None:
    await submit(consortium, secret, write("pair", "a", "1"))
    at = secret.height - 1
    await submit(consortium, secret, write("pair", "b", "2"))
    await submit(consortium, secret, lambda s: s.delete_private(NAME, "pair", "a"))
    await submit(consortium, secret, lambda s: s.purge_private(NAME, "pair", "b"))
    for key in ("a", "b"):
        assert read(secret, "Org1MSP", "pair", key) is None
        assert read_hash(secret, "pair", key) is None
    assert len(secret.ledger.chain.private_writes(at)) == 1
    assert [kept.write for kept in secret.ledger.chain.private_writes(at + 1)] == [b""]


async def test_private_data_expire(consortium: Consortium, secret: Channel) -> None:
    await submit(consortium, secret, write("brief", "old", "1"))
    at = secret.height - 1
    await submit(consortium, secret, write("brief", "renewed", "1"))
    await consortium.submit(secret, put("x", "1"))
    await submit(consortium, secret, write("brief", "renewed", "2"))
    assert secret.height - 1 == at + 3
    assert read(secret, "Org3MSP", "brief", "old") is None
    assert read_hash(secret, "brief", "old") is None
    assert secret.ledger.chain.private_writes(at) == []
    await consortium.submit(secret, put("x", "2"))
    assert read(secret, "Org3MSP", "brief", "renewed") == b"2"
    for _ in range(2):
        await consortium.submit(secret, put("x", "3"))
    assert read(secret, "Org3MSP", "brief", "renewed") is None


async def test_metadata_keep_the_value_readable(consortium: Consortium, secret: Channel) -> None:
    await submit(consortium, secret, write("pair", "k", "v"))
    await submit(consortium, secret, lambda s: s.set_private_metadata(NAME, "pair", "k", {"note": b"x"}))
    assert read(secret, "Org1MSP", "pair", "k") == b"v"
    simulator = secret.simulator("tx", "Org3MSP")
    assert simulator.get_private_metadata(NAME, "pair", "k") == {"note": b"x"}
    simulator.done()


async def test_staged_data_outlive_a_restart(
    consortium: Consortium, secret: Channel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prepared = await consortium.prepare(secret, write("pair", "k", "v"), chaincode=NAME)
    await secret.close()
    again = Channel.open(secret.ledger.path)
    try:
        assert await consortium.commit(again, prepared) == ["VALID"]
        assert read(again, "Org2MSP", "pair", "k") == b"v"
        assert again.ledger.staging.of(prepared.tx_id) == []
    finally:
        await again.close()


async def test_private_data_that_could_not_be_kept_are_no_excuse_the_second_time(
    secret: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LedgerError("disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(secret.ledger._store, "write_staged", full)
        for _ in range(2):
            with pytest.raises(LedgerError, match="disk is full"):
                await secret.ledger.staging.keep("tx", b"private")
    assert secret.ledger.staging.of("tx") == []
    await secret.ledger.staging.keep("tx", b"private")
    assert secret.ledger.staging.of("tx") == [b"private"]
    assert [(tx, private) for tx, _, private in secret.ledger._store.staged()] == [("tx", b"private")]
