"""What can go wrong between a client and a Fabric network, by the stage at which it did.

::

    GoldenGrainError
    └── GatewayError                 GATEWAY
        ├── ConnectionProfileError   CONNECTION_PROFILE     a connection profile cannot be used
        ├── IdentityError            IDENTITY               a certificate or key cannot be used
        │   ├── PassphraseMissing    PASSPHRASE_MISSING     the key is encrypted, and nobody gives its passphrase
        │   └── PassphraseWrong      PASSPHRASE_WRONG       it is encrypted by another one
        ├── WalletError              WALLET                 no such label, or not a wallet entry
        ├── SigningError             SIGNATURE_MISSING      no signer, and no signature was handed in
        ├── SavedMalformed           SAVED_MALFORMED        bytes that no `to_bytes` has returned
        ├── TransactionError                                carries the transaction id
        │   ├── EvaluateError        EVALUATE_FAILED        nothing was written, nothing can be
        │   ├── EndorseError         ENDORSE_FAILED         nothing was sent to the orderer
        │   ├── SubmitError          SUBMIT_FAILED          the orderer refused it: it cannot commit
        │   │   └── SubmitUnknown    SUBMIT_UNKNOWN         it may have been ordered: resume by its id
        │   ├── CommitStatusError    COMMIT_STATUS_FAILED   ordered; its outcome could not be asked
        │   │   └── CommitUnknown    COMMIT_UNKNOWN         ordered; no outcome within the deadline
        │   └── CommitError          COMMIT_<code>          in a block, and invalid
        ├── PeerError                PEER_REFUSED           a peer's answer to a proposal sent to it directly
        ├── EventsError              EVENTS_FAILED          an event stream ended
        ├── DeliverError             DELIVER_FAILED         a block stream ended with a status
        ├── BlockError               BLOCK_INVALID          a block does not prove what it says
        ├── StoreError               STORE
        │   ├── BlobNotFound         BLOB_NOT_FOUND
        │   ├── BlobCorrupt          BLOB_CORRUPT           bytes of another digest than their name
        │   ├── BlobTooLarge         BLOB_TOO_LARGE
        │   ├── StoreUnreachable     STORE_UNREACHABLE      no answer, or the connection was cut: try again
        │   ├── StoreAnswerMalformed STORE_ANSWER_MALFORMED what the store answers is no answer: ask another one
        │   ├── StoreRefused         STORE_REFUSED          the caller's organisation or role may not do this
        │   ├── QuotaExceeded        QUOTA_EXCEEDED         the organisation's share of the store is full
        │   └── UploadBusy           UPLOAD_BUSY            the same upload is under way elsewhere
        ├── PccsError                PCCS                   collateral that can't be had from a caching service
        │   ├── PccsUnreachable      PCCS_UNREACHABLE       no answer: try again, or another service
        │   ├── PccsUnknownPlatform  PCCS_UNKNOWN_PLATFORM  the service knows nothing of this FMSPC
        │   ├── PccsRefused          PCCS_REFUSED           another status than 200, or no URL of a service
        │   ├── PccsMalformed        PCCS_MALFORMED         an answer that is not what the API says
        │   └── PccsStale            PCCS_STALE             it gives nothing newer than what is about to run out
        └── MarketClientError        MARKET_CLIENT
            ├── InsufficientCoins    INSUFFICIENT_COINS
            ├── WaitInVain           WAIT_IN_VAIN           what is waited for can't come about any more
            └── WaitTimeout          WAIT_TIMEOUT

Errors of gRPC are translated here and nowhere else; the original is the ``__cause__``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

import grpc
from fabric_protos.gateway import gateway_pb2
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from goldengrain.chaincode.protocol.errors import GoldenGrainError

_CHAINCODE_RESPONSE = re.compile(r"chaincode response (\d+), (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PeerDetail:
    """What one peer (or orderer) said: its address, its organisation's MSP id, its message."""

    address: str
    msp_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.msp_id} at {self.address}: {self.message}"


class GatewayError(GoldenGrainError):
    """Root of everything that this package raises.

    ``transaction_id`` is the transaction in question or None; ``grpc_code`` the gRPC status or None; ``details`` what
    each peer said. ``may_commit`` tells whether the transaction can still become valid although the call failed.
    """

    code = "GATEWAY"
    may_commit = False

    def __init__(
        self,
        message: str,
        *,
        transaction_id: str | None = None,
        grpc_code: grpc.StatusCode | None = None,
        details: tuple[PeerDetail, ...] = (),
    ) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        self.grpc_code = grpc_code
        self.details = details

    @property
    def chaincode_response(self) -> tuple[int, str] | None:
        """Status and message that the chaincode answered, where that is why the call failed."""
        for text in (*(detail.message for detail in self.details), str(self)):
            if found := _CHAINCODE_RESPONSE.search(text):
                return int(found[1]), found[2]
        return None


class ConnectionProfileError(GatewayError):
    """A connection profile that cannot be read or does not name what is needed."""

    code = "CONNECTION_PROFILE"


class IdentityError(GatewayError):
    """A certificate or private key that cannot be used, or the two do not belong together."""

    code = "IDENTITY"


class PassphraseMissing(IdentityError):
    """A private key is encrypted, and nobody gives its passphrase."""

    code = "PASSPHRASE_MISSING"


class PassphraseWrong(IdentityError):
    """A private key is encrypted by another passphrase."""

    code = "PASSPHRASE_WRONG"


class WalletError(GatewayError):
    """A wallet has no entry under a label, or the entry is malformed."""

    code = "WALLET"


class SigningError(GatewayError):
    """A step needs a signature, and there is neither a signer nor a signature handed in."""

    code = "SIGNATURE_MISSING"


class TransactionError(GatewayError):
    """A step of one transaction failed."""

    code = "TRANSACTION_FAILED"


class EvaluateError(TransactionError):
    """An evaluation failed; nothing was written."""

    code = "EVALUATE_FAILED"


class EndorseError(TransactionError):
    """Too few endorsements; nothing was sent to the orderer, so nothing can commit."""

    code = "ENDORSE_FAILED"


class SubmitError(TransactionError):
    """The orderer did not take the transaction; it cannot commit."""

    code = "SUBMIT_FAILED"


class SubmitUnknown(SubmitError):
    """The answer to a submit is missing: it may or may not have been ordered."""

    code = "SUBMIT_UNKNOWN"
    may_commit = True


class CommitStatusError(TransactionError):
    """The transaction was submitted, but its outcome could not be asked for."""

    code = "COMMIT_STATUS_FAILED"
    may_commit = True


class CommitUnknown(CommitStatusError):
    """The transaction was submitted, and no block holding it was seen within the deadline."""

    code = "COMMIT_UNKNOWN"


class CommitError(TransactionError):
    """The transaction is in a block and was found invalid there.

    ``validation_code`` is Fabric's number, ``validation_name`` its name (``MVCC_READ_CONFLICT``), ``block`` the
    block's number.
    """

    code = "COMMIT_INVALID"

    def __init__(self, transaction_id: str, validation_code: int, validation_name: str, block: int) -> None:
        super().__init__(
            f"transaction {transaction_id} is in block {block} and invalid: {validation_name} ({validation_code})",
            transaction_id=transaction_id,
        )
        self.validation_code = validation_code
        self.validation_name = validation_name
        self.block = block

    @property
    def is_read_conflict(self) -> bool:
        """Whether another transaction changed what this one had read, so that a new attempt may succeed."""
        return self.validation_name in {"MVCC_READ_CONFLICT", "PHANTOM_READ_CONFLICT"}


class PeerError(GatewayError):
    """A peer's refusal of a proposal sent straight to it; ``status`` is the response's status (500, 404, …) or 0."""

    code = "PEER_REFUSED"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        transaction_id: str | None = None,
        grpc_code: grpc.StatusCode | None = None,
        details: tuple[PeerDetail, ...] = (),
    ) -> None:
        super().__init__(message, transaction_id=transaction_id, grpc_code=grpc_code, details=details)
        self.status = status


class EventsError(GatewayError):
    """A stream of chaincode events ended."""

    code = "EVENTS_FAILED"


class DeliverError(GatewayError):
    """A block stream ended; ``status`` is Fabric's (``NOT_FOUND``, ``FORBIDDEN``, …) or empty."""

    code = "DELIVER_FAILED"

    def __init__(
        self,
        message: str,
        *,
        status: str = "",
        transaction_id: str | None = None,
        grpc_code: grpc.StatusCode | None = None,
        details: tuple[PeerDetail, ...] = (),
    ) -> None:
        super().__init__(message, transaction_id=transaction_id, grpc_code=grpc_code, details=details)
        self.status = status


class PeerBehind(DeliverError):
    """A peer did not get a block in time that is known to be committed."""

    code = "PEER_BEHIND"


class BlockError(GatewayError):
    """A block (or a transaction in it) does not prove what it says."""

    code = "BLOCK_INVALID"


class StoreError(GatewayError):
    """The content store cannot do what was asked."""

    code = "STORE"


class BlobNotFound(StoreError):
    """No blob of that digest is in the store."""

    code = "BLOB_NOT_FOUND"


class BlobCorrupt(StoreError):
    """The bytes do not have the digest under which they are kept or were announced."""

    code = "BLOB_CORRUPT"


class BlobTooLarge(StoreError):
    """A blob is larger than the caller allowed."""

    code = "BLOB_TOO_LARGE"


class StoreUnreachable(StoreError):
    """The store gives no answer, or the connection was cut and could not be made again."""

    code = "STORE_UNREACHABLE"


class StoreAnswerMalformed(StoreError):
    """The store answers what no store of its kind answers."""

    code = "STORE_ANSWER_MALFORMED"


class StoreRefused(StoreError):
    """The store doesn't let this caller do this."""

    code = "STORE_REFUSED"


class QuotaExceeded(StoreError):
    """The organisation's share of the store is full."""

    code = "QUOTA_EXCEEDED"


class UploadBusy(StoreError):
    """The same upload is under way elsewhere."""

    code = "UPLOAD_BUSY"


class MarketClientError(GatewayError):
    """The market client cannot do what was asked, before anything was sent."""

    code = "MARKET_CLIENT"


class InsufficientCoins(MarketClientError):
    """The account's coins do not add up to the amount."""

    code = "INSUFFICIENT_COINS"


class WaitInVain(MarketClientError):
    """What was waited for can't come about any more."""

    code = "WAIT_IN_VAIN"


class WaitTimeout(MarketClientError):
    """What was waited for did not come about in time."""

    code = "WAIT_TIMEOUT"


E_ = TypeVar("E_", bound=GatewayError)


def peer_details(error: grpc.aio.AioRpcError) -> tuple[PeerDetail, ...]:
    """Return the peers' own words in a gRPC error (Fabric's ``gateway.ErrorDetail`` in ``grpc-status-details-bin``)."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return details_of_status(value)
    return ()


def details_of_status(raw: bytes) -> tuple[PeerDetail, ...]:
    """Return the same from a serialized ``google.rpc.Status``; what does not parse is left out."""
    found = []
    try:
        for packed in status_pb2.Status.FromString(raw).details:
            detail = gateway_pb2.ErrorDetail()
            if packed.Unpack(detail):
                found.append(PeerDetail(detail.address, detail.msp_id, detail.message))
    except DecodeError:
        return tuple(found)
    return tuple(found)


def from_rpc(kind: type[E_], error: grpc.aio.AioRpcError, transaction_id: str | None, doing: str, hint: str = "") -> E_:
    """``kind`` made from a gRPC error: what was being done, what the server and each peer said, what to do next."""
    details = peer_details(error)
    said = f"{doing}: {error.code().name} {error.details() or ''}".rstrip()
    if details:
        said += " [" + "; ".join(str(detail) for detail in details) + "]"
    return kind(
        f"{said}. {hint}" if hint else said, transaction_id=transaction_id, grpc_code=error.code(), details=details
    )


class SavedMalformed(GatewayError):
    """Bytes that were to be signed elsewhere come back as something else: give what ``to_bytes`` has returned."""

    code = "SAVED_MALFORMED"


class PccsError(GatewayError):
    """Collateral can't be had from a caching service (PCCS)."""

    code = "PCCS"


class PccsUnreachable(PccsError):
    """No answer, or none within the timeout: try again, or name another service."""

    code = "PCCS_UNREACHABLE"


class PccsUnknownPlatform(PccsError):
    """The service knows nothing of this FMSPC."""

    code = "PCCS_UNKNOWN_PLATFORM"


class PccsRefused(PccsError):
    """The service answers with another status than 200, or what is named is no service's URL."""

    code = "PCCS_REFUSED"


class PccsMalformed(PccsError):
    """The service's answer is not what its API says."""

    code = "PCCS_MALFORMED"


class PccsStale(PccsError):
    """The service gives nothing newer than what is about to run out: ask whoever runs it to renew its cache."""

    code = "PCCS_STALE"
