"""What the enclave refuses, each with a stable code.

The tree::

    GoldenGrainError
    └── EnclaveError                     whatever is wrong on the enclave's side of the market
        ├── TicketRefused                one of section 8's sixteen checks; `check` is its number (nothing is signed)
        │   └── one class per check, from TicketMalformed (1) to ModelCiphertextWrong (16)
        ├── ModelRefused                 the developer's fault, the same everywhere: the job ends in `failed`
        │   ├── EnvelopeContentWrong, ModelUndecryptable
        │   └── ModelUnparsable, ModelOperatorRefused, ModelTooLarge, ModelTooCostly, ModelInterfaceWrong, …
        ├── DatasetRefused               the provider's fault: the job ends in `unusable`
        ├── HostFault                    bytes that are not the ledger's, or the machine's limits: nothing is signed
        ├── SealedKeysUnreadable         the sealed key file is damaged or another machine's
        ├── RequestRefused               a request on the socket that is not one
        ├── EnclaveUnreachable           the client found no enclave behind the socket
        └── QuotingUnavailable           no quote can be had here
"""

# ruff: noqa: N818 - a refusal is named for what was wrong

from __future__ import annotations

from goldengrain.chaincode.protocol.errors import GoldenGrainError


class EnclaveError(GoldenGrainError):
    """Root of everything that the enclave package raises."""

    code = "ENCLAVE_ERROR"


class QuotingUnavailable(EnclaveError):
    """No quote can be had: the development root is missing, damaged or not ours."""

    code = "QUOTING_UNAVAILABLE"
