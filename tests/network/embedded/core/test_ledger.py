"""The ledger's file: what it refuses, what a reader sees while blocks commit, who is woken."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fabric_protos.common import common_pb2

from goldengrain.network.embedded import blocks as tools
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import (
    BlockNotFoundError,
    ConfigError,
    LedgerBusyError,
    LedgerCorruptError,
    LedgerError,
    LedgerForeignError,
    SimulationError,
)
from goldengrain.network.embedded.simulator import TxSimulator
from goldengrain.network.embedded.state import StateKey
from tests.network.embedded.core.kit import CHAINCODE, Consortium, put

# -- opening


async def test_a_ledger_is_made_once(consortium: Consortium, channel: Channel) -> None:
    with pytest.raises(LedgerError, match="already a ledger"):
        Channel.create(channel.ledger.path, consortium.genesis)


async def test_a_ledger_is_open_once(channel: Channel) -> None:
    with pytest.raises(LedgerBusyError, match="another process"):
        Channel.open(channel.ledger.path)


def test_a_missing_ledger_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="create the channel first"):
        Channel.open(tmp_path / "none.sqlite")


async def test_another_networks_ledger_is_foreign(consortium: Consortium, channel: Channel) -> None:
    await channel.close()
    other = common_pb2.Block()
    other.CopyFrom(consortium.genesis)
    other.header.data_hash = bytes(32)
    with pytest.raises(LedgerForeignError, match="another genesis block"):
        Channel.open(channel.ledger.path, other)
    again = Channel.open(channel.ledger.path, consortium.genesis)
    await again.close()


def test_another_programs_file_is_foreign(tmp_path: Path) -> None:
    path = tmp_path / "market.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerForeignError, match="not made by this program"):
        Channel.open(path)
    assert path.read_bytes() == before


def overwrite_start(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[:16] = b"no database here"
    path.write_bytes(raw)


def overwrite_middle(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4096 * 3 : -4096] = b"\xaa" * (len(raw) - 4096 * 4)
    path.write_bytes(raw)


def sql(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        overwrite_start,
        overwrite_middle,
        sql("DELETE FROM blocks WHERE number = 1"),
        sql("DELETE FROM blocks"),
        sql("DELETE FROM meta WHERE name = 'channel'"),
        sql("UPDATE blocks SET block = x'ff' WHERE number = 2"),
        sql("UPDATE blocks SET block = (SELECT block FROM blocks WHERE number = 1) WHERE number = 2"),
        sql("UPDATE blocks SET hash = x'00' WHERE number = 2"),
        sql("UPDATE blocks SET hash = x'00' WHERE number = 1"),
        sql("UPDATE blocks SET block = x'' WHERE number = 0"),
    ],
)
async def test_a_damaged_ledger_is_refused(
    consortium: Consortium, channel: Channel, damage: Callable[[Path], None]
) -> None:
    await consortium.submit(channel, put("a", "1"))
    await channel.close()
    damage(channel.ledger.path)
    with pytest.raises(LedgerCorruptError):
        Channel.open(channel.ledger.path)


async def test_a_changed_block_in_the_middle_is_found_by_verify(consortium: Consortium, channel: Channel) -> None:
    for number in range(3):
        await consortium.submit(channel, put("a", str(number)))
    channel.ledger.chain.verify()
    changed = channel.ledger.chain.block_bytes(2).replace(b"basic", b"basis")
    await channel.close()
    connection = sqlite3.connect(channel.ledger.path)
    connection.execute("UPDATE blocks SET block = ? WHERE number = 2", (changed,))
    connection.commit()
    connection.close()
    again = Channel.open(channel.ledger.path)
    with pytest.raises(LedgerCorruptError, match="block 2"):
        again.ledger.chain.verify()
    await again.close()


def test_a_block_that_is_no_genesis_block_is_refused(consortium: Consortium, tmp_path: Path) -> None:
    block = common_pb2.Block()
    block.CopyFrom(consortium.genesis)
    block.header.number = 1
    with pytest.raises(ConfigError, match="number 0"):
        Channel.create(tmp_path / "market.sqlite", block)
    with pytest.raises(ConfigError, match="no configuration block"):
        Channel.create(tmp_path / "market.sqlite", tools.make_block(0, b"", [b"", b""]))
    assert list(tmp_path.iterdir()) == []


async def test_a_copy_of_the_files_is_a_ledger(consortium: Consortium, channel: Channel, tmp_path: Path) -> None:
    """What is on disk at any moment is a whole ledger: copying it is like a crash at that moment."""
    await consortium.submit(channel, put("a", "1"))
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in channel.ledger.path.parent.glob("market.sqlite*"):
        shutil.copy(file, folder)
    copy = Channel.open(folder / "market.sqlite")
    copy.ledger.chain.verify()
    assert copy.height == channel.height
    assert copy.ledger.state.get_public(CHAINCODE, "a") == channel.ledger.state.get_public(CHAINCODE, "a")
    await copy.close()


# -- reading


async def test_blocks_and_transactions_are_found(consortium: Consortium, channel: Channel) -> None:
    prepared = await consortium.prepare(channel, put("a", "1"))
    await consortium.commit(channel, prepared)
    block = channel.ledger.chain.block(2)
    assert block.SerializeToString() == channel.ledger.chain.block_bytes(2)
    assert channel.ledger.chain.block_by_hash(tools.header_hash(block.header)) == block
    assert channel.ledger.chain.envelope(prepared.tx_id).payload == prepared.payload.SerializeToString()
    for missing in (-1, 3):
        with pytest.raises(BlockNotFoundError):
            channel.ledger.chain.block(missing)
    with pytest.raises(BlockNotFoundError):
        channel.ledger.chain.block_by_hash(bytes(32))
    with pytest.raises(BlockNotFoundError):
        channel.ledger.chain.envelope("nosuch")
    assert channel.ledger.chain.transaction_status("nosuch") is None


async def test_a_reader_sees_the_state_as_it_was_when_it_began(consortium: Consortium, channel: Channel) -> None:
    await consortium.submit(channel, lambda s: [s.put_state(CHAINCODE, f"k{n:03d}", b"old") for n in range(300)])
    old = channel.simulator("old", "Org1MSP")
    rows = old.range(CHAINCODE, "", "")
    assert rows.next() == ("k000", b"old")

    def change(simulator: TxSimulator) -> None:
        simulator.put_state(CHAINCODE, "k001", b"new")
        simulator.delete_state(CHAINCODE, "k250")
        simulator.put_state(CHAINCODE, "k2505", b"new")
        simulator.delete_state(CHAINCODE, "k299")

    await consortium.submit(channel, change)
    middle = channel.simulator("middle", "Org1MSP")
    await consortium.submit(channel, put("k001", "newer"))
    await consortium.submit(channel, put("zzz", "newer"))
    seen = [rows.next() for _ in range(300)]
    assert [row and row.key for row in seen] == [f"k{n:03d}" for n in range(1, 300)] + [None]
    assert all(row is None or row.value == b"old" for row in seen)
    assert [s.get_state(CHAINCODE, "k001") for s in (old, middle)] == [b"old", b"new"]
    assert [s.get_state(CHAINCODE, "k250") for s in (old, middle)] == [b"old", None]
    assert middle.get_states(CHAINCODE, ["k2505", "zzz"]) == [b"new", None]
    old.done()
    middle.done()
    fresh = channel.simulator("fresh", "Org1MSP")
    assert fresh.get_states(CHAINCODE, ["k001", "k250", "zzz"]) == [b"newer", None, b"newer"]
    fresh.done()


async def test_nothing_of_a_block_is_seen_before_it_is_on_disk(
    consortium: Consortium, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await consortium.submit(channel, put("a", "old"))
    written, go_on = asyncio.Event(), asyncio.Event()
    write = channel.ledger._writer.write

    async def slowly(action: Callable[[], object]) -> object:
        result = await write(action)
        written.set()
        await go_on.wait()
        return result

    prepared = await consortium.prepare(channel, put("a", "new"))
    monkeypatch.setattr(channel.ledger._writer, "write", slowly)
    commit = asyncio.create_task(consortium.commit(channel, prepared))
    await written.wait()
    assert channel.height == 3
    assert channel.ledger.chain.transaction_status(prepared.tx_id) is None
    value = channel.ledger.state.get_public(CHAINCODE, "a")
    assert value is not None
    assert value.value == b"old"
    reader = channel.simulator("reader", "Org1MSP")
    assert reader.range(CHAINCODE, "", "").next() == ("a", b"old")
    go_on.set()
    await commit
    assert reader.get_state(CHAINCODE, "a") == b"old"
    reader.done()
    with pytest.raises(SimulationError):
        reader.get_state(CHAINCODE, "a")
    value = channel.ledger.state.get_public(CHAINCODE, "a")
    assert value is not None
    assert value.value == b"new"
    await consortium.submit(channel, put("a", "newer"))
    assert channel.ledger.state._past._undos == []


async def test_a_failed_write_changes_nothing(
    consortium: Consortium, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(row: object) -> None:
        raise LedgerError("disk is full")

    prepared = await consortium.prepare(channel, put("a", "1"))
    with monkeypatch.context() as patch:
        patch.setattr(channel.ledger._store, "write_block", failing)
        with pytest.raises(LedgerError, match="disk is full"):
            await consortium.commit(channel, prepared)
    assert (channel.height, channel.ledger.state.get_public(CHAINCODE, "a")) == (2, None)
    assert await consortium.commit(channel, prepared) == ["VALID"]


# -- waiting


async def test_waiting_for_blocks_and_transactions(consortium: Consortium, channel: Channel) -> None:
    prepared = await consortium.prepare(channel, put("a", "1"))
    waiting = asyncio.create_task(channel.ledger.arrivals.wait_for_transaction(prepared.tx_id))
    given_up = asyncio.create_task(channel.ledger.arrivals.wait_for_transaction(prepared.tx_id))
    height = asyncio.create_task(channel.ledger.arrivals.wait_for_height(3))
    seen: list[int] = []

    async def follow() -> None:
        async for block in channel.ledger.arrivals.blocks(1, 3):
            seen.append(block.header.number)  # noqa: PERF401 - one by one, as they come

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    given_up.cancel()
    await consortium.commit(channel, prepared)
    assert (await waiting).block_number == 2
    await height
    assert (await channel.ledger.arrivals.wait_for_transaction(prepared.tx_id)).code == 0
    await consortium.submit(channel, put("a", "2"))
    await following
    assert seen == [1, 2, 3]
    assert channel.ledger.arrivals._tx_waiters == {}
    assert channel.ledger.arrivals._height_waiters == []


async def test_a_cancelled_committer_leaves_a_whole_block(consortium: Consortium, channel: Channel) -> None:
    prepared = await consortium.prepare(channel, put("a", "1"))
    task = asyncio.create_task(consortium.commit(channel, prepared))
    await asyncio.sleep(0)
    task.cancel()
    await channel.ledger.arrivals.wait_for_height(3)
    assert await consortium.submit(channel, put("a", "2")) == "VALID"


async def test_a_closed_ledger_says_so(consortium: Consortium, channel: Channel) -> None:
    prepared = await consortium.prepare(channel, put("a", "1"))
    block = consortium.next_block(channel, [prepared.envelope()])
    await channel.close()
    with pytest.raises(LedgerError):
        await channel.commit(block)


async def test_the_cache_is_bounded(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.network.embedded.state_cache._CACHE_BYTES", 5000)
    for number in range(100):
        assert channel.ledger.state.get(StateKey(CHAINCODE, "", str(number).encode())) is None
    assert len(channel.ledger.state._cache._entries) < 30
