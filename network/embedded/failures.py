"""What goes wrong inside the embedded services, in Fabric's own words, and how it leaves the process.

None of these reaches a user as a Python exception: they become gRPC statuses, `protos.Response`s or ERROR messages.

- `RpcError`: a call ends with a gRPC status. `grpc-status-details-bin` carries a `google.rpc.Status` with Fabric's
  `gateway.ErrorDetail`s, as Fabric's peers send it; it is left out when there is no detail.
- `ProposalError`: a proposal was not endorsed; the peer answers with a response of status 500 and this text.
- `ChaincodeExecutionError`: a chaincode could not be run to its end (a `ProposalError` for the caller).
- `StateRequestError`: a chaincode's request for state is refused (an ERROR message on its stream).
- `LifecycleError`: `_lifecycle` refuses (a response of status 500 of that system chaincode).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio
from fabric_protos.gateway import gateway_pb2
from google.protobuf import any_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

__all__ = [
    "ChaincodeExecutionError",
    "LifecycleError",
    "ProposalError",
    "RpcError",
    "StateRequestError",
    "abort",
    "proto_error",
]

_NO_BREAK_SPACE = "\u00a0"


class ProposalError(Exception):
    """A proposal could not be simulated; the text goes into a response of status 500."""


class ChaincodeExecutionError(Exception):
    """A chaincode could not be run to its end."""


class StateRequestError(Exception):
    """A request of a chaincode for state was refused; the text is what follows `<TYPE> failed: …: `."""


class LifecycleError(Exception):
    """`_lifecycle` refuses; the text goes into its response of status 500 (or 404 where `status` says so)."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class RpcError(Exception):
    """A call ends with this gRPC status. It never leaves the process as an exception: `abort` sends it."""

    def __init__(self, code: grpc.StatusCode, message: str, details: Sequence[gateway_pb2.ErrorDetail] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)

    def status(self) -> status_pb2.Status:
        """The error as `google.rpc.Status`."""
        packed = []
        for detail in self.details:
            entry = any_pb2.Any()
            entry.Pack(detail)
            packed.append(entry)
        return status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: RpcError) -> NoReturn:
    """End the call of `context` with `error`."""
    trailers = (("grpc-status-details-bin", error.status().SerializeToString()),) if error.details else ()
    await context.abort(error.code, error.message, trailers)
    raise AssertionError("abort returned")


def proto_error(data: bytes) -> str:
    """What Go's protobuf says about bytes that did not parse, in the words of the recorded peers.

    Go tells bytes that are no message at all from a string field that is not UTF-8; the latter has no prefix.
    """
    try:
        Empty.FromString(data)
    except DecodeError:
        return f"proto:{_NO_BREAK_SPACE}cannot parse invalid wire-format data"
    return "string field contains invalid UTF-8"
