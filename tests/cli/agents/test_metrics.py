"""Figures of an agent: numbers over HTTP on this machine alone, and nothing that tells offers or keys apart."""

from __future__ import annotations

import asyncio

import pytest

from goldengrain.cli.agents.duty import Done, Duty, Kind, Notice
from goldengrain.cli.agents.metrics import Metrics
from goldengrain.enclave.errors import OutOfTime

OFFER = bytes(range(32))


async def _nothing() -> None:
    return None


def _notice(kind: Kind, command: str, **facts: object) -> Notice:
    error = OutOfTime(f"offer {OFFER.hex()}") if kind is Kind.FAILED else None
    done = Done("ab" * 32, dict(facts)) if kind is Kind.DONE else None
    return Notice(kind, 1_000, Duty(command, OFFER, _nothing), done, error)


async def ask(port: int, request: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    return answer


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.note(Notice(Kind.STARTED, 1_000))
    for _ in range(3):
        made.note(_notice(Kind.DONE, "Claim", claim=1))
    made.note(_notice(Kind.DONE, "SubmitReport", state="locked"))
    made.note(_notice(Kind.DONE, "SubmitReport", state="declined"))
    made.note(_notice(Kind.FAILED, "SubmitReport"))
    return made


async def test_figures_are_served_on_this_machine(metrics: Metrics) -> None:
    async with metrics.served(0) as port:
        assert port
        answer = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith("HTTP/1.1 200 OK")
        lines = answer.split("\r\n\r\n")[1].splitlines()
        assert 'golden_grain_commands_total{command="Claim",result="done"} 3' in lines
        assert 'golden_grain_jobs_total{state="locked"} 1' in lines
        assert 'golden_grain_errors_total{code="OUT_OF_TIME"} 1' in lines
        assert "golden_grain_jobs_open 1" in lines
        assert "golden_grain_draining 0" in lines
        assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 404")
        assert await ask(port, b"noise") == ""
        assert await ask(port, b"x" * 20_000) == ""
        metrics.note(Notice(Kind.DRAINING, 1_000))
        assert "golden_grain_draining 1" in await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")
    async with metrics.served(None) as port:
        assert port is None


def test_no_offer_transaction_or_message_is_in_them(metrics: Metrics) -> None:
    assert OFFER.hex() not in metrics.text()
    assert "abab" not in metrics.text()
