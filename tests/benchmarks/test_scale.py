"""The large states of `make bench-scale`: copies that the rules would have made, and calls that stay flat."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cache

import pytest

from benchmarks.__main__ import main
from benchmarks.scale import key_failures, report
from benchmarks.scale.copies import Copies
from benchmarks.scale.measure import Measured, Sample, measure
from benchmarks.scale.recipe import Recipe, make_recipe
from benchmarks.scale.story import ScriptedWorld
from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.memory import MemoryLedger
from goldengrain.chaincode.market.records import IndexRecord, OfferRecord, ProposalRecord, TaskRecord
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.errors import SecretMismatch
from goldengrain.chaincode.protocol.tables import OfferState
from tests.chaincode.market.world import OPERATOR3, START, STRANGER

COUNT = 6


@cache
def recipe() -> Recipe:
    return make_recipe()


@pytest.fixture
def ledger() -> MemoryLedger:
    copies = Copies(recipe(), COUNT)
    rows = list(copies.rows())
    assert len(rows) == copies.size
    assert [name for name, _ in rows] == sorted({name for name, _ in rows})
    made = MemoryLedger(now=START)
    for name, value in rows:
        made._write(name.decode(), value)
    return made


def test_money_is_conserved_and_ids_are_digests_of_what_they_name(ledger: MemoryLedger) -> None:
    assert ledger.held == ledger.minted > 0
    seen: Counter[str] = Counter()
    for name, record in ledger.records():
        seen[name.partition("/")[0]] += 1
        if isinstance(record, OfferRecord):
            assert record.order.offer_id == record.id
            assert name == keys.offer(record.id).name
            if record.lock and record.lock.secret:
                assert hashlib.sha256(record.lock.secret).digest() == record.order.secret_hash
        if isinstance(record, TaskRecord):
            assert name == keys.task(record.task.id).name
    assert (seen["offer"], seen["task"]) == (20 * COUNT, 3 * COUNT)


def test_every_state_is_there_and_every_index_leads_to_what_it_names(ledger: MemoryLedger) -> None:
    records = dict(ledger.records())
    offers = [one for one in records.values() if isinstance(one, OfferRecord)]
    assert {one.state for one in offers} == set(OfferState)
    for one in offers:
        for index in (keys.offer_of(one.order.task, one.id), keys.offer_by(one.order.developer, one.id)):
            assert records[index.name] == IndexRecord(one.id)
        if one.lock is not None:
            assert keys.passed(one.order.task, one.lock.score, one.id).name in records
        assert (keys.job(one.id).name in records) == (one.state is OfferState.STORED)
    transactions = {name.rpartition("/")[2] for name, one in records.items() if isinstance(one, ProposalRecord)}
    assert len(transactions) == sum(isinstance(one, ProposalRecord) for one in records.values())


def test_half_of_the_copies_share_their_people(ledger: MemoryLedger) -> None:
    owners = Counter(one.order.developer for _, one in ledger.records() if isinstance(one, OfferRecord))
    assert sorted(owners.values(), reverse=True)[:2] == [11 * COUNT // 2, 8 * COUNT // 2]


def test_a_loaded_offer_goes_on_under_the_real_contract(ledger: MemoryLedger) -> None:
    world = ScriptedWorld(ledger)
    (job, *_) = world.ask(q.ListOpenJobs())["items"]
    offer = bytes.fromhex(job["id"])
    slots = world.ask(q.GetSlots(bytes.fromhex(job["order"]["task"])))["items"]
    free = next(one["index"] for one in slots if one["state"] == "free")
    world.fund({OPERATOR3.account: 1})
    world.claim(offer, slot=free)
    world.reported(offer, score=900_000)
    assert world.state_of(offer) is OfferState.LOCKED
    with pytest.raises(SecretMismatch):
        world.send(STRANGER, c.Reveal(offer, bytes(32)))


def test_calls_touch_equally_many_keys_in_small_and_larger_states() -> None:
    found = measure((400, 4_000), 1, lambda *_: None, page=2, warm_up=0)
    assert key_failures(found) == []
    whats = {one.what for one in found.samples[400]}
    assert len(whats) > 50
    assert set(c.COMMANDS) - whats == {"Bootstrap"}
    made = report(found)
    assert {row["call"] for row in made.rows} >= whats


def _sample(what: str, keys_: int, seconds: float, cpu: float = 1.0) -> Sample:
    return Sample((1, 0), what, keys_, keys_, seconds, cpu, 0.0, None)


def test_what_grows_is_a_failure_and_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(small: Sample, large: Sample) -> Measured:
        return Measured({10: [small], 20: [large]}, {10: 1.0, 20: 1.0}, {10: 1, 20: 1})

    assert report(found(_sample("a", 3, 1.0), _sample("a", 3, 1.19))).failures == []
    (keys_,) = report(found(_sample("a", 3, 1.0), _sample("a", 4, 1.0))).failures
    assert keys_ == "a touches keys by the number of offers: {10: 3, 20: 4}"
    noisy = found(_sample("a", 3, 1.0), _sample("a", 3, 9.0))
    assert report(noisy, busy=True).failures == []
    (cpu,) = report(found(_sample("a", 3, 1.0), _sample("a", 3, 1.0, cpu=1.3)), busy=True).failures
    assert cpu == "a: 1.30 times as long with 20 offers as with 10"
    slow = report(found(_sample("a", 3, 1.0), _sample("a", 3, 1.21)))
    assert slow.failures == ["a: 1.21 times as long with 20 offers as with 10"]

    async def run(seconds: float, **_: int) -> object:
        return slow

    monkeypatch.setattr("sys.argv", ["benchmarks", "scale"])
    monkeypatch.setattr("benchmarks.scale.run", run)
    assert main() == 1
