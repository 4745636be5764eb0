"""Progress bars for what takes over a second; on standard error with ``--json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from goldengrain.cli.output import console


@contextmanager
def share_progress(context: click.Context, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much of something is done; yields what to tell that, and of how much. Nothing without a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    out = console(context)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        shown = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(shown, completed=done, total=total)


@contextmanager
def byte_progress(context: click.Context, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar while bytes go by; yields what to tell how many are done. Nothing is shown without a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    out = console(context)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        shown = progress.add_task(what, total=total)
        yield lambda done: progress.update(shown, completed=done)
