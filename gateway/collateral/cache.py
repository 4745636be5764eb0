"""Collateral on disk: fetched when there is none, or when what there is has used up most of its time.

A service that is out of reach, or gives what doesn't verify, costs nothing while the kept collateral is good: that is
handed out, and the failure told (`failure`). Only when it has run out, or there is none, the failure is raised.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from goldengrain.chaincode.protocol.collateral import Collateral, read_collateral
from goldengrain.chaincode.protocol.errors import ContractError, GoldenGrainError
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.gateway.collateral.outlook import outlook
from goldengrain.gateway.errors import PccsMalformed

Fetch = Callable[[bytes, Tee], str]
"""FMSPC and TEE to collateral (JSON): `Pccs.fetch`."""


class Cache:
    """Collateral in `folder`, a file for each platform kind and TEE; written as a whole."""

    def __init__(self, folder: Path, fetch: Fetch) -> None:
        self.folder, self._fetch = folder, fetch
        self.failure: GoldenGrainError | None = None
        """Why the last renewal failed, where one was due and the kept collateral had to do."""

    def get(self, fmspc: bytes, tee: Tee, root: bytes, at: int, *, anew: bool = False) -> Collateral:
        """Return collateral that is good under a root (DER) at a time, fetched where it is missing, due, or `anew`.

        Raises the service's errors, and `CollateralRefused`'s for what it gave, where nothing good is kept.
        """
        self.failure = None
        kept = self.kept(fmspc, tee, root, at)
        if kept is not None and not anew and not outlook(kept, at).due:
            return kept
        try:
            fetched = read_collateral(self._fetch(fmspc, tee), root, at)
            if (fetched.fmspc, fetched.tee) != (fmspc, tee):
                raise PccsMalformed(f"the service gave collateral of {fetched.tee} {fetched.fmspc.hex()}")
            if kept is not None:
                fetched.require_newer(kept.numbers)
        except GoldenGrainError as error:
            if kept is None:
                raise
            self.failure = error
            return kept
        self._write(self._path(fmspc, tee), fetched.text)
        return fetched

    def kept(self, fmspc: bytes, tee: Tee, root: bytes, at: int) -> Collateral | None:
        """Return what is on disk, where it is good at a time."""
        with contextlib.suppress(OSError, UnicodeDecodeError, ContractError):
            return read_collateral(self._path(fmspc, tee).read_text(), root, at)
        return None

    def _path(self, fmspc: bytes, tee: Tee) -> Path:
        return self.folder / f"{tee.lower()}-{fmspc.hex()}.json"

    def _write(self, path: Path, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.folder)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).replace(path)
