"""How an enclave gets its quotes, is reached, and what it has to prove: ``HOME/enclaves/NAME/enclave.json``.

Without the file the enclave is simulated and runs as a child process of this installation. With it::

    {"quotes": "simulated-tdx"}
    {"quotes": "gramine", "address": "tcp://127.0.0.1:7400", "measurements": ["3f…"], "statuses": ["UpToDate"],
     "collateral": "collateral.json"}

A path is relative to the file. ``collateral`` is needed for quotes of real hardware, to know that the enclave which
answers is the one that is meant, before anything is asked of it; ``goldengrain enclave collateral fetch`` writes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.quote_rules import AllOf, MeasurementIn, NotDebug, Rule, StatusIn
from goldengrain.cli.errors import FileRefused
from goldengrain.cli.founding import root_folder
from goldengrain.enclave.client import Reach
from goldengrain.enclave.measurement import simulated_measurement
from goldengrain.enclave.quoting import DevelopmentRoot, SourceKind
from goldengrain.enclave.quoting.bodies import measurement_of
from goldengrain.enclave.ratls import Trust
from goldengrain.enclave.verify import INTEL, root_certificate
from goldengrain.network.home import Home

FILE = "enclave.json"
_FIELDS = {"quotes", "address", "measurements", "statuses", "collateral"}


@dataclass(frozen=True)
class EnclaveConfig:
    """The file's content; ``address`` None is the Unix socket ``socket`` in the enclave's folder."""

    folder: Path
    quotes: SourceKind = SourceKind.SIMULATED
    address: str | None = None
    measurements: tuple[bytes, ...] = ()
    statuses: tuple[str, ...] = ("UpToDate",)
    collateral: Path | None = None

    @property
    def socket(self) -> str:
        """Where it answers."""
        return self.address or str((self.folder / "socket").absolute())

    def reach(self, home: Home) -> Reach:
        """How to reach it. Raises FileRefused where the configuration lacks what its kind of quotes needs."""
        clock = LedgerClock(home.clock_file)
        address: Path | str = self.address or self.folder / "socket"
        if self.quotes.simulated:
            return Reach(address, self._simulated(home), clock)
        if self.collateral is None or not self.measurements:
            raise FileRefused(f"{self.folder / FILE} names no measurements or no collateral; {self.quotes} needs both")
        collateral = _text(self.folder / self.collateral)
        try:
            trust = Trust((root_certificate(INTEL, collateral),), self._rules(self.measurements))
        except ContractError as error:
            raise FileRefused(f"{self.folder / self.collateral}: {error}") from error
        return Reach(address, trust, clock, collateral)

    def _simulated(self, home: Home) -> Trust:
        """Believe this installation's own code under this folder's development root."""
        tee = Tee.SGX if self.quotes is SourceKind.SIMULATED else Tee.TDX
        root = DevelopmentRoot.load(root_folder(home)).root_der
        return Trust((root,), self._rules(self.measurements or (measurement_of(tee, simulated_measurement()),)))

    def _rules(self, measurements: tuple[bytes, ...]) -> Rule:
        return AllOf((StatusIn(self.statuses), NotDebug(), MeasurementIn(measurements)))


def load(folder: Path) -> EnclaveConfig:
    """Read the configuration of the enclave in ``folder``. Raises FileRefused."""
    path = folder / FILE
    if not path.exists():
        return EnclaveConfig(folder)
    try:
        document = json.loads(_text(path))
        if not isinstance(document, dict) or set(document) - _FIELDS:
            raise ValueError(f"it is an object of {', '.join(sorted(_FIELDS))}")
        return EnclaveConfig(folder, **_values(document))
    except (ValueError, TypeError, RecursionError) as error:
        raise FileRefused(f"{path} configures no enclave: {error}") from error


def save(folder: Path, quotes: SourceKind) -> None:
    """Write that the enclave in ``folder`` gets its quotes there; the rest of an existing file stays."""
    path = folder / FILE
    document = json.loads(_text(path)) if path.exists() else {}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {"quotes": quotes.value}, indent=2) + "\n")


def _values(document: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "quotes" in document:
        values["quotes"] = SourceKind(document["quotes"])
    if "address" in document:
        values["address"] = str(document["address"])
    if "measurements" in document:
        values["measurements"] = tuple(bytes.fromhex(one) for one in document["measurements"])
    if "statuses" in document:
        values["statuses"] = tuple(str(one) for one in document["statuses"])
    if "collateral" in document:
        values["collateral"] = Path(document["collateral"])
    return values


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:  # a name with a null byte, content that is no text
        raise FileRefused(f"{path} cannot be read: {error}") from error
