"""Connecting to a name: in short steps, and without a socket left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from goldengrain.wire import dialing
from goldengrain.wire.dialing import dial

LOCAL = "127.0.0.1"


def _listening(stack: ExitStack, backlog: int = 64) -> int:
    server = stack.enter_context(socket.create_server((LOCAL, 0), backlog=backlog))
    return int(server.getsockname()[1])


def _silent(stack: ExitStack) -> int:
    """Return a port that answers nobody any more: its queue is full."""
    port = _listening(stack, backlog=0)
    for _ in range(3):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex((LOCAL, port))
    return port


def _closed() -> int:
    with socket.create_server((LOCAL, 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def _resolved(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Have the name `peer` stand for these ports of this machine."""

    async def found(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOCAL, port)) for port in ports]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)


async def test_an_address_that_does_not_answer_costs_a_step(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    good = _listening(stack)
    _resolved(monkeypatch, _silent(stack), good)
    began = time.monotonic()
    with await dial("peer", 1) as made:
        assert made.getpeername() == (LOCAL, good)
        assert not made.getblocking()
    assert dialing.STEP_S <= time.monotonic() - began < 5


async def test_a_refusal_costs_no_step(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    good = _listening(stack)
    _resolved(monkeypatch, _closed(), good)
    monkeypatch.setattr(dialing, "STEP_S", 30.0)
    async with asyncio.timeout(5):
        with await dial("peer", 1) as made:
            assert made.getpeername() == (LOCAL, good)


async def test_who_was_tried_earlier_may_still_answer(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = stack.enter_context(socket.create_server((LOCAL, 0), backlog=0))
    stack.enter_context(socket.create_connection(busy.getsockname()))
    _resolved(monkeypatch, busy.getsockname()[1], _silent(stack))
    dialling = asyncio.create_task(dial("peer", 1))
    await asyncio.sleep(2 * dialing.STEP_S)
    assert not dialling.done()
    stack.enter_context(busy.accept()[0])  # there is room in its queue now
    async with asyncio.timeout(20):
        with await dialling as made:
            assert made.getpeername() == busy.getsockname()


async def test_the_first_error_is_told_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolved(monkeypatch, _closed(), _closed())
    with pytest.raises(ConnectionRefusedError):
        await dial("peer", 1)


@pytest.mark.filterwarnings("always::ResourceWarning")
async def test_cancelled_at_any_moment_it_leaves_no_socket(stack: ExitStack, recwarn: pytest.WarningsRecorder) -> None:
    port, kept = _listening(stack, backlog=2000), 0
    for turn in range(600):
        dialling = asyncio.create_task(dial(LOCAL, port))
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        dialling.cancel()
        try:
            made = await dialling
        except asyncio.CancelledError:
            continue
        made.close()
        kept += 1
    await asyncio.sleep(0)
    gc.collect()
    assert 0 < kept < 600
    assert not [one for one in recwarn if issubclass(one.category, ResourceWarning)]
