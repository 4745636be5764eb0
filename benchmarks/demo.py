"""`goldengrain demo --json`, from the first byte of Python to the last check, and what it says of its own parts."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time

from benchmarks.report import Report

_ROUNDS = 3


async def run(seconds: float) -> Report:
    """`seconds` does not matter here."""
    report = Report("demo")
    for number in range(1, _ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "goldengrain.cli.main", "demo", "--json", "--home", folder),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            output, said = await process.communicate()
            taken = time.monotonic() - began
        if process.returncode != 0:
            raise RuntimeError(f"goldengrain demo ended with {process.returncode}: {said.decode()}")
        parts = json.loads(output)["timings_s"]
        report.rows.append({"round": number, "process_s": round(taken, 2)} | {f"{k}_s": v for k, v in parts.items()})
    return report
