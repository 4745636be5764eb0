"""A content store behind our own server (``server``): gRPC over TLS, the caller known by its Fabric certificate.

    store = RemoteStore("store.org1.example.com:7443", tls_root, certificate, key)

Uploads and downloads go on where a cut connection left them. Nothing that comes back is believed: it is verified
here, whatever the server has done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import grpc

from goldengrain.gateway.errors import BlobNotFound, StoreError, StoreUnreachable, UploadBusy
from goldengrain.gateway.store import store_pb2 as pb
from goldengrain.gateway.store.base import (
    CHUNK,
    Blob,
    ContentStore,
    Digest,
    Entry,
    Progress,
    VerifiedReader,
    chunks_of,
    digest_of,
    hash_chunks,
    in_order,
    malformed,
    require_size,
    write_hashed,
)
from goldengrain.gateway.store.resuming import Patience, Resuming
from goldengrain.gateway.store.wire import KEEPALIVE, MAX_MESSAGE, MAX_PAGE, SERVICE, error_of

_IN_MEMORY = 8 << 20  # bytes of a blob on its way before it goes to a temporary file
_CALL_S = 30.0  # for what is answered at once
_BLOB_S = 60.0  # for a call that carries a blob; what is left by then goes over another, so that silence has an end
T = TypeVar("T")


class RemoteStore(ContentStore):
    """A store at ``address`` (host:port). ``tls_root``, ``certificate`` and ``key`` are PEM: its CA, and who calls."""

    def __init__(
        self,
        address: str,
        tls_root: bytes,
        certificate: bytes,
        key: bytes,
        server_name: str | None = None,
        patience: Callable[[], Patience] = Patience,
    ) -> None:
        self.address = address
        self._patience = patience
        options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", MAX_MESSAGE), *KEEPALIVE]
        options += [("grpc.ssl_target_name_override", server_name)] if server_name else []
        self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(tls_root, key, certificate), options)
        channel, one = self._channel, self._channel.unary_unary
        put, get = f"/{SERVICE}/Put", f"/{SERVICE}/Get"
        self._put = channel.stream_unary(put, pb.PutRequest.SerializeToString, pb.PutResponse.FromString)
        self._get = channel.unary_stream(get, pb.GetRequest.SerializeToString, pb.GetResponse.FromString)
        self._stat = one(f"/{SERVICE}/Stat", pb.StatRequest.SerializeToString, pb.StatResponse.FromString)
        self._list = one(f"/{SERVICE}/List", pb.ListRequest.SerializeToString, pb.ListResponse.FromString)
        self._remove = one(f"/{SERVICE}/Remove", pb.RemoveRequest.SerializeToString, pb.RemoveResponse.FromString)
        self._usage = one(f"/{SERVICE}/Usage", pb.UsageRequest.SerializeToString, pb.UsageResponse.FromString)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> RemoteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, chunks: Iterable[bytes], expected: Digest | None = None, max_size: int | None = None) -> Blob:
        """Store a stream of chunks, see ``ContentStore``. Raises QuotaExceeded, StoreRefused, StoreUnreachable.

        The chunks go to a temporary file first: a server is told digest and size before it takes anything.
        """
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            blob = write_hashed(chunks, file, expected, max_size)
            self._upload(file, blob)
        return blob

    def put_file(self, path: str | Path, expected: Digest | None = None, progress: Progress | None = None) -> Blob:
        """Store a file's bytes without copying them first. Raises as ``put`` does."""
        try:
            with Path(path).open("rb") as file:
                blob = hash_chunks(chunks_of(file), expected)
                self._upload(file, blob, progress)
        except OSError as error:
            raise StoreError(f"cannot store {path}: {error}") from error
        return blob

    def open(self, digest: Digest, max_size: int | None = None) -> VerifiedReader:
        """Return a reader that verifies while it streams. Raises BlobNotFound, BlobTooLarge past ``max_size`` bytes."""
        wanted = digest_of(digest)
        size = self.size(wanted)
        require_size(wanted, size, max_size)
        source = Resuming(lambda offset: self._open_at(wanted, offset), size, self._patience())
        return VerifiedReader(source, wanted, size)

    def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes. Raises BlobNotFound."""
        wanted = digest_of(digest)
        found = self._asked(self._stat, pb.StatRequest(digest=wanted))
        if not found.held:
            raise BlobNotFound(f"no blob {wanted.hex()} in the store at {self.address}")
        return found.size

    def has(self, digest: Digest) -> bool:
        """Whether there is a blob of that name (its bytes are checked when they are read)."""
        return self._asked(self._stat, pb.StatRequest(digest=digest_of(digest))).held

    def remove(self, digest: Digest) -> None:
        """Delete a blob. Raises BlobNotFound, StoreRefused."""
        self._asked(self._remove, pb.RemoveRequest(digest=digest_of(digest)))

    def entries(self) -> Iterator[Entry]:
        """Yield what is in the store, in the order of digests. Raises StoreAnswerMalformed for a listing in none."""
        return in_order(self._listed(), f"the store at {self.address}")

    def _listed(self) -> Iterator[Entry]:
        after = b""
        while page := self._asked(self._list, pb.ListRequest(after=after, limit=MAX_PAGE)).entries:
            for one in page:
                yield Entry(one.digest, one.size, one.stored, one.owner)
            after = page[-1].digest

    def usage(self) -> tuple[int, int | None]:
        """Return how many bytes the caller's organisation has here, and how many it may have (None: any)."""
        found = self._asked(self._usage, pb.UsageRequest())
        return found.used, found.quota if found.limited else None

    def _asked(self, method: Callable[..., T], request: object) -> T:
        patience = self._patience()
        while True:
            try:
                return method(request, timeout=_CALL_S)
            except grpc.RpcError as error:
                failure = error_of(error, self.address)
                if not isinstance(failure, StoreUnreachable):
                    raise failure from error
                patience.try_again(failure)

    def _upload(self, file: IO[bytes], blob: Blob, progress: Progress | None = None) -> None:
        """Send what the server lacks; after a cut, the rest."""
        patience, furthest = self._patience(), -1
        while True:
            stat = self._asked(self._stat, pb.StatRequest(digest=blob.digest))
            if stat.held:
                return
            if stat.received > blob.size:
                raise malformed(f"the store at {self.address}", f"it has {stat.received} of {blob.size} bytes")
            if stat.received > furthest:
                patience.reward()
            furthest = max(furthest, stat.received)
            try:
                self._put(_requests(file, blob, stat.received, progress), timeout=_BLOB_S)
                return
            except grpc.RpcError as error:
                failure = error_of(error, self.address)
                if not isinstance(failure, StoreUnreachable | UploadBusy):
                    raise failure from error
                patience.try_again(failure)

    def _open_at(self, digest: bytes, offset: int) -> _Stream:
        return _Stream(self._get(pb.GetRequest(digest=digest, offset=offset), timeout=_BLOB_S), self.address)


class _Stream:
    """Chunks of a download as they arrive."""

    def __init__(self, call: Any, address: str) -> None:
        self._call = call
        self._address = address
        self._left = b""
        self._begun = False

    def read(self, size: int, /) -> bytes:
        while not self._left:
            try:
                message = next(self._call, None)
            except grpc.RpcError as error:
                raise error_of(error, self._address) from error
            if message is None:
                return b""
            if self._begun and not message.chunk:
                raise malformed(f"the store at {self._address}", "a part of a blob without bytes")
            self._begun, self._left = True, message.chunk
        chunk, self._left = self._left[:size], self._left[size:]
        return chunk

    def close(self) -> None:
        with suppress(grpc.RpcError):
            self._call.cancel()


def _requests(file: IO[bytes], blob: Blob, offset: int, progress: Progress | None) -> Iterator[pb.PutRequest]:
    said = pb.PutRequest.Announcement(digest=blob.digest, size=blob.size, offset=offset)
    yield pb.PutRequest(announcement=said)
    file.seek(offset)
    while chunk := file.read(CHUNK):
        yield pb.PutRequest(chunk=chunk)
        offset += len(chunk)
        if progress is not None:
            progress(offset)
