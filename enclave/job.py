"""A whole job: ticket, openings, benchmark, outcome, signature (protocol section 5, "Report").

=============  ====================================================================================================
pass           the floored score is at least the ticket's threshold; it carries `locked`, made here
declined       it is not; the score leaves nowhere: not in the report, not in a log, not in an error
failed         the developer's fault, the same everywhere (`ModelRefused`)
unusable       the provider's fault (`DatasetRefused`)
nothing signed a refused ticket, bytes that are not the ledger's, no time, no memory (`TicketRefused`, `HostFault`)
=============  ====================================================================================================

What comes out for `failed` and `unusable` names the refusal's code, never what it saw.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from goldengrain.chaincode.protocol import sealing
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.errors import KeyMalformed
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.report import Outcome, Report, Result
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave.errors import DatasetEnvelopeWrong, DatasetRefused, ModelRefused, OutOfMemory
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.openings import JobFiles, OpenedJob, open_job
from goldengrain.enclave.runner import SECONDS, Runner
from goldengrain.enclave.ticket import TicketVerifier


@dataclass(frozen=True)
class SignedReport:
    """What an enclave says of a job: the offer and claim it is about, the result, 65 bytes of signature.

    `reason` is the code of the refusal behind `failed` and `unusable`, else empty; it isn't signed.
    """

    offer: bytes
    claim: int
    result: Result
    signature: bytes
    reason: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return it as JSON has it, bytes as hex; but for `reason` the fields of `SubmitReport`."""
        model = self.result.model
        return {
            "offer": self.offer.hex(),
            "claim": self.claim,
            "outcome": self.result.outcome.value,
            "score": self.result.score,
            "locked": self.result.locked.hex(),
            "model": None if model is None else model.hex(),
            "signature": self.signature.hex(),
            "reason": self.reason,
        }


@dataclass
class Bench:
    """An enclave at work: its keys, whom it believes, and the processes that run models."""

    keys: EnclaveKeys
    bundle: TrustBundle
    runner: Runner
    seconds: int = SECONDS
    tickets: TicketVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.tickets = TicketVerifier(self.keys.enclave, self.bundle, self.keys.expires)

    async def run(self, transaction: bytes, files: JobFiles) -> SignedReport:
        """Carry out a job for a job ticket (a prepared transaction).

        Returns a signed report; raises `TicketRefused` or `HostFault` where nothing is signed.
        """
        return await asyncio.to_thread(self._sign, self.tickets.verify(transaction), files)

    def _sign(self, payload: JobTicketPayload, files: JobFiles) -> SignedReport:
        try:
            opened = open_job(self.keys.encryption, payload, files)
            result, reason = self._benchmark(payload, opened), ""
        except MemoryError as error:
            raise OutOfMemory("the enclave ran out of memory") from error
        except ModelRefused as error:
            result, reason = Result(Outcome.FAILED), error.code
        except DatasetRefused as error:
            result, reason = Result(Outcome.UNUSABLE), error.code
        report = Report.of(payload.task, payload.order, payload.ticket, result)
        signature = report.sign(self.keys.signing)
        return SignedReport(payload.ticket.offer, payload.ticket.claim, result, signature, reason)

    def _benchmark(self, payload: JobTicketPayload, opened: OpenedJob) -> Result:
        """Run the model and compare its score with the threshold; only a pass tells it."""
        task, test_set = payload.task, opened.test_set
        self.runner.feed(opened.model, task.spec.interface, task.spec.limits, test_set, self.seconds)
        score = test_set.tally.score(task.eta)
        if score < payload.ticket.threshold:
            return Result(Outcome.DECLINED)
        return Result(Outcome.PASS, score, self._locked(payload, opened), opened.model.digest)

    def _locked(self, payload: JobTicketPayload, opened: OpenedJob) -> bytes:
        """Seal K to the provider and lock it by r; a provider's key that nothing can be sealed to is its own fault."""
        order = payload.ticket.order
        try:
            return sealing.lock_key(
                payload.task.provider_key, opened.model.key, opened.secret, order, self.keys.enclave
            )
        except KeyMalformed as error:
            raise DatasetEnvelopeWrong("the provider's key is none: nothing can be sealed to it") from error
