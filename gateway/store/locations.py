"""Where a store is, as a URL.

| URL | store |
| --- | --- |
| a path, or `file:PATH` | a folder |
| `s3://BUCKET/PREFIX?endpoint=URL&region=NAME` | a bucket of an S3-compatible service; both parameters may be missing |
| `grpcs://HOST:PORT?ca=FILE&name=NAME` | our own server; `ca` its TLS authority, `name` the one its certificate bears |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from goldengrain.gateway.errors import StoreError
from goldengrain.gateway.store.base import ContentStore
from goldengrain.gateway.store.folder import FolderStore


@dataclass(frozen=True)
class Caller:
    """Who calls a server: certificate and private key, PEM; and the TLS authorities to trust without a ``ca``."""

    certificate: bytes
    key: bytes
    tls_root: bytes = b""


def open_store(url: str, caller: Caller | None = None) -> ContentStore:
    """Return the store at a URL. Raises StoreError for one that cannot be read; nothing is asked yet."""
    try:
        if b"\0" in os.fsencode(url):
            raise ValueError("it has a NUL")
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    except ValueError as error:
        raise StoreError(f"{url!r} is no URL of a store: {error}") from error
    if parts.scheme == "s3":
        from goldengrain.gateway.store.s3 import S3Store

        _require_known(url, query, {"endpoint", "region"})
        if not parts.netloc:
            raise StoreError(f"{url} names no bucket: s3://BUCKET/PREFIX")
        return S3Store(parts.netloc, parts.path.lstrip("/"), query.get("endpoint"), query.get("region"))
    if parts.scheme == "grpcs":
        _require_known(url, query, {"ca", "name"})
        return _remote(url, parts.netloc, query, caller)
    if parts.scheme not in ("", "file"):
        raise StoreError(f"{url}: stores are a path, file:, s3: or grpcs:, not {parts.scheme}:")
    try:
        return FolderStore(parts.path if parts.scheme else url)
    except (OSError, ValueError) as error:
        raise StoreError(f"{url!r} cannot be a folder: {error}") from error


def _remote(url: str, address: str, query: dict[str, str], caller: Caller | None) -> ContentStore:
    from goldengrain.gateway.store.remote import RemoteStore

    if not address:
        raise StoreError(f"{url!r} names no server: grpcs://HOST:PORT")
    if caller is None:
        raise StoreError(f"{url} wants to know who calls: give certificate and key of a wallet entry")
    try:
        tls_root = Path(query["ca"]).read_bytes() if "ca" in query else caller.tls_root
    except (OSError, ValueError) as error:
        raise StoreError(f"{url}: cannot read the TLS authority: {error}") from error
    if not tls_root:
        raise StoreError(f"{url} needs the server's TLS authority: add ?ca=FILE")
    try:
        return RemoteStore(address, tls_root, caller.certificate, caller.key, query.get("name"))
    except ValueError as error:
        raise StoreError(f"{url!r} names no server: {error}; grpcs://HOST:PORT") from error


def _require_known(url: str, query: dict[str, str], known: set[str]) -> None:
    if unknown := sorted(query.keys() - known):
        raise StoreError(f"{url}: no parameter {unknown[0]}; there are {', '.join(sorted(known))}")
