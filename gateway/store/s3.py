"""A content store in a bucket of an S3-compatible service (extra ``s3``).

One object per blob, named PREFIX and the hex digest. A service shows an object whole or not at all; what is put is
hashed on the way through a temporary file, so that nothing gets a name before its digest is known.

    store = S3Store("market", prefix="org1/", endpoint="https://s3.example.com")

Keys to the service come from where its tools look for them: environment, ``~/.aws``, the machine's role.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from goldengrain.gateway.errors import BlobNotFound, StoreError, StoreRefused, StoreUnreachable
from goldengrain.gateway.store.base import (
    NAME,
    Blob,
    ContentStore,
    Digest,
    Entry,
    VerifiedReader,
    digest_of,
    in_order,
    malformed,
    require_size,
    write_hashed,
)
from goldengrain.gateway.store.resuming import Patience, Resuming

_IN_MEMORY = 8 << 20  # bytes of a blob on its way before it goes to a temporary file
_IDLE_PAGES = 1000
"""Pages of a listing in a row that may have no blob."""
_MISSING = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_UNREADABLE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError)
"""What botocore raises where headers or XML are wrong: it reads them as if they could not be."""
T = TypeVar("T")


class S3Store(ContentStore):
    """A store in a bucket. ``client`` is a boto3 client for S3, made from ``endpoint`` and ``region`` without one."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        client: Any = None,
        patience: Callable[[], Patience] = Patience,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._patience = patience
        self._client = client or _client(endpoint, region)

    def put(self, chunks: Iterable[bytes], expected: Digest | None = None, max_size: int | None = None) -> Blob:
        """Store a stream of chunks, see ``ContentStore``."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            blob = write_hashed(chunks, file, expected, max_size)
            file.seek(0)
            _asked(lambda: self._client.upload_fileobj(file, self.bucket, self._key(blob.digest)), blob.digest)
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
        ask = self._client.head_object
        return _asked(lambda: _count(ask(Bucket=self.bucket, Key=self._key(wanted))["ContentLength"]), wanted)

    def has(self, digest: Digest) -> bool:
        """Whether there is a blob of that name (its bytes are checked when they are read)."""
        try:
            self.size(digest)
        except BlobNotFound:
            return False
        return True

    def remove(self, digest: Digest) -> None:
        """Delete a blob. Raises BlobNotFound."""
        wanted = digest_of(digest)
        self.size(wanted)
        _asked(lambda: self._client.delete_object(Bucket=self.bucket, Key=self._key(wanted)), wanted)

    def entries(self) -> Iterator[Entry]:
        """Yield what is in the store, in the order of digests. Raises StoreAnswerMalformed for a listing in none."""
        return in_order(self._listed(), "the service")

    def _listed(self) -> Iterator[Entry]:
        pages, idle = iter(self._client.get_paginator("list_objects_v2").paginate(**self._place)), 0
        while (page := _asked(lambda: self._page(next(pages, None)))) is not None:
            idle = 0 if page else idle + 1
            if idle > _IDLE_PAGES:
                raise malformed("the service", f"{idle} pages of a listing without a blob")
            yield from page

    @property
    def _place(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Prefix": self.prefix}

    def _page(self, page: Any) -> list[Entry] | None:
        if page is None:
            return None
        if "Name" not in page:
            raise ValueError("a listing of no bucket")
        named = ((found["Key"].removeprefix(self.prefix), found) for found in page.get("Contents", ()))
        return [
            Entry(bytes.fromhex(name), _count(found["Size"]), int(found["LastModified"].timestamp()))
            for name, found in named
            if NAME.fullmatch(name)
        ]

    def _open_at(self, digest: bytes, offset: int) -> _Body:
        found = _asked(
            lambda: self._client.get_object(Bucket=self.bucket, Key=self._key(digest), Range=f"bytes={offset}-"), digest
        )
        return _Body(found["Body"])

    def _key(self, digest: bytes) -> str:
        return f"{self.prefix}{digest.hex()}"


class _Body:
    """An object's bytes as they arrive."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int, /) -> bytes:
        return bytes(_asked(lambda: self._body.read(size)))

    def close(self) -> None:
        self._body.close()


def _count(found: int) -> int:
    if found < 0:
        raise ValueError(f"a size of {found} bytes")
    return found


def _client(endpoint: str | None, region: str | None) -> Any:
    try:
        import boto3
    except ImportError as error:
        raise StoreError("stores on S3 need an extra: pip install 'goldengrain[s3]'") from error
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.client("s3", endpoint_url=endpoint, region_name=region)
    except (BotoCoreError, ValueError) as error:
        raise StoreError(f"no such service: {error}; s3://BUCKET/PREFIX?endpoint=URL&region=NAME") from error


def _asked(ask: Callable[[], T], digest: bytes = b"") -> T:
    """Ask the service and translate what it or the way to it says."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        return ask()
    except ClientError as error:
        status = str(error.response.get("Error", {}).get("Code", ""))
        if status in _MISSING and digest:
            raise BlobNotFound(f"no blob {digest.hex()} in the bucket") from error
        if status in _REFUSED:
            raise StoreRefused(f"the service refuses: {error}; check its keys and the bucket's policy") from error
        raise StoreError(f"the service refuses: {error}") from error
    except S3UploadFailedError as error:
        raise StoreError(f"the upload failed: {error}") from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StoreUnreachable(f"the service cannot be reached or broke off: {error}") from error
    except (ResponseParserError, *_UNREADABLE) as error:
        raise malformed("the service", f"{type(error).__name__}: {error}") from error
