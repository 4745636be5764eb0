"""What the enclave refuses, each with a stable code.

The tree::

    GoldenGrainError
    └── EnclaveError                        whatever is wrong on the enclave's side of the market
        ├── TicketRefused                   protocol section 8, by its numbers: nothing is signed
        │   ├── TicketMalformed (1), TicketChannelMismatch (2), TicketInputMismatch (3), TicketNonceUnknown (4)
        │   ├── TicketProposalHashMismatch (5), TicketActionRefused (6), TicketReadWriteSetRefused (7)
        │   ├── TicketEndorsementsDiffer (8), TicketEndorserRefused (9), TicketTooFewOrganizations (10)
        │   ├── TicketPayloadMismatch (11), TicketTimeRefused (12), TicketDigestMismatch (13)
        │   └── HostBytesRefused (14-16)    a file that is not the ledger's
        ├── ModelRefused                    the developer's fault, the same everywhere: the outcome is `failed`
        │   ├── ModelEnvelopeWrong (14), ModelCiphertextWrong (16)
        │   ├── ModelUnparsable, ModelVersionRefused, ModelOperatorRefused, ModelExternalData
        │   ├── ModelTypeRefused, ModelShapeUnknown, ModelStructureWrong, ModelInterfaceWrong
        │   └── ModelTooLarge, ModelTooCostly, ModelNotRunnable, ModelCrashes
        ├── DatasetRefused (15)             the provider's fault: the outcome is `unusable`
        │   └── DatasetEnvelopeWrong, DatasetUndecryptable, DatasetMalformed, DatasetMismatch
        ├── ProvenanceRefused               a bought model's file doesn't hold; by the numbers of `provenance`
        │   ├── ProvenanceMalformed (1), ProvenanceUntrusted (2), ProvenanceNotEndorsed (3)
        │   ├── ProvenanceTaskMismatch (4), ProvenanceOrderMismatch (5), ProvenancePolicyMismatch (6)
        │   ├── ProvenanceEnclaveMismatch (7), ProvenanceReportMismatch (8), ProvenancePriceMismatch (9)
        │   └── ProvenanceRevealMismatch (10), ProvenanceModelMismatch (11)
        ├── HostFault                       the machine's fault: nothing is signed
        │   └── OutOfTime, OutOfMemory, WorkerLost, EngineMissing
        ├── KeysRefused                     sealed keys that can't be opened here
        ├── QuotingUnavailable              no quote can be had here
        ├── CertificateRefused              a server that doesn't prove to be the enclave; by the numbers of `ratls`
        │   └── CertificateMalformed (1, 2), CertificateKeyMismatch (3, 5); for 4 quotes have their own
        ├── BundleRefused                   a trust bundle that can't be one
        ├── RequestRefused                  bytes on the socket that are no request
        └── EnclaveUnreachable              no enclave answers behind the socket
"""

from __future__ import annotations

from typing import ClassVar

from goldengrain.chaincode.protocol.errors import GoldenGrainError


class EnclaveError(GoldenGrainError):
    """Root of everything that the enclave package raises."""

    code = "ENCLAVE"


class TicketRefused(EnclaveError):
    """A job ticket that doesn't hold: nothing is decrypted, nothing is signed."""

    code = "TICKET_REFUSED"
    check: ClassVar[int] = 0


class TicketMalformed(TicketRefused):
    """Check 1: too large, doesn't parse, or holds a field that the message doesn't have."""

    code = "TICKET_MALFORMED"
    check = 1


class TicketChannelMismatch(TicketRefused):
    """Check 2: not an endorser transaction of the bundle's channel and contract."""

    code = "TICKET_CHANNEL_MISMATCH"
    check = 2


class TicketInputMismatch(TicketRefused):
    """Check 3: the input is not `JobTicket`, offer, claim, this enclave, nonce and nothing else."""

    code = "TICKET_INPUT_MISMATCH"
    check = 3


class TicketNonceUnknown(TicketRefused):
    """Check 4: not a nonce of this enclave, or one already used."""

    code = "TICKET_NONCE_UNKNOWN"
    check = 4


class TicketProposalHashMismatch(TicketRefused):
    """Check 5: the endorsements are of another proposal."""

    code = "TICKET_PROPOSAL_HASH_MISMATCH"
    check = 5


class TicketActionRefused(TicketRefused):
    """Check 6: another contract, a status other than 200, or an event."""

    code = "TICKET_ACTION_REFUSED"
    check = 6


class TicketReadWriteSetRefused(TicketRefused):
    """Check 7: the transaction writes, holds private data, or touches another namespace."""

    code = "TICKET_READ_WRITE_SET_REFUSED"
    check = 7


class TicketEndorsementsDiffer(TicketRefused):
    """Check 8: no endorsement, or endorsements over different bytes."""

    code = "TICKET_ENDORSEMENTS_DIFFER"
    check = 8


class TicketEndorserRefused(TicketRefused):
    """Check 9: an endorser is no peer of a bundle's organisation, revoked, out of date, or didn't sign this."""

    code = "TICKET_ENDORSER_REFUSED"
    check = 9


class TicketTooFewOrganizations(TicketRefused):
    """Check 10: endorsed by peers of fewer than k organisations."""

    code = "TICKET_TOO_FEW_ORGANIZATIONS"
    check = 10


class TicketPayloadMismatch(TicketRefused):
    """Check 11: the ticket is not in canonical form, or is for another channel, contract, bundle or enclave."""

    code = "TICKET_PAYLOAD_MISMATCH"
    check = 11


class TicketTimeRefused(TicketRefused):
    """Check 12: past the lease, past this enclave's expiry, or before what it has seen."""

    code = "TICKET_TIME_REFUSED"
    check = 12


class TicketDigestMismatch(TicketRefused):
    """Check 13: the task, order or offer given by the host is not the ticket's."""

    code = "TICKET_DIGEST_MISMATCH"
    check = 13


class HostBytesRefused(TicketRefused):
    """Checks 14 to 16: a file of another digest or size than the ledger's; that is the host's doing."""

    code = "HOST_BYTES_REFUSED"
    check = 14


class ModelRefused(EnclaveError):
    """The developer's fault, the same everywhere: the job's outcome is `failed`."""

    code = "MODEL_REFUSED"


class ModelEnvelopeWrong(ModelRefused):
    """Check 14: the envelope of the right digest doesn't open, or `key_check` or `h` is wrong."""

    code = "MODEL_ENVELOPE_WRONG"


class ModelCiphertextWrong(ModelRefused):
    """Check 16: the ciphertext of the right digest doesn't decrypt."""

    code = "MODEL_CIPHERTEXT_WRONG"


class ModelUnparsable(ModelRefused):
    """The plaintext is neither an ONNX model nor weights for an architecture."""

    code = "MODEL_UNPARSABLE"


class ModelVersionRefused(ModelRefused):
    """An IR version, operator set, function, training part or format of weights outside what the engines take."""

    code = "MODEL_VERSION_REFUSED"


class ModelOperatorRefused(ModelRefused):
    """An operator outside the allow-list, or one that holds a subgraph."""

    code = "MODEL_OPERATOR_REFUSED"


class ModelExternalData(ModelRefused):
    """A tensor whose bytes lie outside the model."""

    code = "MODEL_EXTERNAL_DATA"


class ModelTypeRefused(ModelRefused):
    """A tensor of an element type outside the allow-list, or no tensor at all."""

    code = "MODEL_TYPE_REFUSED"


class ModelShapeUnknown(ModelRefused):
    """A shape that can't be told before running."""

    code = "MODEL_SHAPE_UNKNOWN"


class ModelStructureWrong(ModelRefused):
    """Attributes or tensors that contradict each other."""

    code = "MODEL_STRUCTURE_WRONG"


class ModelInterfaceWrong(ModelRefused):
    """Inputs or outputs other than the task's."""

    code = "MODEL_INTERFACE_WRONG"


class ModelTooLarge(ModelRefused):
    """More bytes, nodes or memory than the limits."""

    code = "MODEL_TOO_LARGE"


class ModelTooCostly(ModelRefused):
    """More counted operations times samples than the limits."""

    code = "MODEL_TOO_COSTLY"


class ModelNotRunnable(ModelRefused):
    """ONNX Runtime refuses it, when loading or when running."""

    code = "MODEL_NOT_RUNNABLE"


class ModelCrashes(ModelRefused):
    """It makes the engine crash, twice in a row."""

    code = "MODEL_CRASHES"


class DatasetRefused(EnclaveError):
    """Check 15, the provider's fault: the job's outcome is `unusable`."""

    code = "DATASET_REFUSED"


class DatasetEnvelopeWrong(DatasetRefused):
    """The envelope of the right digest doesn't open, or holds another key than the task's."""

    code = "DATASET_ENVELOPE_WRONG"


class DatasetUndecryptable(DatasetRefused):
    """The ciphertext of the right digest doesn't decrypt to the plaintext of the right digest."""

    code = "DATASET_UNDECRYPTABLE"


class DatasetMalformed(DatasetRefused):
    """The plaintext is not a dataset container."""

    code = "DATASET_MALFORMED"


class DatasetMismatch(DatasetRefused):
    """Another number of samples, shape or type than the benchmark spec's."""

    code = "DATASET_MISMATCH"


class HostFault(EnclaveError):
    """The machine's fault, not the model's: nothing is signed."""

    code = "HOST_FAULT"


class OutOfTime(HostFault):
    """The job took longer than it may; the counted operations were within bounds, so the machine is too slow."""

    code = "OUT_OF_TIME"


class OutOfMemory(HostFault):
    """The worker ran out of memory."""

    code = "OUT_OF_MEMORY"


class WorkerLost(HostFault):
    """The worker process was ended from outside or can't be started."""

    code = "WORKER_LOST"


class EngineMissing(HostFault):
    """The engine that the model needs is not installed in this enclave; another one may have it."""

    code = "ENGINE_MISSING"


class KeysRefused(EnclaveError):
    """Sealed keys that can't be opened here: damaged, or another machine's, measurement's or bundle's."""

    code = "KEYS_REFUSED"


class QuotingUnavailable(EnclaveError):
    """No quote can be had: the development root is missing, damaged or not ours."""

    code = "QUOTING_UNAVAILABLE"


class CertificateRefused(EnclaveError):
    """A server whose TLS certificate doesn't prove that it is the enclave (RA-TLS): nothing was sent to it."""

    code = "CERTIFICATE_REFUSED"


class CertificateMalformed(CertificateRefused):
    """Checks 1 and 2: not a certificate of its own key at this time, or without the evidence of an enclave."""

    code = "CERTIFICATE_MALFORMED"


class CertificateKeyMismatch(CertificateRefused):
    """Checks 3 and 5: the quote is not about the certificate's key."""

    code = "CERTIFICATE_KEY_MISMATCH"


class BundleRefused(EnclaveError):
    """A trust bundle whose certificates or lists can't be read."""

    code = "BUNDLE_REFUSED"


class RequestRefused(EnclaveError):
    """Bytes on the socket that are no request of the enclave's."""

    code = "REQUEST_REFUSED"


class EnclaveUnreachable(EnclaveError):
    """No enclave answers behind the socket: start one with `goldengrain enclave run`."""

    code = "ENCLAVE_UNREACHABLE"


def _tree(root: type[EnclaveError]) -> dict[str, type[EnclaveError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


ERRORS = _tree(EnclaveError)
"""Every error of the enclave by its code."""


def error_from_reply(code: str, message: str) -> GoldenGrainError:
    """Rebuild what the enclave answered; an unknown code becomes an `EnclaveError` whose text keeps it."""
    kind = ERRORS.get(code)
    return EnclaveError(f"{code}: {message}") if kind is None else kind(message)


class ProvenanceRefused(EnclaveError):
    """A file of provenance that doesn't hold."""

    code = "PROVENANCE_REFUSED"


class ProvenanceMalformed(ProvenanceRefused):
    """Check 1: not a file of provenance, or of a version that is not known."""

    code = "PROVENANCE_MALFORMED"


class ProvenanceUntrusted(ProvenanceRefused):
    """Check 2: the file rests on other organisations than those trusted."""

    code = "PROVENANCE_UNTRUSTED"


class ProvenanceNotEndorsed(ProvenanceRefused):
    """Check 3: a transaction that too few of the trusted organisations endorsed as it stands."""

    code = "PROVENANCE_NOT_ENDORSED"


class ProvenanceTaskMismatch(ProvenanceRefused):
    """Check 4: the task is missing or another one."""

    code = "PROVENANCE_TASK_MISMATCH"


class ProvenanceOrderMismatch(ProvenanceRefused):
    """Check 5: the order is missing, another one, or for another task."""

    code = "PROVENANCE_ORDER_MISMATCH"


class ProvenancePolicyMismatch(ProvenanceRefused):
    """Check 6: a policy that the swap rests on is missing, or knows another trust bundle."""

    code = "PROVENANCE_POLICY_MISMATCH"


class ProvenanceEnclaveMismatch(ProvenanceRefused):
    """Check 7: an enclave's registration is missing or its quote doesn't hold."""

    code = "PROVENANCE_ENCLAVE_MISMATCH"


class ProvenanceReportMismatch(ProvenanceRefused):
    """Check 8: a report that doesn't hold."""

    code = "PROVENANCE_REPORT_MISMATCH"


class ProvenancePriceMismatch(ProvenanceRefused):
    """Check 9: the reports don't give the score and price that were locked."""

    code = "PROVENANCE_PRICE_MISMATCH"


class ProvenanceRevealMismatch(ProvenanceRefused):
    """Check 10: the reveal is missing, of another secret, or paid otherwise."""

    code = "PROVENANCE_REVEAL_MISMATCH"


class ProvenanceModelMismatch(ProvenanceRefused):
    """Check 11: the model is not the one that was benchmarked."""

    code = "PROVENANCE_MODEL_MISMATCH"
