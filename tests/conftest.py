"""What every test can use: things that a tier needs, counted aloud where they are missing.

A test that needs something which a machine may lack (real Fabric programs, another language's tool chain) asks for it
with :func:`need`. What is missing fails the test, unless its name stands in ``GOLDENGRAIN_ALLOW_SKIP``.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from goldengrain.network.programs import find_programs

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
_skipped: Counter[str] = Counter()


def need(name: str, found: object, how: str) -> None:
    """Go on if ``found``; else fail, or skip where ``GOLDENGRAIN_ALLOW_SKIP`` (comma-separated names) allows it."""
    if found:
        return
    allowed = {part.strip() for part in os.environ.get("GOLDENGRAIN_ALLOW_SKIP", "").split(",")}
    if name in allowed:
        pytest.skip(f"{name} not found, and GOLDENGRAIN_ALLOW_SKIP allows that")
    pytest.fail(f"this test needs {name}: {how}; or allow its absence with GOLDENGRAIN_ALLOW_SKIP={name}")


@pytest.fixture(scope="session")
def fabric_bin() -> Path:
    """The folder with Fabric's own ``peer`` and ``orderer``."""
    folder = os.environ.get("FABRIC_BIN", "")
    programs = [shutil.which(name, path=folder) for name in ("peer", "orderer")] if folder else []
    need("fabric", programs and all(programs), "set FABRIC_BIN to the folder that holds peer and orderer")
    return Path(folder)


async def need_release(fabric_bin: Path, release: tuple[int, int], what: str) -> None:
    """Go on if Fabric's programs are of a release that has `what`; else skip, which the summary counts aloud."""
    found = await find_programs(fabric_bin)
    if found.version < release:
        pytest.skip(f"{found.release} has no {what}: that needs Fabric {release[0]}.{release[1]}")


@pytest.fixture(scope="session")
def shared() -> Path | None:
    """The recorded vectors beside the checkout, where they exist; tests mean something without them."""
    return SHARED if SHARED.is_dir() else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    if config.getoption("dist") != "loadfile":
        return None
    from tests.sharing import Sharing

    return Sharing(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _skipped[reason.removeprefix("Skipped: ")] += 1
    for reason, count in sorted(_skipped.items()):
        terminalreporter.write_line(f"NOT COVERED by this run: {count} test(s): {reason}", yellow=True)
