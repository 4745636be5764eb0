"""Figures of a running agent for a monitoring system: HTTP on 127.0.0.1, Prometheus' text format, numbers alone.

    goldengrain enclave run org2 --metrics 9464        →        http://127.0.0.1:9464/metrics

There are no ids, scores or keys in it: commands by what became of them, jobs by the offer's new state, seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from goldengrain.cli.agents.duty import Kind, Notice

HOST = "127.0.0.1"
_TIMEOUT_S = 5.0
_MOST = 8192
_HEAD = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n"
    "Content-Length: {size}\r\nConnection: close\r\n\r\n"
)


class Metrics:
    """Counts what an agent says; ``note`` takes every notice."""

    def __init__(self) -> None:
        self._commands: Counter[tuple[str, str]] = Counter()
        self._states: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._claims = 0
        self._draining = False

    def note(self, notice: Notice) -> None:
        """Take in a notice."""
        self._draining = self._draining or notice.kind is Kind.DRAINING
        if notice.duty is not None:
            self._commands[notice.duty.command, str(notice.kind)] += 1
        if notice.error is not None:
            self._errors[notice.error.code] += 1
        if notice.duty is None or notice.kind is not Kind.DONE or notice.done is None:
            return
        if notice.duty.command == "Claim":
            self._claims += 1
        elif notice.duty.command == "SubmitReport":
            self._states[str(notice.done.facts.get("state"))] += 1

    def text(self) -> str:
        """Return all figures."""
        lines = ["# TYPE golden_grain_commands_total counter"]
        lines += [
            f'golden_grain_commands_total{{command="{command}",result="{kind}"}} {count}'
            for (command, kind), count in sorted(self._commands.items())
        ]
        lines += ["# TYPE golden_grain_jobs_total counter"]
        lines += [f'golden_grain_jobs_total{{state="{one}"}} {count}' for one, count in sorted(self._states.items())]
        lines += ["# TYPE golden_grain_errors_total counter"]
        lines += [f'golden_grain_errors_total{{code="{one}"}} {count}' for one, count in sorted(self._errors.items())]
        lines += ["# TYPE golden_grain_jobs_open gauge"]
        lines += [f"golden_grain_jobs_open {max(0, self._claims - sum(self._states.values()))}"]
        lines += ["# TYPE golden_grain_draining gauge", f"golden_grain_draining {int(self._draining)}"]
        return "\n".join(lines) + "\n"

    @asynccontextmanager
    async def served(self, port: int | None) -> AsyncIterator[int | None]:
        """Answer on a port of 127.0.0.1 (0: any free one) until the block ends; yields the port. None: not at all."""
        if port is None:
            yield None
            return
        server = await asyncio.start_server(self._answer, HOST, port, limit=_MOST)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_TIMEOUT_S):
                request = (await reader.readuntil(b"\r\n\r\n")).split()
                known = request[:2] == [b"GET", b"/metrics"]
                body = self.text() if known else "only GET /metrics\n"
                head = _HEAD.format(status="200 OK" if known else "404 Not Found", size=len(body.encode()))
                writer.write((head + body).encode())
                await writer.drain()
        writer.close()
