"""The measurement of the simulated enclave: what stands for MRENCLAVE where there is no SGX.

It is the SHA-256 over the code that runs in the enclave: every Python file of `goldengrain.enclave` (without `models`,
which trains and runs outside) and of `goldengrain.chaincode.protocol`, by name and content in sorted order. The same
files give the same measurement on any machine; a changed line gives another. Nothing enforces it: it is `simulated`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import goldengrain.chaincode.protocol
import goldengrain.enclave

_TAG = b"golden-grain/simulated-measurement/v1"
_OUTSIDE = ("models",)


@cache
def simulated_measurement() -> bytes:
    """Return the measurement of the code as it lies on disk when first asked, 32 bytes."""
    return measure(measured_files())


def measured_files() -> dict[str, Path]:
    """Return the measured files by the names under which they enter the measurement."""
    found: dict[str, Path] = {}
    for package in (goldengrain.enclave, goldengrain.chaincode.protocol):
        for folder in package.__path__:
            for path in _code(Path(folder)):
                found[f"{package.__name__}/{path.relative_to(folder).as_posix()}"] = path
    return found


def measure(files: dict[str, Path]) -> bytes:
    """Return the digest of files by name: each name's and each content's SHA-256, in the order of the names."""
    digest = hashlib.sha256(_TAG)
    for name in sorted(files):
        digest.update(hashlib.sha256(name.encode()).digest())
        digest.update(hashlib.sha256(files[name].read_bytes()).digest())
    return digest.digest()


def _code(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] not in _OUTSIDE:
            yield path
