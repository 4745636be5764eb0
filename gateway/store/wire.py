"""What client and server of the store's service agree on: methods, sizes, and how errors travel.

An error has the gRPC status nearest to it, its own code in the trailing metadata, and its text as the details.
"""

from __future__ import annotations

from typing import Any

import grpc

from goldengrain.gateway.errors import (
    BlobCorrupt,
    BlobNotFound,
    BlobTooLarge,
    QuotaExceeded,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    UploadBusy,
)

SERVICE = "goldengrain.store.v1.ContentStore"
CODE_KEY = "goldengrain-code"
MAX_PAGE = 1000
"""Entries in one answer to List."""
MAX_MESSAGE = 4 << 20  # bytes; chunks are a quarter of it
KEEPALIVE = (("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000))

STATUSES: dict[type[StoreError], grpc.StatusCode] = {
    BlobNotFound: grpc.StatusCode.NOT_FOUND,
    BlobCorrupt: grpc.StatusCode.DATA_LOSS,
    BlobTooLarge: grpc.StatusCode.OUT_OF_RANGE,
    StoreRefused: grpc.StatusCode.PERMISSION_DENIED,
    QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UploadBusy: grpc.StatusCode.ABORTED,
    StoreError: grpc.StatusCode.FAILED_PRECONDITION,
}
_BY_CODE = {kind.code: kind for kind in STATUSES}
_CUT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}


def error_of(error: grpc.RpcError, address: str) -> StoreError:
    """Return what the server said, or that it said nothing."""
    call: Any = error  # what a call raises is the call itself, which the stubs don't say
    code: grpc.StatusCode = call.code()
    details = call.details() or code.name
    kind = _BY_CODE.get(dict(call.trailing_metadata() or ()).get(CODE_KEY, ""))
    if kind is not None:
        return kind(details, grpc_code=code)
    if code in _CUT:
        hint = "is it up, and does your organisation belong to its channel?"
        return StoreUnreachable(f"no answer from the store at {address}; {hint} [{details}]", grpc_code=code)
    return StoreError(f"the store at {address} failed: {code.name} {details}", grpc_code=code)
