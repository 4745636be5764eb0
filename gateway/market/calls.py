"""Sending commands and queries of the contract, and reading what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import Any, TypeVar

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.accounts import Identity as AccountIdentity
from goldengrain.chaincode.protocol.errors import (
    ChallengeNotFound,
    MalformedInput,
    OfferNotFound,
    ProposalNotFound,
    TaskNotFound,
)
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.requests import Command, Query
from goldengrain.gateway.backoff import Backoff
from goldengrain.gateway.contract import Contract, SubmitResult
from goldengrain.gateway.errors import CommitError, EndorseError, EvaluateError, MarketClientError, TransactionError
from goldengrain.gateway.identity import Identity
from goldengrain.gateway.market.horizon import Horizon
from goldengrain.gateway.market.refusals import named_refusals, refusal_of
from goldengrain.gateway.market.views import PolicyView, read
from goldengrain.gateway.network import Network
from goldengrain.gateway.transaction import Transaction

MAX_ANSWER = 64 * 1024 * 1024  # bytes; a page of 100 collaterals stays below
READ_CONFLICT_ATTEMPTS = 5
PATIENCE_S = 2.0
"""Seconds for which a call is repeated that a peer may refuse only because it is a block behind."""
AWAITED = (TaskNotFound, OfferNotFound, ProposalNotFound, ChallengeNotFound)
"""Refusals for want of something that others make and whose id nobody guesses: it may be on its way to this peer."""
DIFFERENT_ANSWERS = "ProposalResponsePayloads do not match"
"""What a gateway says whose endorsers have different blocks."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Committed:
    """A committed command: its name, transaction id, block, validation code's name, and the contract's answer."""

    command: str
    transaction_id: str
    block: int
    code: str
    answer: dict[str, Any]


class Caller:
    """Calls the contract as one identity. The parts of ``Market`` share one."""

    def __init__(self, network: Network, identity: Identity, contract: str, patience_s: float = PATIENCE_S) -> None:
        self.network = network
        self.horizon = Horizon(network)
        self.patience_s = patience_s
        self.identity = identity
        self.contract_name = contract
        self.contract: Contract = network.contract(contract)

    @cached_property
    def account(self) -> bytes:
        """The caller's account, 32 bytes."""
        return AccountIdentity.from_pem(self.identity.msp_id, self.identity.certificate).account

    async def send(
        self,
        command: Command,
        endorsing_organizations: Sequence[str] = (),
        attempts: int = READ_CONFLICT_ATTEMPTS,
    ) -> Committed:
        """Send a command and wait until it is committed.

        A command that lost a race for keys is sent anew, ``attempts`` times in all: then the contract sees the state
        that the winner left, and refuses or not by its rules. Raises the contract's refusal (ContractError), or the
        gateway's errors by stage.
        """

        async def submitted() -> SubmitResult:
            return await self.contract.submit(
                *command.to_args(), endorsing_organizations=endorsing_organizations, attempts=attempts
            )

        result = await self._patiently(submitted, partial(self._endorser_is_behind, command, endorsing_organizations))
        self.horizon.told(result.block)
        answer = _parsed(result.payload, command.function()) if result.payload else {}
        return Committed(command.function(), result.transaction_id, result.block, result.code, answer)

    async def ask(self, query: Query, *, patient: bool = True) -> dict[str, Any]:
        """Evaluate a query and return its answer. Raises the contract's refusal, or EvaluateError.

        ``patient``: whether to wait a little for what is not there.
        """

        async def answered() -> bytes:
            payload = await self.contract.evaluate(*query.to_args())
            while not self.horizon.reached:  # another peer has taken over
                await self.horizon.reach()
                payload = await self.contract.evaluate(*query.to_args())
            return payload

        async def is_awaited(error: TransactionError) -> bool:
            return patient and isinstance(refusal_of(error), AWAITED)

        return _parsed(await self._patiently(answered, is_awaited), query.function())

    async def pages(self, page: Callable[[str], Query]) -> AsyncIterator[dict[str, Any]]:
        """Yield the items of all pages; ``page`` makes the query for a bookmark."""
        bookmark = ""
        while True:
            answer = await self.ask(page(bookmark))
            for item in answer["items"]:
                yield item
            bookmark = answer["bookmark"]
            if not bookmark:
                return

    async def policy(self) -> Policy:
        """Return the policy in force."""
        from goldengrain.chaincode.protocol.queries import GetPolicy

        return read(PolicyView, await self.ask(GetPolicy())).policy

    async def endorse(self, query: Query, organizations: Sequence[str]) -> Transaction:
        """Have peers of exactly these organisations endorse a call, without submitting it."""

        async def endorsed() -> Transaction:
            return await self.contract.propose(*query.to_args(), endorsing_organizations=organizations).endorse()

        return await self._patiently(endorsed, partial(self._endorser_is_behind, query, organizations))

    async def _patiently(
        self, attempt: Callable[[], Awaitable[T]], is_behind: Callable[[TransactionError], Awaitable[bool]]
    ) -> T:
        """Attempt something, and again for some seconds while ``is_behind`` says that a peer is the reason."""
        loop, backoff = asyncio.get_running_loop(), Backoff(0.05, 0.5)
        end = loop.time() + self.patience_s
        with named_refusals():
            while True:
                await self.horizon.reach()
                try:
                    return await attempt()
                except TransactionError as error:
                    pause = backoff.pause()
                    if loop.time() + pause > end or not await is_behind(error):
                        raise
                await asyncio.sleep(pause)

    async def _endorser_is_behind(
        self, call: Command | Query, organizations: Sequence[str], error: TransactionError
    ) -> bool:
        """Whether an endorser refuses only since it hasn't got a block yet that the gateway's own peer has.

        The latter is asked what it makes of the call; nothing was sent to the orderer.
        """
        refusal = refusal_of(error)
        if not isinstance(error, EndorseError) or refusal is None:
            return isinstance(error, EndorseError) and DIFFERENT_ANSWERS in str(error)
        if isinstance(refusal, AWAITED):
            return True
        if all(one.msp_id == self.identity.msp_id for one in error.details):
            return False
        try:
            await self.contract.evaluate(*call.to_args(), target_organizations=organizations)
        except EvaluateError:
            return False
        return True


async def with_some_of(organizations: Sequence[str], count: int, attempt: Callable[[Sequence[str]], Awaitable[T]]) -> T:
    """Try an attempt with ``count`` of the organisations, then with other ones while peers are out of reach.

    What the contract refuses is final. Raises the last EndorseError, and MarketClientError with too few organisations.
    """
    choices = list(combinations(organizations, count))
    if not choices or count < 1:
        raise MarketClientError(f"{count} organisations have to endorse this, only {len(organizations)} may")
    for last, chosen in enumerate(choices, start=1 - len(choices)):
        try:
            return await attempt(chosen)
        except EndorseError as error:
            if last == 0 or refusal_of(error):
                raise
    raise AssertionError("unreachable")


def is_lost_race(error: Exception) -> bool:
    """Tell whether an error is a read conflict: another transaction was there first."""
    return isinstance(error, CommitError) and error.is_read_conflict


def _parsed(payload: bytes, function: str) -> dict[str, Any]:
    try:
        answer = canonical.loads(payload, MAX_ANSWER)
    except MalformedInput as error:
        raise MarketClientError(f"{function} answered with something that is no document: {error}") from error
    if not isinstance(answer, dict):
        raise MarketClientError(f"{function} answered with a {type(answer).__name__} instead of an object")
    return answer
