"""Refusals of an enclave's report."""

from __future__ import annotations

from goldengrain.chaincode.protocol.errors.base import ContractError


class ReportRefused(ContractError):
    """A report that doesn't stand."""

    code = "REPORT_REFUSED"
    status = 422


class ReportMalformed(ReportRefused):
    """Score, locked bytes and model digest must fit the outcome."""

    code = "REPORT_MALFORMED"


class SignatureMalformed(ReportRefused):
    """Not 65 bytes r, s, v with low s and v of 27 or 28."""

    code = "SIGNATURE_MALFORMED"


class ReportSignatureInvalid(ReportRefused):
    """Not signed by the claim's enclave over what the ledger knows."""

    code = "REPORT_SIGNATURE_INVALID"


class ReportTicketMismatch(ReportRefused):
    """The report rests on a ticket of another state of the ledger; get a new one."""

    code = "REPORT_TICKET_MISMATCH"


class ReportOutcomeRefused(ReportRefused):
    """An outcome that can't be here."""

    code = "REPORT_OUTCOME_REFUSED"


class ReportScoreRefused(ReportRefused):
    """The score is no multiple of eta within 0 and 1,000,000."""

    code = "REPORT_SCORE_REFUSED"


class ReportBelowThreshold(ReportRefused):
    """A pass under the ticket's threshold."""

    code = "REPORT_BELOW_THRESHOLD"


class ReportLockedRefused(ReportRefused):
    """`locked` has another size than a sealed key."""

    code = "REPORT_LOCKED_REFUSED"
