"""The contract on a peer: runs rules against a chaincode stub, and holds their time against the peer's clock.

Nothing of a transaction is kept between calls. Reads are one message each where the peer takes several keys in one;
writes and the event are handed over once the rule has ended and its time has been accepted, so a refusal leaves
nothing.

The clock window W is checked here and not in a rule, because only here a clock may be read: peers may differ in
refusing, never in a result. Which W applies, the rule says: the policy's, or the one that the task fixed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from goldengrain.chaincode.market.contract import begin, event_name
from goldengrain.chaincode.market.driver import (
    Steps,
    encode_event,
    encode_result,
    encode_writes,
    found_keys,
    found_page,
)
from goldengrain.chaincode.market.rules import Caller, Context, Effects, Found, Get, Scan
from goldengrain.chaincode.protocol.accounts import Identity
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import ClockRefused, ContractError
from goldengrain.chaincode.shim import ChaincodeStub, ClientIdentity, Response, error, success


class MarketChaincode:
    """The chaincode that the shim serves."""

    def __init__(self, clock: LedgerClock, contract: str = "golden-grain") -> None:
        """Take the peers' clock, and the name under which the contract is deployed."""
        self._clock = clock
        self._contract = contract

    async def init(self, stub: ChaincodeStub) -> Response:
        """Refuse: the contract is defined without initialisation, its beginning is `Bootstrap`."""
        return error("MALFORMED_INPUT: deploy the contract without --init-required; it begins with `Bootstrap`", 400)

    async def invoke(self, stub: ChaincodeStub) -> Response:
        """Run one command or query; a refusal becomes status and `CODE: text`."""
        try:
            steps = await self._run(stub)
        except ContractError as refusal:
            return error(refusal.response_message, refusal.status)
        await _hand_over(stub, steps)
        return success(encode_result(steps.done))

    async def _run(self, stub: ChaincodeStub) -> Steps:
        steps = begin(stub.args, self._context(stub))
        while steps.request is not None:
            steps.send(await _read(stub, steps.request))
        self._require_time(steps.done)
        return steps

    def _context(self, stub: ChaincodeStub) -> Context:
        return Context(
            tx_id=stub.tx_id,
            channel=stub.channel_id,
            contract=self._contract,
            timestamp=stub.timestamp.seconds,
            caller=caller_of(stub.creator),
        )

    def _require_time(self, effects: Effects) -> None:
        if effects.window is None:
            return
        stated, here = effects.tx.timestamp, self._clock.now()
        if abs(stated - here) > effects.window:
            raise ClockRefused(
                f"the transaction says {stated}, this peer's clock {here}: more than W = {effects.window} s apart; "
                "set the client's clock"
            )


@lru_cache(maxsize=1024)
def caller_of(creator: bytes) -> Caller:
    """Return the caller that a transaction's creator stands for; the peer has verified its certificate."""
    sender = ClientIdentity.from_bytes(creator)
    identity = Identity.from_pem(sender.msp_id, sender.certificate_pem)
    return Caller(identity.account, sender.msp_id, identity.role, identity.duties)


async def _read(stub: ChaincodeStub, request: Get | Scan[Any]) -> Found:
    if isinstance(request, Scan):
        page = await stub.range_page(request.start, request.end, request.size, request.bookmark)
        return found_page(request, [(row.key, row.value) for row in page.items], page.bookmark)
    if not request.keys:
        return Found({})
    return found_keys(request, await stub.get_states([key.name for key in request.keys]))


async def _hand_over(stub: ChaincodeStub, steps: Steps) -> None:
    writes = encode_writes(steps.done)
    for name, value in writes:
        if value is None:
            await stub.del_state(name)
        else:
            await stub.put_state(name, value)
    event = event_name(stub.args)
    if event is not None:
        stub.set_event(event, encode_event(steps, writes))
