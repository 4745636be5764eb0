"""The reviewed list of known differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("differences.yaml")


@dataclass(frozen=True)
class Known:
    """Why a case differs; whether chance decides if it does; whether it is played at all."""

    reason: str
    sometimes: bool
    played: bool


@cache
def _read() -> Any:
    return yaml.safe_load(FILE.read_text())


def of_shim() -> tuple[dict[str, str], dict[str, str]]:
    """Why transactions run otherwise on our shim: by operation of the script, and by case or `CASE/N`."""
    return _read()["shim"]["operations"], _read()["shim"]["cases"]


@cache
def known() -> Mapping[str, Known]:
    """Known differences by case."""
    found: dict[str, Known] = {}
    for group in _read()["network"]:
        for case in group["cases"]:
            assert case not in found, f"{case} is listed twice"
            found[case] = Known(
                " ".join(group["reason"].split()), group.get("sometimes", False), group.get("played", True)
            )
    return found


def left_out() -> frozenset[str]:
    """Cases that can't be played."""
    return frozenset(case for case, entry in known().items() if not entry.played)


def surprises(results: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Cases that differ and aren't listed, and listed ones that don't differ."""
    found = {case: differences for case, differences in results.items() if differences and case not in known()}
    for case, entry in known().items():
        if case not in results:
            if entry.played:
                found[case] = ["is listed, but no such case is played: strike it"]
        elif not results[case] and not entry.sometimes:
            found[case] = ["answers as recorded now: strike it from differences.yaml"]
    return found
