"""What a person or a script sees: tables that fit a terminal, one JSON object, errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from goldengrain.cli.settings import Settings, settings

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def console(context: click.Context) -> Console:
    """Where a person's output goes: standard error with ``--json``, so that standard output holds the object alone."""
    return Console(stderr=settings(context).json, highlight=False)


def emit(context: click.Context, value: Mapping[str, Any], lines: Iterable[str | Text | Table] = ()) -> None:
    """End a command: ``value`` as one JSON object with ``--json``, ``lines`` for a person without.

    Only a ``Text`` has colours; a ``str`` is shown as it is, since much of it comes from others.
    """
    if settings(context).json:
        sys.stdout.write(json.dumps(value, indent=2 if sys.stdout.isatty() else None) + "\n")
        return
    out = console(context)
    for line in lines:
        out.print(plain(line) if isinstance(line, str) else line, soft_wrap=not isinstance(line, Table))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose columns with numbers are set to the right; cells are as ``emit``'s lines."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    made = Table(title=plain(title), title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(texts) and all(_is_number(row[index].plain) for row in texts)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in texts:
        made.add_row(*row)
    return made


def plain(text: str) -> Text:
    """A text that is shown as it is, whoever wrote it: without markup, and with nothing that a terminal would obey."""
    return Text(printable(text))


def printable(text: str) -> str:
    """Return a text with its control characters written out, but for line ends and tabs."""
    return text.translate(_CONTROLS)


def _cell(cell: object) -> Text:
    return cell if isinstance(cell, Text) else plain("" if cell is None else str(cell))


def _is_number(text: str) -> bool:
    return not text or text.replace(",", "").replace(".", "").isdigit()


def print_error(chosen: Settings, code: str, message: str) -> None:
    """An error on standard error: its stable code and what to do next."""
    if chosen.json:
        sys.stderr.write(json.dumps({"error": {"code": code, "message": message}}) + "\n")
    else:
        Console(stderr=True, highlight=False).print(f"[bold red]error[/] [bold]{code}[/]: ", end="")
        sys.stderr.write(printable(message) + "\n")
