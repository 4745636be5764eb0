"""Record random games once, and replay them elsewhere: reads, writes, events and answers have to be the same bytes.

    recording = record(games=4)                                        # in one process: quotes and keys are random
    python -m tests.chaincode.market.determinism RECORDING.json        # in others: prints a digest of all it computes

A recording begins with an empty ledger, so founding, votes and quotes are in it, and calls that are refused too.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from goldengrain.chaincode.market.memory import Committed, MemoryLedger
from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol.accounts import Role
from goldengrain.chaincode.protocol.errors import ContractError

STEPS = 50


def record(games: int) -> list[dict[str, Any]]:
    """Play some games and return every call in order: caller, arguments, time, number of the transaction."""
    from tests.chaincode.market import game, world

    calls: list[dict[str, Any]] = []
    founding = 0
    send = MemoryLedger.submit_args

    def recorded(ledger: MemoryLedger, caller: Caller, args: list[bytes], at: int | None = None) -> Committed:
        role = None if caller.role is None else str(caller.role)
        who = [caller.account.hex(), caller.msp_id, role]
        number, moment = ledger._sent, ledger.now if at is None else at
        calls.append({"who": who, "args": [one.hex() for one in args], "at": moment, "number": number})
        return send(ledger, caller, args, at)

    with mock.patch.object(MemoryLedger, "submit_args", recorded):
        world._founded.cache_clear()
        game._start.cache_clear()
        for seed in range(games):
            if seed:
                calls.append({"again": founding})
            playing = game.Game(game.Tally())
            if not seed:
                founding = len(calls)
            playing.step("open", seed)
            for number in range(STEPS):
                playing.step(choice(seed, number), mixed(seed, number) // 1000)
            playing.end()
    return calls


def mixed(seed: int, number: int) -> int:
    """Return a number that looks random, the same everywhere."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:9], "big")


def choice(seed: int, number: int) -> str:
    """Return what a game does next."""
    from tests.chaincode.market import game

    return game.WEIGHTED[mixed(seed, number) % len(game.WEIGHTED)]


def replay(calls: list[dict[str, Any]]) -> str:
    """Run recorded calls; returns SHA-256 over everything that peers would compare."""
    running, ledger = hashlib.sha256(), MemoryLedger(now=0)
    for call in calls:
        if "again" in call:  # a further game, on the market as it was founded
            ledger = MemoryLedger(now=0)
            for founding in calls[: call["again"]]:
                _run(ledger, founding)
            continue
        running.update(_run(ledger, call))
    return running.hexdigest()


def caller(who: tuple[str, str, str | None]) -> Caller:
    """Return the caller of a recorded call."""
    account, msp_id, role = who
    return Caller(bytes.fromhex(account), msp_id, None if role is None else Role(role))


def _run(ledger: MemoryLedger, call: dict[str, Any]) -> bytes:
    ledger._sent = call["number"]
    try:
        done = ledger.submit_args(caller(call["who"]), [bytes.fromhex(one) for one in call["args"]], call["at"])
    except ContractError as refusal:
        return f"{refusal.response_message}\n".encode()
    return repr((done.reads, done.writes, done.event, done.payload)).encode()


if __name__ == "__main__":
    print(replay(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
