"""How long each step of a transaction may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for each step. A step that takes longer fails; see ``errors`` for what then may still commit."""

    evaluate: float = 10.0
    endorse: float = 30.0
    submit: float = 10.0
    commit: float = 60.0
    deliver: float = 30.0
