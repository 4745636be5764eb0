"""What a person sees while the demonstration runs: one line per act, with the seconds that it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Acts:
    """Announces acts on a console and remembers how long they took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def act(self, title: str, key: str | None = None) -> Iterator[None]:
        """Announce an act; its duration is kept under ``key``."""
        begun = time.perf_counter()
        with self._console.status(title):
            yield
        took = time.perf_counter() - begun
        if key is not None:
            self.seconds[key] = self.seconds.get(key, 0.0) + took
        self._console.print(f"[green]✓[/] {title} [dim]{took:.2f} s[/]", soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something in between."""
        self._console.print(f"  {text}", soft_wrap=True)

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begun
