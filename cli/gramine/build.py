"""Gather the measured files into a folder, render the manifest, and write down what the measurement is made of.

::

    OUTPUT/app/…                                      what is measured: interpreter, libraries, packages, code
    OUTPUT/goldengrain-enclave.manifest.template      for `gramine-manifest`, then `gramine-sgx-sign`
    OUTPUT/measured.json                              every measured file with its SHA-256, and the manifest's

The same inputs give the same bytes in every folder and on every machine: no path, time or order of the host's gets in.
MRENCLAVE itself is computed by `gramine-sgx-sign`, since Gramine's loader is part of it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from goldengrain.chaincode.protocol import canonical
from goldengrain.cli.errors import FileRefused

MANIFEST = "goldengrain-enclave.manifest.template"
MEASURED = "measured.json"
GIB = 1024**3
BASE_MEMORY = 2 * GIB
"""Bytes for Python, its libraries and a waiting worker."""
BASE_THREADS, THREADS_A_JOB = 16, 4
"""Gramine's own helpers, asyncio's pool and the server; for each job its threads here and in its worker."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Terms:
    """What threads and memory follow from: jobs at once, bytes that one may need (the limits of the tasks served)."""

    jobs: int = 1
    memory: int = 512 * 1024**2
    port: int = 7400

    @property
    def enclave_size(self) -> int:
        """Bytes of the enclave: a power of two, as SGX wants it."""
        return int(1 << (BASE_MEMORY + self.jobs * self.memory - 1).bit_length())

    @property
    def threads(self) -> int:
        """Threads that Gramine has to have room for."""
        return BASE_THREADS + self.jobs * THREADS_A_JOB


@dataclass(frozen=True)
class Built:
    """A built folder: the SHA-256 of each measured file by its path in it, the manifest's, and of both together."""

    folder: Path
    files: dict[str, str]
    manifest: str
    digest: str


def build(output: Path, files: Mapping[str, Path], terms: Terms) -> Built:
    """Build into ``output``, which must be empty; ``files`` are the measured ones by their path in it.

    Raises:
        FileRefused: where ``output`` holds something, or a file can't be copied.

    """
    if output.exists() and any(output.iterdir()):
        raise FileRefused(f"{output} is not empty; name a new folder")
    hashes = {}
    for name in sorted(files):
        hashes[name] = _copied(files[name], output / name)
    text = render(hashes, terms)
    for folder in ("state", "host/exchange"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    (output / MANIFEST).write_text(text, encoding="utf-8")
    built = Built(output, hashes, hashlib.sha256(text.encode()).hexdigest(), _digest(hashes, text))
    document = {"digest": built.digest, "manifest": built.manifest, "files": hashes}
    (output / MEASURED).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return built


def render(hashes: Mapping[str, str], terms: Terms) -> str:
    """The manifest for measured files (path to SHA-256 in hex). Raises FileRefused for paths that TOML can't hold."""
    lines = []
    for name in sorted(hashes):
        if any(ord(one) < 0x20 or one in '"\\{}' for one in name):
            raise FileRefused(f"{name!r} can't be named in a manifest; leave it out")
        lines.append(f'  {{ uri = "file:{name}", sha256 = "{hashes[name]}" }},\n')
    template = Template((Path(__file__).parent / "enclave.manifest.template").read_text("utf-8"))
    return template.substitute(
        port=terms.port,
        jobs=terms.jobs,
        memory=_size(terms.memory),
        enclave_size=_size(terms.enclave_size),
        threads=terms.threads,
        trusted_files="".join(lines),
    )


def _size(count: int) -> str:
    """Bytes as Gramine writes them: whole G or M, rounded up."""
    return f"{count // GIB}G" if count % GIB == 0 else f"{-(-count // 1024**2)}M"


def _copied(source: Path, target: Path) -> str:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.stat().st_mode & 0o111 else 0o644)
        hashed = hashlib.sha256()
        with target.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
    except OSError as error:
        raise FileRefused(f"{source} can't be copied: {error.strerror}") from error
    return hashed.hexdigest()


def _digest(hashes: Mapping[str, str], manifest: str) -> str:
    """One digest of all that goes in, for comparing two builds at a glance."""
    document = {"files": dict(hashes), "manifest": hashlib.sha256(manifest.encode()).hexdigest()}
    return hashlib.sha256(canonical.dumps(document)).hexdigest()
