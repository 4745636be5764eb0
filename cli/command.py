"""Commands and groups of ``goldengrain``: shared options, an example in each help text, coroutines as callbacks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any

import click

from goldengrain.cli.settings import shared_options


class Command(click.Command):
    """A command that takes the shared options and shows an example below its options."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        kwargs["params"] = [*(kwargs.get("params") or []), *shared_options()]
        kwargs["epilog"] = f"\b\nExample:\n  {example}"
        super().__init__(*args, **kwargs)


class Group(click.Group):
    """A group that takes the shared options and makes commands of this module's kind."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["params"] = [*(kwargs.get("params") or []), *shared_options()]
        super().__init__(*args, **kwargs)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the whole first sentence of each."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=200)) for name, one in commands if one])


class LazyGroup(Group):
    """A group whose commands are imported when they are asked for, so that none pays for what the others import.

    ``modules`` names the module of each command; the command is the module's attribute of the same name.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in self._modules:
            return None
        found = getattr(import_module(self._modules[cmd_name]), cmd_name)
        if not isinstance(found, click.Command):
            raise TypeError(f"{cmd_name} of {self._modules[cmd_name]} is not a command")
        return found


def command(group: click.Group, *, example: str, name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Make a function or coroutine function a command of ``group``; its docstring is the help text.

    The callback gets the :class:`click.Context` first, then the command's parameters by name.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        @wraps(function)
        @click.pass_context
        def call(context: click.Context, /, **parameters: Any) -> Any:
            result = function(context, **parameters)
            return asyncio.run(result) if inspect.iscoroutine(result) else result

        made = click.command(cls=Command, name=name, example=example)(call)
        group.add_command(made)
        return made

    return decorate
