"""Read-write sets: what is recorded, in which order, and what a transaction may not do."""

import hashlib
import itertools
from collections.abc import Callable

import pytest
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain.network.embedded import rwset
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import SimulationError
from goldengrain.network.embedded.simulator import TxSimulator
from goldengrain.network.embedded.state import Version
from goldengrain.network.embedded.store import LedgerStore
from goldengrain.network.signature_policy import parse_signature_policy
from tests.network.embedded.core.kit import CHAINCODE, Consortium, put


@pytest.fixture
async def filled(consortium: Consortium, channel: Channel) -> Channel:
    """Keys k000 to k119 of block 2."""
    await consortium.submit(channel, lambda s: [s.put_state(CHAINCODE, f"k{n:03d}", b"x") for n in range(120)])
    return channel


def simulate(channel: Channel, work: Callable[[TxSimulator], object]) -> list[rwset.NamespaceRwSet]:
    simulator = channel.simulator("tx", "Org1MSP")
    work(simulator)
    return rwset.parse(simulator.results().public)


async def test_namespaces_and_keys_are_sorted(filled: Channel) -> None:
    def work(s: TxSimulator) -> None:
        for key in ("z", "k001", "\U0010ffff", "ä", "a"):
            s.get_state("two", key)
            s.put_state("two", key, b"v")
        s.get_state("one", "k")
        s.get_state(CHAINCODE, "k001")

    first, second, third = simulate(filled, work)
    assert [first.namespace, second.namespace, third.namespace] == [CHAINCODE, "one", "two"]
    order = ["a", "k001", "z", "ä", "\U0010ffff"]
    assert [r.key for r in third.public.reads] == [w.key for w in third.public.writes] == order
    assert (first.public.reads[0].version.block_num, first.public.reads[0].version.tx_num) == (2, 0)
    assert not second.public.reads[0].HasField("version")


async def test_the_order_of_calls_does_not_show(filled: Channel) -> None:
    calls: list[Callable[[TxSimulator], object]] = [
        lambda s: s.get_state(CHAINCODE, "k001"),
        lambda s: s.put_state(CHAINCODE, "b", b"2"),
        lambda s: s.delete_state(CHAINCODE, "a"),
        lambda s: s.put_private(CHAINCODE, "_implicit_org_Org1MSP", "p", b"1"),
        lambda s: s.set_state_metadata(CHAINCODE, "b", {"y": b"2", "x": b"1"}),
    ]
    results = set()
    for order in itertools.permutations(calls):
        simulator = filled.simulator("tx", "Org1MSP")
        for call in order:
            call(simulator)
        results.add(simulator.results().public)
    assert len(results) == 1


async def test_own_writes_are_not_read(filled: Channel) -> None:
    simulator = filled.simulator("tx", "Org1MSP")
    simulator.put_state(CHAINCODE, "k000", b"new")
    simulator.put_state(CHAINCODE, "k0000", b"new")
    assert simulator.get_state(CHAINCODE, "k000") == b"x"
    assert simulator.range(CHAINCODE, "k000", "k001").next() == ("k000", b"x")
    simulator.done()


async def test_an_empty_value_deletes(filled: Channel) -> None:
    writes = simulate(filled, lambda s: [s.put_state(CHAINCODE, "a", b""), s.delete_state(CHAINCODE, "b")])[0].public
    assert [(w.key, w.is_delete, w.value) for w in writes.writes] == [("a", True, b""), ("b", True, b"")]


async def test_the_last_of_two_writes_counts(filled: Channel) -> None:
    writes = simulate(filled, lambda s: [s.put_state(CHAINCODE, "a", b"1"), s.put_state(CHAINCODE, "a", b"2")])[
        0
    ].public
    assert [(w.key, w.value) for w in writes.writes] == [("a", b"2")]


@pytest.mark.parametrize(
    ("start", "end", "reads", "expected"),
    [
        ("k010", "k013", 10, ("k010", "k013", True, 3)),
        ("k010", "k013", 2, ("k010", "k011", False, 2)),
        ("k010", "k013", 3, ("k010", "k012", False, 3)),
        ("x", "y", 1, ("x", "y", True, 0)),
        ("y", "x", 1, ("y", "x", True, 0)),
        ("k000", "k050", 100, ("k000", "k050", True, 50)),
        ("k118", "", 100, ("k118", "", True, 2)),
    ],
)
async def test_ranges_are_recorded_as_far_as_they_were_read(
    filled: Channel, start: str, end: str, reads: int, expected: tuple[str, str, bool, int]
) -> None:
    def work(s: TxSimulator) -> None:
        rows = s.range(CHAINCODE, start, end)
        for _ in range(reads):
            rows.next()

    (info,) = simulate(filled, work)[0].public.range_queries_info
    assert (info.start_key, info.end_key, info.itr_exhausted, len(info.raw_reads.kv_reads)) == expected
    assert not info.HasField("reads_merkle_hashes")


async def test_a_long_range_is_summarised(filled: Channel) -> None:
    def work(s: TxSimulator) -> None:
        rows = s.range(CHAINCODE, "", "k051")
        while rows.next():
            pass

    (info,) = simulate(filled, work)[0].public.range_queries_info
    assert not info.HasField("raw_reads")
    assert info.reads_merkle_hashes.max_level == 1
    assert len(info.reads_merkle_hashes.max_level_hashes) == 1


async def test_the_same_range_is_recorded_once(filled: Channel) -> None:
    def work(s: TxSimulator) -> None:
        for end in ("k001", "k001", "k002"):
            rows = s.range(CHAINCODE, "k000", end)
            while rows.next():
                pass

    assert [i.end_key for i in simulate(filled, work)[0].public.range_queries_info] == ["k001", "k002"]


async def test_a_bookmark_reads_nothing(filled: Channel) -> None:
    def work(s: TxSimulator) -> None:
        rows = s.range(CHAINCODE, "k000", "k004", page_size=10)
        assert [rows.next(), rows.next()] == [("k000", b"x"), ("k001", b"x")]
        assert rows.bookmark() == "k002"
        rows.close()
        last = s.range(CHAINCODE, "k118", "", page_size=10)
        assert [last.next(), last.next(), last.bookmark()] == [("k118", b"x"), ("k119", b"x"), ""]

    first, _ = simulate(filled, work)[0].public.range_queries_info
    assert (first.end_key, first.itr_exhausted) == ("k001", False)


async def test_a_page_reads_no_more_of_the_file_than_it_holds_and_its_bookmark(
    filled: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    reading = LedgerStore.state_range

    def read(store: LedgerStore, namespace: str, start: bytes, end: bytes | None, limit: int) -> object:
        limits.append(limit)
        return reading(store, namespace, start, end, limit)

    monkeypatch.setattr(LedgerStore, "state_range", read)
    simulator = filled.simulator("tx", "Org1MSP")
    rows = simulator.range(CHAINCODE, "", "", page_size=10)
    assert [rows.next() for _ in range(10)][-1] == ("k009", b"x")
    assert rows.bookmark() == "k010"
    assert limits == [11]
    assert [rows.next() for _ in range(30)][-1] == ("k039", b"x")  # who reads on gets the rest
    simulator.done()


async def test_pages_and_writes_exclude_each_other(filled: Channel) -> None:
    simulator = filled.simulator("txid", "Org1MSP")
    simulator.put_state(CHAINCODE, "a", b"1")
    with pytest.raises(SimulationError) as caught:
        simulator.range(CHAINCODE, "", "", page_size=10)
    assert str(caught.value) == (
        "txid [txid]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    )
    simulator.done()
    other = filled.simulator("txid", "Org1MSP")
    other.range(CHAINCODE, "", "", page_size=10)
    writes: list[Callable[[], None]] = [
        lambda: other.put_state(CHAINCODE, "a", b"1"),
        lambda: other.delete_state(CHAINCODE, "a"),
        lambda: other.set_state_metadata(CHAINCODE, "a", {}),
        lambda: other.put_private(CHAINCODE, "c", "a", b"1"),
        lambda: other.purge_private(CHAINCODE, "c", "a"),
    ]
    for write in writes:
        with pytest.raises(SimulationError, match="already performed a paginated query"):
            write()
    other.done()


async def test_a_finished_simulation_is_over(filled: Channel) -> None:
    simulator = filled.simulator("tx", "Org1MSP")
    simulator.results()
    simulator.done()
    for call in (simulator.results, lambda: simulator.get_state(CHAINCODE, "a")):
        with pytest.raises(SimulationError, match="after calling Done"):
            call()


async def test_only_hashes_of_private_data_are_public(filled: Channel) -> None:
    simulator = filled.simulator("tx", "Org1MSP")
    simulator.get_private_hash(CHAINCODE, "coll", "read")
    simulator.put_private(CHAINCODE, "coll", "b", b"clear value")
    simulator.purge_private(CHAINCODE, "coll", "a")
    results = simulator.results()
    assert b"clear value" not in results.public
    (entry,) = rwset.parse(results.public)
    (part,) = entry.collections
    assert results.private is not None
    clear = results.private.ns_pvt_rwset[0].collection_pvt_rwset[0].rwset
    assert part.private_hash == hashlib.sha256(clear).digest()
    assert [(w.key, w.value, w.is_delete) for w in kv_rwset_pb2.KVRWSet.FromString(clear).writes] == [
        ("a", b"", True),
        ("b", b"clear value", False),
    ]
    first, second = part.hashed.hashed_writes
    assert (first.is_purge, first.is_delete, first.value_hash) == (True, True, b"")
    assert (second.is_purge, second.is_delete) == (False, False)
    assert second.value_hash == hashlib.sha256(b"clear value").digest()
    assert part.hashed.hashed_reads[0].key_hash == hashlib.sha256(b"read").digest()


async def test_reading_alone_leaves_no_private_part(filled: Channel) -> None:
    simulator = filled.simulator("tx", "Org1MSP")
    simulator.get_private_hash(CHAINCODE, "coll", "a")
    results = simulator.results()
    assert results.private is None
    assert rwset.parse(results.public)[0].collections[0].private_hash == b""


async def test_key_policies_of_what_is_written_are_reported(consortium: Consortium, channel: Channel) -> None:
    policy = parse_signature_policy("OR('Org3MSP.peer')").SerializeToString()

    def guard(s: TxSimulator) -> None:
        s.put_state(CHAINCODE, "guarded", b"1")
        s.set_state_metadata(CHAINCODE, "guarded", {"VALIDATION_PARAMETER": policy})

    await consortium.submit(channel, guard)
    simulator = channel.simulator("tx", "Org1MSP")
    assert simulator.get_state_metadata(CHAINCODE, "guarded") == {"VALIDATION_PARAMETER": policy}
    assert simulator.get_state_metadata(CHAINCODE, "missing") == {}
    put("guarded", "2")(simulator)
    simulator.put_private(CHAINCODE, "coll", "p", b"1")
    results = simulator.results()
    assert results.policies == {(CHAINCODE, ""): frozenset({policy})}
    assert results.plain == {(CHAINCODE, "coll")}


# -- summaries of ranges


def reference(reads: list[kv_rwset_pb2.KVRead]) -> tuple[int, list[bytes]]:
    """The tree of hashes, computed the plain way: level by level, 51 below make one above."""
    chunks = [reads[i : i + 51] for i in range(0, len(reads), 51)]
    hashes = [hashlib.sha256(kv_rwset_pb2.QueryReads(kv_reads=c).SerializeToString()).digest() for c in chunks]
    level = 1
    while len(hashes) > 50:
        groups = [hashes[i : i + 51] for i in range(0, len(hashes), 51)]
        hashes = [g[0] if len(g) == 1 else hashlib.sha256(b"".join(g)).digest() for g in groups]
        level += 1
    return level, hashes


@settings(deadline=None)
@given(st.one_of(st.integers(0, 200), st.sampled_from([2550, 2551, 2601, 2602, 2603, 5202, 6000])))
def test_summaries_are_trees_of_hashes(count: int) -> None:
    reads = [rwset.kv_read(f"k{n:06d}", Version(n, 0)) for n in range(count)]
    info = rwset.summarize(reads)
    if count <= 50:
        assert list(info.raw_reads.kv_reads) == reads
        return
    level, hashes = reference(reads)
    assert info.reads_merkle_hashes.max_level == level
    assert list(info.reads_merkle_hashes.max_level_hashes) == hashes
