"""Pauses between tries of the same thing: short at first, each twice as long, never longer than a bound."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_JITTER = random.SystemRandom()


@dataclass
class Backoff:
    """Seconds to wait before the next try; half of each is left to chance, so that many clients don't come at once."""

    first: float = 0.1
    most: float = 5.0
    _next: float = field(default=0.0, init=False)

    def reset(self) -> None:
        """Begin again with the first pause: it worked."""
        self._next = 0.0

    def pause(self) -> float:
        """Return how long to wait now."""
        now = self._next or self.first
        self._next = min(2 * now, self.most)
        return now * (0.5 + _JITTER.random() / 2)


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a broken stream is opened again: pauses from ``first`` to ``most`` seconds, given up after ``patience``.

    ``patience`` counts from the break; what arrives, or a stream that stays open, ends the count. Zero: never again.
    """

    first: float = 0.1
    most: float = 5.0
    patience: float = 60.0

    def backoff(self) -> Backoff:
        """Return the pauses, from the first."""
        return Backoff(self.first, self.most)
