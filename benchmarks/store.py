"""Verified reading of a blob that is larger than what may be held of it, from a local disk's cache.

Each reading is a process of its own, so that its memory can be told: how much more it has held at most than before the
first byte. Enforced: the folder streams verified bytes at 500 MB/s or more in the median, and no reading grows by more
than 64 MB. Where more wants to run than there are processors, the rate by processor time decides. Beside it, for
comparison: the bare SHA-256 of the same bytes, a copy into a file, and the way through our server (gRPC over TLS, both
ends on this machine).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.progress import bar
from benchmarks.report import Report, busy
from goldengrain.gateway.store import CHUNK, FolderStore
from goldengrain.gateway.store.members import Members
from goldengrain.gateway.store.remote import RemoteStore
from goldengrain.gateway.store.server import Rights, StoreServer
from goldengrain.gateway.trust import Msp
from goldengrain.network.certificates import CertificateAuthority

SIZE = 2 << 30
ROUNDS = 5
LEAST = 500.0
"""MB/s (10⁶ bytes) of verified reading."""
MOST_GROWTH = 64.0
"""MB that a reading may hold."""


@dataclass(frozen=True)
class _Place:
    """A blob in a folder, and how to reach the server in front of it."""

    folder: str
    digest: bytes
    address: str = ""
    tls_root: bytes = b""
    certificate: bytes = b""
    key: bytes = b""


async def run(seconds: float, size: int = SIZE, rounds: int = ROUNDS) -> Report:
    """`seconds` does not matter here."""
    return await asyncio.to_thread(_run, size, rounds)


def _run(size: int, rounds: int) -> Report:
    report = Report("store")
    with tempfile.TemporaryDirectory() as folder, bar() as shown:
        store = FolderStore(folder)
        began = time.monotonic()
        blob = store.put(_random(size))
        report.notes.append(f"a blob of {size >> 20} MiB, put at {size / 1e6 / (time.monotonic() - began):.0f} MB/s")
        with _served(store, blob.digest) as place:
            found: dict[str, list[_Measured]] = {name: [] for name in _WAYS}
            for number in range(rounds):
                for name, way in _WAYS.items():
                    found[name].append(_apart(way, place))
                shown("reading", number + 1, rounds)
    for name, measured in found.items():
        rate = size / 1e6 / median(one.seconds for one in measured)
        cpu_rate = size / 1e6 / median(one.cpu_s for one in measured)
        growth = median(one.grew_mb for one in measured)
        row = {"MB_per_s": round(rate, 0), "MB_per_cpu_s": round(cpu_rate, 0), "grew_MB": round(growth, 1)}
        report.rows.append({"way": name, **row, "rounds": rounds})
        if name == FOLDER and (cpu_rate if busy() else rate) < LEAST:
            report.failures.append(f"{name}: {rate:.0f} MB/s, {LEAST:.0f} are wanted")
        if growth > MOST_GROWTH:
            report.failures.append(f"{name}: memory grew by {growth:.0f} MB, {MOST_GROWTH:.0f} are allowed")
    return report


def _random(size: int) -> Iterator[bytes]:
    block = os.urandom(CHUNK)
    for number in range(size // CHUNK):
        yield number.to_bytes(8, "big") + block[8:]


@dataclass(frozen=True)
class _Measured:
    seconds: float
    cpu_s: float
    grew_mb: float


def _apart(way: Callable[[_Place], None], place: _Place) -> _Measured:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, way, place).result()


def _measured(way: Callable[[_Place], None], place: _Place) -> _Measured:
    """What a way takes, and by how much this process grew meanwhile."""
    held, began, began_cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic(), time.process_time()
    way(place)
    seconds, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
    return _Measured(seconds, cpu_s, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) * 1024 / 1e6)


def _bare(place: _Place) -> None:
    hashed, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with (Path(place.folder) / place.digest.hex()).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hashed.update(buffer[:count])
    assert hashed.digest() == place.digest


def _folder(place: _Place) -> None:
    with FolderStore(place.folder).open(place.digest) as reader:
        for _ in reader:
            pass


def _copied(place: _Place) -> None:
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        FolderStore(place.folder).fetch(place.digest, Path(folder) / "copy")


def _remote(place: _Place) -> None:
    client = RemoteStore(place.address, place.tls_root, place.certificate, place.key)
    with client, client.open(place.digest) as reader:
        for _ in reader:
            pass


FOLDER = "folder, verified"
_WAYS = {"bare SHA-256": _bare, FOLDER: _folder, "folder, verified, into a file": _copied, "server, verified": _remote}


@contextmanager
def _served(store: FolderStore, digest: bytes) -> Iterator[_Place]:
    authority = CertificateAuthority.create("ca.org1.example.com", "org1.example.com")
    user, host = authority.issue_identity("User1", "client"), authority.issue_tls("store", ["localhost", "127.0.0.1"])
    members = Members([Msp("Org1MSP", (authority.pair.certificate,))])
    private = host.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own = user.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    root = authority.pair.certificate_pem
    with StoreServer(store, members, Rights("Org1MSP"), host.certificate_pem, private, "127.0.0.1:0") as server:
        yield _Place(str(store.folder), digest, server.address, root, user.certificate_pem, own)
