"""What every command knows before it starts: home folder, identity, form of the output.

``--home``, ``--as``, ``--json`` and ``--traceback`` may stand before or after a command; the last one wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

DEFAULT_HOME = Path(".goldengrain")


@dataclass
class Settings:
    """What the shared options say, filled in while the command line is read."""

    home: Path = DEFAULT_HOME
    identity: str | None = None
    json: bool = False
    traceback: bool = False


def settings(context: click.Context) -> Settings:
    """The settings of this invocation."""
    return context.ensure_object(Settings)


def _sets(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def store(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            setattr(settings(context), name, value)

    return store


def shared_options() -> list[click.Option]:
    """The options that every command and group takes."""
    return [
        click.Option(
            ["--home"],
            type=click.Path(path_type=Path, file_okay=False),
            envvar="GOLDENGRAIN_HOME",
            metavar="DIR",
            help="Folder of network, keys and wallet.  [default: ./.goldengrain]",
            expose_value=False,
            callback=_sets("home"),
        ),
        click.Option(
            ["--as"],
            metavar="IDENTITY",
            help="Wallet label of who acts (`goldengrain wallet list`); without it, the context's.",
            expose_value=False,
            callback=_sets("identity"),
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Print one JSON object on standard output and nothing else.",
            expose_value=False,
            callback=_sets("json"),
        ),
        click.Option(
            ["--traceback"],
            is_flag=True,
            help="Show where an error came from.",
            expose_value=False,
            callback=_sets("traceback"),
        ),
    ]
