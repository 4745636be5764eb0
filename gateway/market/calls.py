"""Sending commands and queries of the contract, and reading what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, TypeVar

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.accounts import Identity as AccountIdentity
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.requests import Command, Query
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import CommitError, EndorseError, MarketClientError
from goldengrain.gateway.identity import Identity
from goldengrain.gateway.market.refusals import named_refusals, refusal_of
from goldengrain.gateway.market.views import PolicyView, read
from goldengrain.gateway.network import Network
from goldengrain.gateway.transaction import Transaction

MAX_ANSWER = 64 * 1024 * 1024  # bytes; a page of 100 collaterals stays below
READ_CONFLICT_ATTEMPTS = 5

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

    def __init__(self, network: Network, identity: Identity, contract: str) -> None:
        self.network = network
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
        with named_refusals():
            result = await self.contract.submit(
                *command.to_args(), endorsing_organizations=endorsing_organizations, attempts=attempts
            )
        answer = _parsed(result.payload, command.function()) if result.payload else {}
        return Committed(command.function(), result.transaction_id, result.block, result.code, answer)

    async def ask(self, query: Query) -> dict[str, Any]:
        """Evaluate a query and return its answer. Raises the contract's refusal, or EvaluateError."""
        with named_refusals():
            payload = await self.contract.evaluate(*query.to_args())
        return _parsed(payload, query.function())

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
        with named_refusals():
            proposal = self.contract.propose(*query.to_args(), endorsing_organizations=organizations)
            return await proposal.endorse()


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
