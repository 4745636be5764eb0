"""The history of a key: every valid write of it, the newest first, whatever came after."""

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.world_state import _RANGE_CHUNK
from tests.network.embedded.core.kit import CHAINCODE, Consortium, increment, put


def history(channel: Channel, key: str) -> list[tuple[bytes, bool]]:
    simulator = channel.simulator("tx", "Org1MSP")
    try:
        return [(change.value, change.is_delete) for change in simulator.history(CHAINCODE, key)]
    finally:
        simulator.done()


async def test_each_valid_write_is_told_and_none_that_lost_a_race(consortium: Consortium, channel: Channel) -> None:
    first, second = [await consortium.prepare(channel, increment("k")) for _ in range(2)]
    assert await consortium.commit(channel, first, second) == ["VALID", "MVCC_READ_CONFLICT"]
    assert history(channel, "k") == [(b"1", False)]


async def test_two_blind_writes_of_one_block_are_both_told(consortium: Consortium, channel: Channel) -> None:
    writes = [await consortium.prepare(channel, put("k", value)) for value in ("a", "b")]
    assert await consortium.commit(channel, *writes) == ["VALID", "VALID"]
    await consortium.submit(channel, lambda simulator: simulator.delete_state(CHAINCODE, "k"))
    assert history(channel, "k") == [(b"", True), (b"b", False), (b"a", False)]
    assert history(channel, "other") == []


async def test_a_change_names_its_transaction(consortium: Consortium, channel: Channel) -> None:
    write = await consortium.prepare(channel, put("k", "v"))
    await consortium.commit(channel, write)
    simulator = channel.simulator("tx", "Org1MSP")
    (change,) = simulator.history(CHAINCODE, "k")
    simulator.done()
    assert change.tx_id == write.tx_id


async def test_a_reader_sees_no_block_after_its_start(consortium: Consortium, channel: Channel) -> None:
    await consortium.submit(channel, put("k", "old"))
    simulator = channel.simulator("tx", "Org1MSP")
    await consortium.submit(channel, put("k", "new"))
    assert [change.value for change in simulator.history(CHAINCODE, "k")] == [b"old"]
    simulator.done()
    assert history(channel, "k") == [(b"new", False), (b"old", False)]


async def test_a_long_history_is_told_whole_and_outlives_the_process(consortium: Consortium, channel: Channel) -> None:
    values = [str(number) for number in range(_RANGE_CHUNK + 2)]
    writes = [await consortium.prepare(channel, put("k", value)) for value in values]
    await consortium.commit(channel, *writes[:3])
    await consortium.commit(channel, *writes[3:])
    await channel.close()
    again = Channel.open(channel.ledger.path)
    assert [value.decode() for value, _ in history(again, "k")] == values[::-1]
    await again.close()
