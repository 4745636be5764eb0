"""What a benchmark hands back, and how it is shown: a small table, or JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Value = str | int | float | None


@dataclass
class Report:
    """One benchmark's figures; all rows have the same columns. Units stand in the columns' names."""

    name: str
    rows: list[Mapping[str, Value]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """What had to hold and didn't; with any, the program ends with exit code 1."""

    def to_json(self) -> dict[str, object]:
        """The same for machines."""
        rows = [dict(row) for row in self.rows]
        return {"benchmark": self.name, "rows": rows, "notes": self.notes, "failures": self.failures}

    def table(self) -> str:
        """The figures as lines of aligned columns."""
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        cells = [columns, *([_shown(row.get(column)) for column in columns] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
        lines.insert(1, "  ".join("-" * width for width in widths))
        failures = [f"FAILED: {failure}" for failure in self.failures]
        return "\n".join([self.name, *(line.rstrip() for line in lines), *self.notes, *failures])


def machine() -> dict[str, Value]:
    """Where the figures are from."""
    load = os.getloadavg()[0]
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_before": round(load, 2),
    }


def busy() -> bool:
    """Whether more wants to run than there are processors: then the clock measures the others."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"


def _shown(value: Value) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 10
        else str(round(value) if isinstance(value, float) else value)
    )
