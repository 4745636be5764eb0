"""Our own store server: a folder behind gRPC over TLS, for the organisations of one channel.

    members = Members.from_config_block("market.block")
    rights = Rights("Org1MSP", {"Org1MSP": None, "Org2MSP": 10 << 30})
    with StoreServer(FolderStore("store/org1"), members, rights, certificate, key, "127.0.0.1:0") as server:
        print(server.address)

Who calls is what its certificate says, see ``members``. Every member may read; who may put, and how much, the keeper
decides; what an organisation has put, it may remove, and the keeper anything. An upload that was cut goes on where it
stopped, as long as a day later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import grpc

from goldengrain.gateway.errors import BlobNotFound, StoreError, StoreRefused, UploadBusy
from goldengrain.gateway.store import store_pb2 as pb
from goldengrain.gateway.store.base import CHUNK, Entry, digest_of
from goldengrain.gateway.store.catalogue import Catalogue, Quotas
from goldengrain.gateway.store.folder import FolderStore
from goldengrain.gateway.store.members import Member, Members
from goldengrain.gateway.store.wire import CODE_KEY, KEEPALIVE, MAX_MESSAGE, MAX_PAGE, SERVICE, STATUSES

MAX_BLOB = 1 << 41  # bytes, the largest ciphertext that the protocol allows
_WORKERS = 32
_STOP_S = 5.0
Context = grpc.ServicerContext
T = TypeVar("T")


@dataclass(frozen=True)
class Rights:
    """Whose store it is, and how many bytes each organisation may put (None: any; not named: nothing)."""

    keeper: str
    quotas: Quotas = field(default_factory=dict)

    def quota(self, member: Member) -> int | None:
        """Return how much a caller's organisation may put. Raises StoreRefused."""
        if member.msp_id == self.keeper:
            return self.quotas.get(self.keeper)
        if member.msp_id not in self.quotas:
            raise StoreRefused(f"{member.msp_id} may read from the store of {self.keeper}, but put nothing into it")
        return self.quotas[member.msp_id]

    def require_removal(self, member: Member, owner: str | None) -> None:
        """Raise StoreRefused unless the caller's organisation may remove what is ``owner``'s."""
        if member.msp_id not in (self.keeper, owner):
            raise StoreRefused(f"{member.msp_id} may remove only what it has put into the store of {self.keeper}")


class StoreServer:
    """A running server; ``address`` is where it listens. ``certificate`` and ``key`` are its TLS pair, PEM."""

    def __init__(
        self,
        store: FolderStore,
        members: Members,
        rights: Rights,
        certificate: bytes,
        key: bytes,
        listen: str,
    ) -> None:
        self._service = _Service(store, members, rights)
        self._server = grpc.server(
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="store"),
            options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.so_reuseport", 0), *KEEPALIVE],
        )
        self._server.add_generic_rpc_handlers((self._service.handler(),))
        credentials = grpc.ssl_server_credentials([(key, certificate)], members.authorities, require_client_auth=True)
        host = listen.rpartition(":")[0]
        try:
            port = self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            self._service.close()
            raise StoreError(f"cannot listen on {listen}: {error}; is the port taken?") from error
        self.address = f"{host}:{port}"

    def __enter__(self) -> StoreServer:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Return when the server has stopped."""
        self._server.wait_for_termination()

    def stop(self) -> None:
        """Take no more calls, give those under way a few seconds."""
        self._server.stop(_STOP_S).wait()
        self._service.close()


class _Service:
    def __init__(self, store: FolderStore, members: Members, rights: Rights) -> None:
        self._store = store
        self._members = members
        self._rights = rights
        self._catalogue = Catalogue(store, rights.keeper)

    def close(self) -> None:
        self._catalogue.close()

    def handler(self) -> grpc.GenericRpcHandler:
        """The methods by name; whatever they raise becomes a status."""
        one = grpc.unary_unary_rpc_method_handler
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Put": grpc.stream_unary_rpc_method_handler(
                self._guarded(self._put), pb.PutRequest.FromString, pb.PutResponse.SerializeToString
            ),
            "Get": grpc.unary_stream_rpc_method_handler(
                self._guarded_stream(self._get), pb.GetRequest.FromString, pb.GetResponse.SerializeToString
            ),
            "Stat": one(self._guarded(self._stat), pb.StatRequest.FromString, pb.StatResponse.SerializeToString),
            "List": one(self._guarded(self._list), pb.ListRequest.FromString, pb.ListResponse.SerializeToString),
            "Remove": one(
                self._guarded(self._remove), pb.RemoveRequest.FromString, pb.RemoveResponse.SerializeToString
            ),
            "Usage": one(self._guarded(self._usage), pb.UsageRequest.FromString, pb.UsageResponse.SerializeToString),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    # -- methods: each takes the request and who calls

    def _put(self, requests: Iterator[pb.PutRequest], caller: Member) -> pb.PutResponse:
        quota = self._rights.quota(caller)
        said = next(requests, pb.PutRequest()).announcement
        digest = digest_of(said.digest)
        if said.size > MAX_BLOB:
            raise StoreError(f"a blob has at most {MAX_BLOB} bytes")
        if self._store.has(digest):
            return pb.PutResponse(existed=True)
        self._store.sweep()
        with (
            self._catalogue.reserved(caller.msp_id, said.size, quota),
            self._store.upload(digest, said.size, caller.msp_id) as upload,
        ):
            if said.offset != upload.received:
                raise UploadBusy(f"{upload.received} bytes of this upload are here, not {said.offset}: go on there")
            for request in requests:
                upload.write(request.chunk)
            if upload.received < said.size:
                raise StoreError(f"the upload ended after {upload.received} of {said.size} bytes: go on there")
            upload.finish()
            self._catalogue.add(Entry(digest, said.size, int(time.time()), caller.msp_id))
        return pb.PutResponse()

    def _get(self, request: pb.GetRequest, caller: Member) -> Iterator[pb.GetResponse]:
        digest = digest_of(request.digest)
        size = self._store.size(digest)
        if request.offset > size:
            raise StoreError(f"blob {digest.hex()} has {size} bytes, none from {request.offset} on; ask from 0 on")
        yield pb.GetResponse(size=size)
        with self._store.open_unverified(digest, request.offset) as file:
            while chunk := file.read(CHUNK):
                yield pb.GetResponse(chunk=chunk)

    def _stat(self, request: pb.StatRequest, caller: Member) -> pb.StatResponse:
        digest = digest_of(request.digest)
        try:
            return pb.StatResponse(held=True, size=self._store.size(digest))
        except BlobNotFound:
            return pb.StatResponse(received=self._store.received(digest, caller.msp_id))

    def _list(self, request: pb.ListRequest, caller: Member) -> pb.ListResponse:
        found = self._catalogue.page(request.after, min(request.limit or MAX_PAGE, MAX_PAGE))
        entries = [
            pb.ListResponse.Entry(digest=one.digest, size=one.size, owner=one.owner, stored=one.stored) for one in found
        ]
        return pb.ListResponse(entries=entries)

    def _remove(self, request: pb.RemoveRequest, caller: Member) -> pb.RemoveResponse:
        digest = digest_of(request.digest)
        self._rights.require_removal(caller, self._catalogue.owner(digest))
        self._store.remove(digest)
        self._catalogue.forget(digest)
        return pb.RemoveResponse()

    def _usage(self, request: pb.UsageRequest, caller: Member) -> pb.UsageResponse:
        quota = self._rights.quotas.get(caller.msp_id, None if caller.msp_id == self._rights.keeper else 0)
        used = self._catalogue.used(caller.msp_id)
        return pb.UsageResponse(organization=caller.msp_id, used=used, limited=quota is not None, quota=quota or 0)

    # -- around each method

    def _guarded(self, method: Callable[[Any, Member], T]) -> Callable[[Any, Context], T]:
        def call(request: Any, context: Context) -> T:
            try:
                return method(request, self._caller(context))
            except StoreError as error:
                _abort(context, error)

        return call

    def _guarded_stream(self, method: Callable[[Any, Member], Iterator[T]]) -> Callable[[Any, Context], Iterator[T]]:
        def call(request: Any, context: Context) -> Iterator[T]:
            try:
                yield from method(request, self._caller(context))
            except StoreError as error:
                _abort(context, error)

        return call

    def _caller(self, context: Context) -> Member:
        presented: Any = context.auth_context().get("x509_pem_cert")  # a list of bytes, whatever the stubs say
        if not presented:
            raise StoreRefused("a caller identifies itself with the certificate of its wallet entry")
        return self._members.identify(presented[0])


def _abort(context: Context, error: StoreError) -> NoReturn:
    context.set_trailing_metadata(((CODE_KEY, error.code),))
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    context.abort(status, str(error))
    raise AssertionError("unreachable")
