"""What content stores are told and tell: services' answers, our server's, requests to it, `stores.json`, URLs.

The first two bytes choose a parser. A service is played beneath boto3, by its bytes on a socket; our server by its
messages, as gRPC hands them on. Whatever they say, what is read is what was asked for, or refused by name, and nothing
half written stays.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from hashlib import sha256
from itertools import chain, repeat
from typing import Any, ClassVar, TypeVar

import boto3
import grpc
import urllib3
from botocore.config import Config
from google.protobuf.message import DecodeError, Message
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.cli import stores as places
from goldengrain.gateway.store import ContentStore, FolderStore
from goldengrain.gateway.store import store_pb2 as pb
from goldengrain.gateway.store.locations import Caller, open_store
from goldengrain.gateway.store.members import Member
from goldengrain.gateway.store.remote import RemoteStore
from goldengrain.gateway.store.resuming import Patience
from goldengrain.gateway.store.s3 import S3Store
from goldengrain.gateway.store.server import Rights, _Service
from goldengrain.gateway.store.wire import CODE_KEY, MAX_MESSAGE
from goldengrain.network.home import Home
from tests.fuzz.changing import Source
from tests.fuzz.files import folder as _folder
from tests.gateway.store.consortium import Consortium

CONTENT = b"golden grain"
DIGEST = sha256(CONTENT).digest()
OTHER = sha256(b"chaff").digest()
REPEATED = 40
"""How often a service says the same again before it falls silent."""
MAX_SIZE = 4096  # bytes that a reader allows
ENDLESS = MAX_SIZE + 200
"""How often our server says the same: more often than anybody has a reason to ask, byte by byte."""
NEXT = b"\n--next--\n"
PATIENCE = partial(Patience, attempts=3, first_pause_s=0)
M = TypeVar("M", bound=Message)


# -- what is asked of a store, and what has to hold whatever it answers


def _fetch(store: ContentStore) -> None:
    target = _folder() / "fetched" / "copy"
    target.unlink(missing_ok=True)
    try:
        store.fetch(DIGEST, target, MAX_SIZE)
    except GoldenGrainError:
        _require(not target.exists(), "a blob that was refused has its name")
        raise
    finally:
        _require(not list(_folder().glob("fetched/.new-*")), "something half written stays")
    _require(target.read_bytes() == CONTENT, "another content under the digest")


def _read(store: ContentStore) -> None:
    _require(store.read(DIGEST, MAX_SIZE) == CONTENT, "another content under the digest")


def _entries(store: ContentStore) -> None:
    before = b""
    for one in store.entries():
        _require(len(one.digest) == 32 and one.digest > before, "digests out of order")
        _require(one.size >= 0 and one.stored >= 0, "a size or a time that is none")
        before = one.digest


def _size(store: ContentStore) -> None:
    _require(store.size(DIGEST) >= 0, "a size that is none")


ASKED: tuple[Callable[[ContentStore], object], ...] = (
    _size,
    lambda store: store.has(DIGEST),
    _read,
    _fetch,
    lambda store: store.put((CONTENT,), DIGEST),
    lambda store: store.remove(DIGEST),
    _entries,
)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


# -- a service as S3, by its bytes


class _Service3(HTTPConnection):
    """A connection whose other end has said already what it says."""

    answers: Iterator[bytes] = iter(())
    opened: ClassVar[list[socket.socket]] = []

    def _new_conn(self) -> socket.socket:
        answer = next(type(self).answers, None)
        if answer is None:
            raise NewConnectionError(self, "the service is silent")
        near, far = socket.socketpair()
        type(self).opened += (near, far)
        far.sendall(answer)
        far.shutdown(socket.SHUT_WR)
        return near

    @classmethod
    def forget(cls) -> None:
        """Close what is open still, whoever holds it."""
        while cls.opened:
            if (number := cls.opened.pop().detach()) >= 0:
                os.close(number)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Service3


@cache
def _client() -> Any:
    config = Config(
        retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=5
    )
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )
    manager = client._endpoint.http_session._manager
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _Pool}
    return client


def _bucket(ask: Callable[[ContentStore], object], answers: Iterable[bytes]) -> None:
    _Service3.answers = iter(answers)
    try:
        ask(S3Store("market", "org1/", client=_client(), patience=PATIENCE))
    finally:
        _client()._endpoint.http_session._manager.clear()
        _Service3.forget()


def _raw_service(source: Source) -> None:
    ask = ASKED[source.number(len(ASKED))]
    _bucket(ask, [one[:65_536] for one in source.rest().split(NEXT)])


STATUSES = (b"200 OK", b"206 Partial", b"204 No", b"404 Not Found", b"403 No", b"301 Moved", b"400 Bad", b"503 Slow")
HEADERS = (
    b"Content-Length: 0", b"Content-Length: 12", b"Content-Length: -1", b"Content-Length: x",
    b"Content-Length: 99999999999999999999", b"Last-Modified: never", b"x-amz-bucket-region: ../x",
    b"Location: http://[", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"ETag: \xff",
    b"x-amz-checksum-crc32: AAAA", b"x-amz-missing-meta: x", b"x-amz-object-lock-retain-until-date: soon",
    b"Content-Range: bytes 5-1/0", b"Content-Type: text/html", b"x-amz-mp-parts-count: y", b"x-amz-delete-marker: z",
)  # fmt: skip
BODIES = (
    CONTENT, b"", CONTENT[:5], CONTENT[5:], CONTENT + b"x", b"golden chaff", b"<a", b"<?xml version='9'?>",
    b"<Error><Code>NoSuchKey</Code></Error>", b"<Error><Code><b/></Code></Error>",
    b"5\r\ngolde\r\n7\r\nn grain\r\n0\r\n\r\n",
)  # fmt: skip
PAGES = (
    "", "<IsTruncated>true</IsTruncated>", "<NextContinuationToken>a</NextContinuationToken>",
    "<IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>",
    "<IsTruncated>perhaps</IsTruncated>", "<EncodingType>url</EncodingType>",
)  # fmt: skip
KEYS = (f"org1/{DIGEST.hex()}", f"org1/{OTHER.hex()}", "", "org1/README", "org1/&#x0;", f"org1/{DIGEST.hex().upper()}")
SIZES = ("12", "0", "-1", "", "x", "1e3", "99999999999999999999999", "٣")
TIMES = ("2026-01-02T03:04:05.000Z", "", "soon", "0000-00-00", "9999-12-31T23:59:59-23:59", "-1", "1e99", "1601-01-01")


def _listing(source: Source) -> bytes:
    """A page of a listing in which some things are missing or are others."""
    contents = ""
    for _ in range(source.number(3)):
        parts = (("Key", KEYS), ("Size", SIZES), ("LastModified", TIMES))
        chosen = [(name, values[source.number(len(values))], source.number(8)) for name, values in parts]
        members = "".join(f"<{name}>{value}</{name}>" for name, value, left in chosen if left)
        contents += f"<Contents>{members}</Contents>"
    name = "<Name>market</Name>" if source.number(8) else ""
    return f"<ListBucketResult>{name}{PAGES[source.number(len(PAGES))]}{contents}</ListBucketResult>".encode()


def _body(source: Source) -> bytes:
    chosen = source.number(2 * len(BODIES))
    return BODIES[chosen] if chosen < len(BODIES) else _listing(source)


def _made_answer(source: Source) -> bytes:
    status = STATUSES[source.number(2 * len(STATUSES)) % len(STATUSES)] if source.number(3) else STATUSES[0]
    headers = [HEADERS[source.number(len(HEADERS))] for _ in range(source.number(4))]
    body = _body(source)
    if source.number(3):
        headers = [b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"Connection: close", b"", body])


def _made_service(source: Source) -> None:
    ask = ASKED[source.number(len(ASKED))]
    answers = [_made_answer(source) for _ in range(1 + source.number(3))]
    _bucket(ask, chain(answers, repeat(answers[-1], source.number(2) * REPEATED)))


# -- our own server, by its messages


class _Cut(grpc.RpcError):
    """A call that ended otherwise than well, as gRPC raises it."""

    def __init__(self, code: grpc.StatusCode, details: str | None, trailers: Any = ()) -> None:
        super().__init__(details)
        self._said = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._said[0]

    def details(self) -> str | None:
        return self._said[1]

    def trailing_metadata(self) -> Any:
        return self._said[2]


@cache
def _remote() -> RemoteStore:
    consortium = Consortium()
    user = consortium.user("Org1MSP")
    return RemoteStore("127.0.0.1:9", consortium.tls.pem, user.certificate, user.key, patience=PATIENCE)


def _decoded(kind: type[M], answer: bytes | _Cut | None) -> M:
    if answer is None:
        raise _Cut(grpc.StatusCode.UNAVAILABLE, "the server is silent")
    if isinstance(answer, _Cut):
        raise answer
    try:
        return kind.FromString(answer)
    except DecodeError as error:
        raise _Cut(grpc.StatusCode.INTERNAL, "Exception deserializing response!") from error


class _Download:
    """A stream of messages, until one of them is an error or empty."""

    def __init__(self, answers: Iterator[bytes | _Cut]) -> None:
        self._answers = answers

    def __next__(self) -> pb.GetResponse:
        answer = next(self._answers, None)
        if answer == b"":
            raise StopIteration
        return _decoded(pb.GetResponse, answer)

    def cancel(self) -> None:
        """Nothing is open."""


def _server(ask: Callable[[Any], object], answers: Iterator[bytes | _Cut]) -> None:
    store = _remote()

    def one(kind: type[Message]) -> Callable[..., Message]:
        return lambda *_, **__: _decoded(kind, next(answers, None))

    def taking(requests: Iterable[pb.PutRequest], **_: object) -> pb.PutResponse:
        for _ in requests:
            pass
        return _decoded(pb.PutResponse, next(answers, None))

    store._stat, store._list = one(pb.StatResponse), one(pb.ListResponse)  # type: ignore[assignment]  # doubles
    store._remove, store._usage = one(pb.RemoveResponse), one(pb.UsageResponse)  # type: ignore[assignment]  # doubles
    store._put, store._get = taking, lambda *_, **__: _Download(answers)  # type: ignore[assignment]  # doubles
    ask(store)


CODES = tuple(grpc.StatusCode)
TRAILERS = ("STORE", "BLOB_NOT_FOUND", "UPLOAD_BUSY", "STORE_UNREACHABLE", "BLOB_CORRUPT", "NONE", "", "é")
NUMBERS = (len(CONTENT), 0, 1, len(CONTENT) - 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1)
STORED = (1_800_000_000, 0, -1, 2**63 - 1, -(2**63))
DIGESTS = (DIGEST, OTHER, b"", b"\0", DIGEST[:31], DIGEST * 2, b"\0" * 32, b"\xff" * 32)
CHUNKS = (CONTENT, CONTENT[:5], CONTENT[5:], b"", b"x", b"golden chaff", b"x" * (MAX_SIZE + 1))


def _error(source: Source) -> _Cut:
    details = ("no", "", None, "é\x00", "\x1b[31m")[source.number(5)]
    trailers = ((), None, ((CODE_KEY, TRAILERS[source.number(len(TRAILERS))]),))[source.number(3)]
    return _Cut(CODES[source.number(len(CODES))], details, trailers)


def _number(source: Source) -> int:
    return NUMBERS[source.number(len(NUMBERS))] if source.number(2) else NUMBERS[0]


def _entry(source: Source) -> pb.ListResponse.Entry:
    digest, stored = DIGESTS[source.number(len(DIGESTS))], STORED[source.number(len(STORED))]
    return pb.ListResponse.Entry(digest=digest, size=_number(source), owner="Org1MSP", stored=stored)


def _made_message(source: Source) -> bytes | _Cut:
    kind = source.number(8)
    if kind == 0:
        return _error(source)
    if kind in (1, 2, 3):
        stat = pb.StatResponse(held=bool(source.number(4)), size=_number(source), received=_number(source))
        return stat.SerializeToString()
    if kind in (4, 5):
        return pb.GetResponse(chunk=CHUNKS[source.number(len(CHUNKS))]).SerializeToString()
    if kind == 6:
        return pb.ListResponse(entries=[_entry(source) for _ in range(source.number(4))]).SerializeToString()
    return (b"", b"\xff", b"\x08")[source.number(3)]


SERVED: tuple[Callable[[Any], object], ...] = (*ASKED, lambda store: store.usage())


def _made_server(source: Source) -> None:
    ask = SERVED[source.number(len(SERVED))]
    answers = [_made_message(source) for _ in range(1 + source.number(5))]
    again = source.number(2) * ENDLESS
    said = chain(answers, repeat(answers[-1], again))
    with suppress(GoldenGrainError):
        _server(ask, said)
    _require(not again or next(said, None) is not None, "asked without end")


def _raw_server(source: Source) -> None:
    ask = SERVED[source.number(len(SERVED))]
    _server(ask, iter([one[:MAX_MESSAGE] for one in source.rest().split(NEXT)]))


# -- what our server is asked


@cache
def _ours() -> tuple[_Service, FolderStore]:
    folder = FolderStore(_folder() / "served")
    service = _Service(folder, Consortium().members, Rights("Org1MSP", {"Org2MSP": 1 << 16}))
    folder.put_bytes(CONTENT)
    return service, folder


def _requests(source: Source) -> None:
    """Requests as messages, to each method, from the keeper, a guest and somebody who may put nothing."""
    service, folder = _ours()
    caller = Member(("Org1MSP", "Org2MSP", "Org3MSP")[source.number(3)], "client")
    method = source.number(5)
    raw = source.rest().split(NEXT)
    with suppress(DecodeError):
        if method == 0:
            service._put(iter([pb.PutRequest.FromString(one) for one in raw]), caller)
        elif method == 1:
            for _ in service._get(pb.GetRequest.FromString(raw[0]), caller):
                pass
        elif method == 2:
            service._stat(pb.StatRequest.FromString(raw[0]), caller)
        elif method == 3:
            service._list(pb.ListRequest.FromString(raw[0]), caller)
        else:
            service._remove(pb.RemoveRequest.FromString(raw[0]), caller)
    for one in folder.entries():
        _require(sha256((folder.folder / one.digest.hex()).read_bytes()).digest() == one.digest, "another is kept")
    if not folder.has(DIGEST):
        folder.put_bytes(CONTENT)


def _made_request(source: Source) -> None:
    offset, size, digest = _number(source), _number(source), DIGESTS[source.number(len(DIGESTS))]
    said = pb.PutRequest.Announcement(digest=digest, size=size, offset=offset)
    chunks = [pb.PutRequest(chunk=CHUNKS[source.number(len(CHUNKS))]) for _ in range(source.number(3))]
    messages: tuple[list[Message], ...] = (
        [pb.PutRequest(announcement=said), *chunks],
        [pb.GetRequest(digest=digest, offset=offset)],
        [pb.StatRequest(digest=digest)],
        [pb.ListRequest(after=digest, limit=min(size, 2**32 - 1))],
        [pb.RemoveRequest(digest=digest)],
    )
    who, method = source.number(3), source.number(5)
    head = who.to_bytes(2, "big") + method.to_bytes(2, "big")
    _requests(Source(head + NEXT.join(one.SerializeToString() for one in messages[method])))


def _identify(source: Source) -> None:
    service, _ = _ours()
    service._members.identify(source.rest())


# -- where stores are


def _open(url: str) -> None:
    caller = Caller(b"certificate", b"key", b"authority")
    store = open_store(url, caller)
    if isinstance(store, RemoteStore):
        store.close()
    elif isinstance(store, FolderStore):
        store.has(DIGEST)


def _url(source: Source) -> None:
    _open(source.rest().decode("utf-8", "surrogateescape"))


PARTS = (
    "s3://", "grpcs://", "file:", "store/org1", "bucket", "[", "[::1", "]", ":", "127.0.0.1:7443", "/org1/", "?", "&",
    "endpoint=", "http://127.0.0.1:9", "region=", "us-east-1", "ca=", "name=", "localhost", "%00", "\x00", "\ud800",
    "é", "x" * 300, "..", "@", "#", "://", " ", "\n", "65536", "ftp:",
)  # fmt: skip


def _made_url(source: Source) -> None:
    _open("".join(PARTS[source.number(len(PARTS))] for _ in range(1 + source.number(8))))


def _kept(source: Source) -> None:
    """`stores.json`: whose store is where."""
    home = Home(_folder())
    (home.path / places._FILE).write_bytes(source.rest())
    for msp_id, url in places._load(home).items():
        json.dumps({msp_id: url}).encode()
        _open(url)


PARSERS: tuple[Callable[[Source], None], ...] = (
    _raw_service,
    _made_service,
    _raw_server,
    _made_server,
    _requests,
    _made_request,
    _identify,
    _url,
    _made_url,
    _kept,
)


def stores(data: bytes) -> None:
    """Give a parser, which the first bytes choose, the rest."""
    source = Source(data)
    parser = PARSERS[source.number(len(PARSERS))]
    with suppress(GoldenGrainError):
        parser(source)
