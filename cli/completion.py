"""`goldengrain completion`: let a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from goldengrain.cli.command import Command
from goldengrain.cli.output import emit

PROGRAM = "goldengrain"


@click.command(cls=Command, example="goldengrain completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete this command; its start-up file is the place for it."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    script = kind(context.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source()
    emit(context, {"shell": shell, "script": script}, [script])
