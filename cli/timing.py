"""Ledger time at the command line: durations such as ``90m``, moments as people read them, W kept before deadlines."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

from goldengrain.cli.errors import DeadlineNear

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
MAX_DURATION = 10 * 365 * 86_400


class Duration(click.ParamType[int]):
    """A duration: a number of seconds, or numbers with s, m, h, d (``1h30m``)."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds; fails on anything else."""
        text = str(value).strip()
        if text.isascii() and text.isdecimal() and len(text) < 12:
            seconds = int(text)
        elif text and _DURATION.sub("", text) == "":
            seconds = sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
        else:
            self.fail(f"{text!r} is no duration; write 90, 30s, 15m, 2h, 1h30m or 7d", param, ctx)
        if not 1 <= seconds <= MAX_DURATION:
            self.fail(f"{text!r} is not between a second and ten years", param, ctx)
        return seconds


DURATION = Duration()


def require_time(now: int, deadline: int, window: int, what: str) -> None:
    """Refuse to send what a peer whose clock is up to W ahead might find late.

    Raises:
        DeadlineNear: where a deadline is less than W seconds away, or over.

    """
    left = deadline - now
    if left < 0:
        raise DeadlineNear(f"{what} ended at {moment(deadline)}, {-left} s ago")
    if left < window:
        raise DeadlineNear(
            f"{what} ends at {moment(deadline)}, in {left} s; clients stop W = {window} s before, since peers' clocks "
            "may be ahead"
        )


def moment(seconds: int) -> str:
    """A time (seconds since 1970) in RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
