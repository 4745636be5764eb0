"""What the shim refuses or cannot do.

    GoldenGrainError
    └── ShimError               SHIM
        ├── InvalidKey          INVALID_KEY         an empty, reserved or unencodable key or range bound
        ├── InvalidArgument     INVALID_ARGUMENT    a value, page size, event name, … that Fabric cannot take
        ├── Unauthorized        UNAUTHORIZED        the sender lacks an attribute or a role that is asked for
        ├── TimestampRefused    TIMESTAMP_REFUSED   the transaction's time and this machine's clock are too far apart
        ├── UnknownFunction     UNKNOWN_FUNCTION    the chaincode has no function of that name
        ├── Refusal             REFUSED             a contract's own refusal, with the status and code that it names
        ├── DeclarationError    DECLARATION         a contract's class cannot be served: no annotation, two of a name, …
        ├── PeerRefused         PEER_REFUSED        the peer answered a request of the transaction with ERROR
        ├── StreamLost          STREAM_LOST         the peer's stream ended while the transaction was running
        ├── TransactionEnded    TRANSACTION_ENDED   the stub was used after its transaction was answered
        └── ServerError         SHIM_SERVER         the server cannot start: address taken, bad TLS material, …

A chaincode may let any of them pass: the client then sees `chaincode response <status>, <CODE>: <text>`. Their texts
name keys of the public state only, never values and never private keys.
"""

from goldengrain.chaincode.protocol.errors import GoldenGrainError


class ShimError(GoldenGrainError):
    """Root of the shim's errors. `status` is the chaincode response's status if it is not caught."""

    code = "SHIM"
    status = 500


class InvalidKey(ShimError):
    """A key that must not reach the ledger. The peer would take it: see `keys`."""

    code = "INVALID_KEY"
    status = 400


class InvalidArgument(ShimError):
    """An argument that Fabric cannot take or that it would silently turn into something else."""

    code = "INVALID_ARGUMENT"
    status = 400


class Unauthorized(ShimError):
    """The sender is not who may do this."""

    code = "UNAUTHORIZED"
    status = 403


class TimestampRefused(ShimError):
    """The transaction's timestamp is too far from this machine's clock (see `clock.ClockWindow`)."""

    code = "TIMESTAMP_REFUSED"
    status = 400


class UnknownFunction(ShimError):
    """The chaincode has no function of that name."""

    code = "UNKNOWN_FUNCTION"
    status = 404


class Refusal(ShimError):
    """A contract's own refusal: `raise Refusal("no account alice", 404)`. The client sees `CODE: text`."""

    code = "REFUSED"

    def __init__(self, message: str, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        if code is not None:
            self.code = code  # type: ignore[misc]  # the class's for all others, this one's own here


class DeclarationError(ShimError):
    """A contract's class cannot be served as it is declared. Raised when the chaincode is put together."""

    code = "DECLARATION"


class PeerRefused(ShimError):
    """The peer answered with ERROR. The text is the peer's: `<TYPE> failed: transaction ID: <id>: <cause>`."""

    code = "PEER_REFUSED"


class StreamLost(ShimError):
    """The stream to the peer has ended: nothing that the transaction still does can reach the peer."""

    code = "STREAM_LOST"


class TransactionEnded(ShimError):
    """A stub was used after its transaction's response had been sent (by a task left behind, say)."""

    code = "TRANSACTION_ENDED"


class ServerError(ShimError):
    """The chaincode server cannot start."""

    code = "SHIM_SERVER"
