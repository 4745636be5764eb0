"""One submit from proposal to commit, its progress, and what may safely be tried again.

What is tried again, with ``attempts`` above 1:

- a transaction that lost a race for the same keys (MVCC_READ_CONFLICT, PHANTOM_READ_CONFLICT) is proposed anew, with a
  new id: it can't commit any more;
- one whose outcome is not known (no answer to the submit, no block within the deadline) is sent again **as it is**,
  under the same id, and asked for by that id. However often it is sent, it commits at most once (DUPLICATE_TXID).

Never is there a second transaction while the first one may still commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from goldengrain.gateway.backoff import Backoff
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import CommitError, CommitUnknown, SubmitUnknown
from goldengrain.gateway.status import Status
from goldengrain.gateway.transaction import Proposal, Transaction


class Stage(StrEnum):
    """How far a transaction has come."""

    PROPOSED = "proposed"
    ENDORSED = "endorsed"
    SUBMITTED = "submitted"
    COMMITTED = "committed"
    SENT_AGAIN = "sent again"
    """Its outcome is not known; the same transaction is sent once more."""
    LOST_RACE = "lost race"
    """It is in a block and invalid for a read conflict; a new transaction follows."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is told of a submit: the stage that was reached, by which transaction."""

    stage: Stage
    transaction_id: str


Report = Callable[[Progress], None]


@dataclass
class Submission:
    """Runs one submit; ``propose`` makes a proposal with a new id each time it is called."""

    propose: Callable[[], Proposal]
    deadlines: Deadlines
    attempts: int = 1
    report: Report | None = None
    _backoff: Backoff = field(default_factory=lambda: Backoff(0.05, 2.0), init=False)

    async def run(self) -> tuple[Transaction, Status]:
        """Return the transaction once it is committed as valid. Raises the error of the stage at which it failed."""
        while True:
            transaction = await self._endorsed()
            status = await self._settled(transaction)
            try:
                return transaction, status.check()
            except CommitError as error:
                if not (error.is_read_conflict and self._again(Stage.LOST_RACE, transaction)):
                    raise

    async def _endorsed(self) -> Transaction:
        proposal = self.propose()
        self._tell(Stage.PROPOSED, proposal.transaction_id)
        transaction = await proposal.endorse(self.deadlines.endorse)
        self._tell(Stage.ENDORSED, transaction.transaction_id)
        return transaction

    async def _settled(self, transaction: Transaction) -> Status:
        while True:
            try:
                commit = await transaction.submit(self.deadlines.submit)
                self._tell(Stage.SUBMITTED, transaction.transaction_id)
                status = await commit.status(self.deadlines.commit)
            except (SubmitUnknown, CommitUnknown):
                if not self._again(Stage.SENT_AGAIN, transaction):
                    raise
                await asyncio.sleep(self._backoff.pause())
            else:
                self._tell(Stage.COMMITTED, transaction.transaction_id)
                return status

    def _again(self, stage: Stage, transaction: Transaction) -> bool:
        self.attempts -= 1
        if self.attempts > 0:
            self._tell(stage, transaction.transaction_id)
        return self.attempts > 0

    def _tell(self, stage: Stage, transaction_id: str) -> None:
        if self.report is not None:
            self.report(Progress(stage, transaction_id))
