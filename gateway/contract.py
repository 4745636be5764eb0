"""A chaincode on a channel, as a client sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.proposal import Argument, build_proposal, encode
from goldengrain.gateway.session import Session
from goldengrain.gateway.submission import Report, Submission
from goldengrain.gateway.transaction import Commit, Proposal


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """A committed transaction: what the function returned, its id, its block, its validation code's name."""

    payload: bytes
    transaction_id: str
    block: int
    code: str


class Contract:
    """Calls functions of one chaincode. Made by ``Network.contract``."""

    def __init__(self, session: Session, channel: str, chaincode: str, name: str = "") -> None:
        self._session = session
        self.channel = channel
        self.chaincode = chaincode
        self.name = name

    def propose(
        self,
        function: Argument,
        *arguments: Argument,
        transient: Mapping[str, bytes] | None = None,
        endorsing_organizations: Sequence[str] = (),
        is_init: bool = False,
    ) -> Proposal:
        """Return a proposal, not yet sent.

        ``transient`` reaches the endorsers and is kept out of the ledger. ``endorsing_organizations`` are MSP ids:
        peers of exactly these are asked; without them the gateway peer chooses so that the endorsement policy holds.
        """
        first = f"{self.name}:{encode(function).decode()}" if self.name else function
        proposal = build_proposal(
            channel=self.channel,
            chaincode=self.chaincode,
            arguments=(first, *arguments),
            creator=self._session.creator,
            now_ns=self._session.clock.now_ns(),
            transient=transient,
            is_init=is_init,
        )
        return Proposal(self._session, proposal, endorsing_organizations)

    async def evaluate(
        self,
        function: Argument,
        *arguments: Argument,
        transient: Mapping[str, bytes] | None = None,
        target_organizations: Sequence[str] = (),
        deadline: float | None = None,
    ) -> bytes:
        """Run a function on one peer and return its payload; nothing is written. Raises EvaluateError."""
        proposal = self.propose(function, *arguments, transient=transient, endorsing_organizations=target_organizations)
        return await proposal.evaluate(deadline)

    async def submit_async(
        self,
        function: Argument,
        *arguments: Argument,
        transient: Mapping[str, bytes] | None = None,
        endorsing_organizations: Sequence[str] = (),
    ) -> Commit:
        """Endorse and submit, and return as soon as the orderer has the transaction.

        ``.payload`` of what is returned is the function's result, ``await .status()`` the outcome. Raises EndorseError,
        SubmitError.
        """
        proposal = self.propose(
            function, *arguments, transient=transient, endorsing_organizations=endorsing_organizations
        )
        transaction = await proposal.endorse()
        return await transaction.submit()

    async def submit(
        self,
        function: Argument,
        *arguments: Argument,
        transient: Mapping[str, bytes] | None = None,
        endorsing_organizations: Sequence[str] = (),
        attempts: int = 1,
        deadlines: Deadlines | None = None,
        progress: Report | None = None,
    ) -> SubmitResult:
        """Endorse, submit, and wait until the transaction is committed as valid.

        With ``attempts`` above 1 a lost race for the same keys is proposed anew, with a new id, and a transaction
        whose outcome is not known is sent again under the same id (see ``submission``); nothing else is ever
        repeated. ``deadlines`` are this call's, ``progress`` is told each stage.

        Raises EndorseError, SubmitError, CommitStatusError, CommitError; their ``may_commit`` says whether the
        transaction can still become valid.
        """

        def proposed() -> Proposal:
            return self.propose(
                function, *arguments, transient=transient, endorsing_organizations=endorsing_organizations
            )

        submission = Submission(proposed, deadlines or self._session.deadlines, attempts, progress)
        transaction, status = await submission.run()
        return SubmitResult(transaction.result, status.transaction_id, status.block, status.code_name)
