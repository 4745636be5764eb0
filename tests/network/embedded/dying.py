"""Run a program that kills itself at a place in its code: `python -m tests.network.embedded.dying MODULE ARGUMENT…`.

DIE_AT names the place, `MODULE:FUNCTION before N` or `… after N`: SIGKILL comes before the N-th call of that function,
or once that call has done its work. Without DIE_AT the program simply runs.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any


def arm(place: str) -> None:
    """Have this process die there."""
    where, when, count = place.split()
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    calls = itertools.count(1)

    def reached(now: str) -> None:
        if now == when and next(calls) == int(count):
            print(f"DIED {place}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, _watched(getattr(owner, name), reached))


def _watched(function: Callable[..., Any], reached: Callable[[str], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        reached("before")
        result = function(*args, **options)
        reached("after")
        return result

    @functools.wraps(function)
    async def call_async(*args: Any, **options: Any) -> Any:
        reached("before")
        result = await function(*args, **options)
        reached("after")
        return result

    return call_async if inspect.iscoroutinefunction(function) else call


if __name__ == "__main__":
    if os.environ.get("DIE_AT"):
        arm(os.environ["DIE_AT"])
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
