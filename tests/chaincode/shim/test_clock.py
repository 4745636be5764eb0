import pytest

from goldengrain.chaincode.shim import ChaincodeStub, ClockWindow
from tests.chaincode.shim.conftest import Calling, Network
from tests.chaincode.shim.peer import new_tx_id, signed_proposal

NOW = 1_790_000_000


@pytest.mark.parametrize(
    ("seconds", "nanos", "status", "text"),
    [
        (NOW, 0, 200, ""),
        (NOW - 60, 0, 200, ""),
        (NOW + 60, 0, 200, ""),
        (NOW + 60, 1, 400, "TIMESTAMP_REFUSED: the transaction's time is 60.0 s ahead of this peer's clock, over 60 s"),
        (NOW - 61, 999_999_998, 400, "TIMESTAMP_REFUSED: the transaction's time is 60.0 s behind this peer's clock"),
        (0, 0, 400, "TIMESTAMP_REFUSED: "),
    ],
)
async def test_a_transaction_outside_the_window_is_refused_before_anything_runs(
    network: Network, seconds: int, nanos: int, status: int, text: str
) -> None:
    ran: list[tuple[int, int]] = []

    async def body(stub: ChaincodeStub) -> None:
        ran.append(stub.timestamp)

    peer = await network.peer(await network.serve(Calling(body), guard=ClockWindow(60, lambda: NOW * 1_000_000_000)))
    tx_id = new_tx_id()
    outcome = await peer.call("f", tx_id=tx_id, proposal=signed_proposal(tx_id, seconds=seconds, nanos=nanos))
    assert (outcome.response.status, outcome.response.message[: len(text)]) == (status, text)
    assert ran == ([(seconds, nanos)] if status == 200 else [])


async def test_a_transaction_without_a_time_is_refused(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        raise AssertionError("the guard lets it through")

    peer = await network.peer(await network.serve(Calling(body), guard=ClockWindow(60)))
    tx_id = new_tx_id()
    proposal = signed_proposal(tx_id)
    proposal.proposal_bytes = b""
    assert (await peer.call("f", tx_id=tx_id, proposal=proposal)).response.message.startswith("INVALID_ARGUMENT: ")


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_window_that_lets_nothing_through_is_a_mistake(seconds: float) -> None:
    with pytest.raises(ValueError, match="window"):
        ClockWindow(seconds)
