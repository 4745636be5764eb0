"""Find Fabric's own programs, `peer` and `orderer`, and ask which release they are of.

A development build does not say its release; whether it is of Fabric 3 is read from the list of modules that Go puts
into every program: only Fabric 3 orders by the SmartBFT library.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import FabricProgramsMissing, FabricTooOld

_OLDEST = (2, 5)
_FABRIC_3 = b"dep\tgithub.com/hyperledger-labs/SmartBFT\t"
_VERSION = re.compile(r"^\s*Version:\s*v?(\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class FabricPrograms:
    """Paths of Fabric's programs and their release: major and minor, (0, 0) where it is not known.

    Of a `development` build the release is (3, 0) or (2, 5), by what is in it.
    """

    peer: Path
    orderer: Path
    version: tuple[int, int]
    development: bool = False

    @property
    def knows_fabric_3(self) -> bool:
        """Whether SmartBFT and the channel capability V3_0 are known to it; an unknown release is taken for new."""
        return not (0, 0) < self.version < (3, 0)

    @property
    def release(self) -> str:
        """For messages: `Fabric 2.5`, `Fabric 3.0 (development build)`."""
        number = ".".join(map(str, self.version)) if self.version != (0, 0) else "of unknown release"
        return f"Fabric {number}" + (" (development build)" if self.development else "")


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
    if match is None:
        return FabricPrograms(peer, orderer, (3, 0) if _is_fabric_3(orderer) else _OLDEST, development=True)
    programs = FabricPrograms(peer, orderer, (int(match[1]), int(match[2])))
    if programs.version < _OLDEST:
        raise FabricTooOld(f"{peer} is {programs.release}; 2.5 or newer is needed")
    return programs


def _is_fabric_3(orderer: Path) -> bool:
    """Whether an orderer that does not say its release was built with SmartBFT's library."""
    with orderer.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_FABRIC_3) >= 0


def _absolute(path: str) -> Path:
    """Nodes run in folders of their own."""
    return Path(path).absolute()
