"""Find Fabric's own programs, `peer` and `orderer`, and ask which release they are of."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import FabricProgramsMissing, FabricTooOld

_OLDEST = (2, 5)
_VERSION = re.compile(r"^\s*Version:\s*v?(\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class FabricPrograms:
    """Paths of Fabric's programs and their release; (0, 0) for a development build that does not say."""

    peer: Path
    orderer: Path
    version: tuple[int, int]

    @property
    def channel_capability(self) -> str:
        """The newest channel capability that this release knows."""
        return "V2_0" if (0, 0) < self.version < (3, 0) else "V3_0"


async def find_programs(folder: Path | None = None) -> FabricPrograms:
    """Find `peer` and `orderer` in a folder, else in FABRIC_BIN, else on PATH.

    Raises:
        FabricProgramsMissing: if one is not there or does not run.
        FabricTooOld: if it is older than 2.5.

    """
    where = str(folder) if folder else os.environ.get("FABRIC_BIN") or None
    found = {name: shutil.which(name, path=where) for name in ("peer", "orderer")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        place = f"in {where}" if where else "on PATH"
        raise FabricProgramsMissing(
            f"Fabric's program {' and '.join(missing)} was not found {place}; set FABRIC_BIN to the folder that holds "
            "peer and orderer (2.5 or newer), or use the embedded runtime"
        )
    peer, orderer = (_absolute(str(found[name])) for name in ("peer", "orderer"))
    try:
        process = await asyncio.create_subprocess_exec(
            peer, "version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
    except OSError as error:
        raise FabricProgramsMissing(f"{peer} does not run: {error}; build or fetch it for this machine") from error
    match = _VERSION.search(output.decode(errors="replace"))
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if (0, 0) < version < _OLDEST:
        raise FabricTooOld(f"{peer} is Fabric {version[0]}.{version[1]}; 2.5 or newer is needed")
    return FabricPrograms(peer, orderer, version)


def _absolute(path: str) -> Path:
    """Nodes run in folders of their own."""
    return Path(path).absolute()
