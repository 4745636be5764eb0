"""What is tried again, and what never is; progress; deadlines of one call."""

from __future__ import annotations

import grpc
import pytest

from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import CommitError, CommitUnknown, EndorseError, SubmitError, SubmitUnknown
from goldengrain.gateway.submission import Progress, Stage
from goldengrain.gateway.transaction import Proposal
from tests.gateway.server_double import Fault, ServerDouble

GONE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def told() -> list[Progress]:
    return []


def stages(told: list[Progress]) -> list[Stage]:
    return [one.stage for one in told]


async def test_progress_of_a_submit(contract: Contract, told: list[Progress]) -> None:
    result = await contract.submit("put", "k", "v", progress=told.append)
    assert stages(told) == ["proposed", "endorsed", "submitted", "committed"]
    assert {one.transaction_id for one in told} == {result.transaction_id}


@pytest.mark.parametrize("after_work", [False, True])
async def test_no_answer_to_a_submit_is_the_same_transaction_again(
    contract: Contract, server: ServerDouble, told: list[Progress], after_work: bool
) -> None:
    server.faults["Submit"] = [Fault(GONE, "gone", after_work=after_work)]
    result = await contract.submit("append", "k", "v", attempts=2, progress=told.append)
    assert server.ledger.state["k"][0] == b"v"
    assert stages(told) == ["proposed", "endorsed", "sent again", "submitted", "committed"]
    assert {one.transaction_id for one in told} == {result.transaction_id}


async def test_a_commit_timeout_is_the_same_transaction_again(
    contract: Contract, server: ServerDouble, told: list[Progress]
) -> None:
    """The first got lost at the orderer."""
    server.hold = True

    def lose(step: Progress) -> None:
        told.append(step)
        if step.stage is Stage.SENT_AGAIN:
            server.held.clear()
            server.hold = False

    soon = Deadlines(commit=0.3)
    result = await contract.submit("append", "k", "v", attempts=2, deadlines=soon, progress=lose)
    assert result.code == "VALID"
    assert {one.transaction_id for one in told} == {result.transaction_id}
    assert server.ledger.state["k"][0] == b"v"


async def test_attempts_end_and_the_outcome_stays_unknown(
    contract: Contract, server: ServerDouble, told: list[Progress]
) -> None:
    server.faults["Submit"] = [Fault(GONE, "gone")] * 3
    with pytest.raises(SubmitUnknown) as caught:
        await contract.submit("append", "k", "v", attempts=3, progress=told.append)
    assert server.calls.count("Submit") == 3
    assert server.calls.count("Endorse") == 1
    assert caught.value.transaction_id == told[0].transaction_id
    assert caught.value.may_commit


async def test_nothing_is_sent_twice_unless_asked(contract: Contract, server: ServerDouble) -> None:
    server.faults["Submit"] = [Fault(GONE, "gone")]
    with pytest.raises(SubmitUnknown):
        await contract.submit("append", "k", "v")
    assert server.calls.count("Submit") == 1


@pytest.mark.parametrize(("rpc", "kind"), [("Endorse", EndorseError), ("Submit", SubmitError)])
async def test_what_is_refused_is_not_tried_again(
    contract: Contract, server: ServerDouble, rpc: str, kind: type[EndorseError]
) -> None:
    server.faults[rpc] = [Fault(grpc.StatusCode.ABORTED, "no")]
    with pytest.raises(kind):
        await contract.submit("append", "k", "v", attempts=5)
    assert server.calls.count(rpc) == 1


async def test_a_lost_race_is_a_new_transaction_and_says_so(
    contract: Contract, told: list[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    endorse = Proposal.endorse

    async def raced(self: Proposal, deadline: float | None = None) -> object:
        transaction = await endorse(self, deadline)
        monkeypatch.setattr(Proposal, "endorse", endorse)
        await contract.submit("put", "k", "b")
        return transaction

    monkeypatch.setattr(Proposal, "endorse", raced)
    result = await contract.submit("append", "k", "a", attempts=2, progress=told.append)
    assert result.payload == b"ba"
    first, second = dict.fromkeys(one.transaction_id for one in told)
    assert stages(told)[3:5] == ["committed", "lost race"]
    assert second == result.transaction_id != first


async def test_a_race_lost_every_time_is_a_commit_error(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    endorse = Proposal.endorse

    async def raced(self: Proposal, deadline: float | None = None) -> object:
        transaction = await endorse(self, deadline)
        if b"append" in self._proposal.raw:
            await contract.submit("put", "k", "b")
        return transaction

    monkeypatch.setattr(Proposal, "endorse", raced)
    with pytest.raises(CommitError) as caught:
        await contract.submit("append", "k", "a", attempts=3)
    assert caught.value.is_read_conflict
    assert not caught.value.may_commit


async def test_a_call_has_deadlines_of_its_own(contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    with pytest.raises(CommitUnknown):
        await contract.submit("put", "k", "v", deadlines=Deadlines(commit=0.1))
