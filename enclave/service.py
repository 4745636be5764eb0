"""The enclave as a process: requests over RA-TLS, one after another on each connection.

The certificate carries a quote (`ratls`), so that a client knows before it asks that it talks to the enclave;
`evidence` gives the collateral to judge that quote by, where the source of quotes has it. The socket is a Unix socket,
or TCP where there is none between enclave and host (Gramine).

A request is a frame (`frames`) of canonical JSON, `{"v": 1, "request": NAME, …}`; the reply is
`{"v": 1, "ok": {…}}` or `{"v": 1, "error": {"code": …, "message": …}}`. Bytes travel as hex. The requests:

=========  ==============================================================  ==========================================
request    takes                                                           gives
=========  ==============================================================  ==========================================
evidence   nothing                                                         collateral (JSON text, or null)
identity   nothing                                                         `identity`'s fields
quote      operator (account), challenge (32 bytes each)                   quote, collateral (JSON text)
nonce      nothing                                                         nonce
run_job    transaction, model_envelope, dataset_envelope (bytes);          `SignedReport.to_json`
           model, dataset (names of files in the exchange folder)
=========  ==============================================================  ==========================================

The host is on the other side of the socket and isn't trusted: sizes are bounded, files are taken by digest, and no
request ends the service. Logs are one JSON object a line on standard error, without keys, nonces, scores or plaintext.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.enclave.errors import EnclaveError, HostBytesRefused, RequestRefused
from goldengrain.enclave.frames import frame, read_frame
from goldengrain.enclave.job import Bench
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.openings import JobFiles
from goldengrain.enclave.quoting import QuoteSource

MAX_REQUEST = 4 * 1024 * 1024
MAX_CONNECTIONS = 64
LOOK_S = 60.0
"""Seconds between looks at the clock for the end of the keys' epoch."""
MAX_ENVELOPE = 4096
_WORD = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass
class Service:
    """Answers requests for one enclave."""

    name: str
    bench: Bench
    source: QuoteSource
    exchange: Path
    clock: LedgerClock
    renew: Callable[[], EnclaveKeys]
    """Gives the keys of the current epoch, new ones once the last are over."""
    jobs: int = 1
    """Jobs at once; further ones wait."""

    def __post_init__(self) -> None:
        self._jobs = asyncio.Semaphore(self.jobs)
        self._unfinished = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._requests: dict[str, Callable[[dict[str, Json]], Awaitable[dict[str, Json]]]] = {
            "evidence": self._evidence,
            "identity": self._identity,
            "quote": self._quote,
            "nonce": self._nonce,
            "run_job": self._run_job,
        }

    async def keep_epochs(self, every: float = LOOK_S) -> None:
        """Enter each epoch in time, asked for or not, so that old keys are erased when due; runs until cancelled."""
        while True:
            await asyncio.sleep(every)
            try:
                self._enter_epoch()
            except (GoldenGrainError, OSError) as error:
                log(self.name, event="epoch", outcome=getattr(error, "code", type(error).__name__))

    def _enter_epoch(self) -> None:
        """Take new keys when the epoch is over and no job needs the old ones; the enclave then has another id."""
        if self.clock.now() < self.bench.keys.expires or self._unfinished:
            return
        seen = self.bench.tickets.last_seen
        self.bench = replace(self.bench, keys=self.renew())
        self.bench.tickets.last_seen = seen
        log(self.name, event="epoch", id=self.bench.keys.enclave.hex())

    @property
    def identity(self) -> dict[str, Json]:
        """Who this enclave is: id, keys, measurement, trust bundle, expiry; `attestation`: `simulated`, or the TEE."""
        keys, bundle = self.bench.keys, self.bench.bundle
        return {
            "name": self.name,
            "enclave": keys.enclave.hex(),
            "signing_key": keys.signing_public.hex(),
            "encryption_key": keys.encryption.public.hex(),
            "measurement": self.source.measurement.hex(),
            "bundle": bundle.digest().hex(),
            "channel": bundle.channel,
            "contract": bundle.contract,
            "expires": keys.expires,
            "attestation": self.source.attestation,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends; use it as the callback of asyncio's servers."""
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                writer.write(frame(_failure(RequestRefused("too many connections at once; close some"))))
                return
            await self._converse(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            return  # cancelled by `drain`: the task is the connection's own, and ends here
        finally:
            writer.close()

    async def drain(self) -> None:
        """Let the jobs that run end, then close the connections."""
        for _ in range(self.jobs):
            await self._jobs.acquire()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self.bench.runner.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                data = await read_frame(reader, MAX_REQUEST)
            except RequestRefused as error:  # the stream can't be read on from here
                writer.write(frame(_failure(error)))
                await writer.drain()
                return
            if data is None:
                return
            writer.write(frame(await self.answer(data)))
            await writer.drain()

    async def answer(self, data: bytes) -> bytes:
        """Answer one request; never raises."""
        started = time.monotonic()
        kind = "?"
        try:
            kind, request = _parse(data, self._requests)
            self._enter_epoch()
            reply = canonical.dumps({"v": 1, "ok": await self._requests[kind](request)})
            outcome = "ok"
        except GoldenGrainError as error:
            reply, outcome = _failure(error), error.code
        except Exception as error:  # noqa: BLE001 - one bad request must not end the service
            reply = _failure(EnclaveError(f"the enclave failed: {type(error).__name__}"))
            outcome = type(error).__name__
        log(self.name, event="request", request=kind, outcome=outcome, seconds=round(time.monotonic() - started, 3))
        return reply

    async def _evidence(self, request: dict[str, Json]) -> dict[str, Json]:
        _require_fields(request)
        return {"collateral": self.source.collateral(self.clock.now())}

    async def _identity(self, request: dict[str, Json]) -> dict[str, Json]:
        _require_fields(request)
        return self.identity

    async def _quote(self, request: dict[str, Json]) -> dict[str, Json]:
        _require_fields(request, "operator", "challenge")
        operator = _bytes(request, "operator", _WORD, _WORD)
        challenge = _bytes(request, "challenge", _WORD, _WORD)
        bundle = self.bench.bundle
        data = self.bench.keys.report_data(bundle.digest(), bundle.channel, bundle.contract, operator, challenge)
        quote = await asyncio.to_thread(self.source.quote, data)
        return {"quote": quote.hex(), "collateral": self.source.collateral(self.clock.now())}

    async def _nonce(self, request: dict[str, Json]) -> dict[str, Json]:
        _require_fields(request)
        return {"nonce": self.bench.tickets.nonces.make().hex()}

    async def _run_job(self, request: dict[str, Json]) -> dict[str, Json]:
        _require_fields(request, "transaction", "model_envelope", "dataset_envelope", "model", "dataset")
        transaction = _bytes(request, "transaction", 1, MAX_REQUEST)
        envelopes = [_bytes(request, name, 1, MAX_ENVELOPE) for name in ("model_envelope", "dataset_envelope")]
        self._unfinished += 1  # keys don't change under a job, waiting or running
        try:
            async with self._jobs:
                with self._opened(request["model"]) as model, self._opened(request["dataset"]) as dataset:
                    report = await self.bench.run(transaction, JobFiles(envelopes[0], envelopes[1], model, dataset))
        finally:
            self._unfinished -= 1
        return report.to_json()

    @contextlib.contextmanager
    def _opened(self, name: Json) -> Iterator[BinaryIO]:
        """Open a plain file of the exchange folder; what goes wrong with it is the host's doing."""
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise RequestRefused("a file is named by its plain name in the exchange folder")
        try:
            descriptor = os.open(self.exchange / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise HostBytesRefused(f"{name} is no plain file in the exchange folder")
                yield file
        except OSError as error:
            raise HostBytesRefused(f"{name} can't be read in the exchange folder: {error.strerror}") from error


def log(name: str, **fields: Any) -> None:
    """Write one line of log to standard error."""
    sys.stderr.write(json.dumps({"time": round(time.time(), 3), "enclave": name, **fields}) + "\n")
    sys.stderr.flush()


def _parse(data: bytes, known: dict[str, Any]) -> tuple[str, dict[str, Json]]:
    request = canonical.loads(data, MAX_REQUEST)
    if not isinstance(request, dict) or request.pop("v", None) != 1:
        raise RequestRefused("a request is a JSON object of version 1")
    kind = request.pop("request", None)
    if not isinstance(kind, str) or kind not in known:
        raise RequestRefused(f"no such request; there are {', '.join(known)}")
    return kind, request


def _require_fields(request: dict[str, Json], *names: str) -> None:
    if set(request) != set(names):
        raise RequestRefused(f"the request takes {', '.join(names) or 'nothing'}, exactly")


def _bytes(request: dict[str, Json], name: str, low: int, high: int) -> bytes:
    text = request[name]
    try:
        value = bytes.fromhex(text)
    except (TypeError, ValueError) as error:
        raise RequestRefused(f"{name} is bytes in hex") from error
    if not low <= len(value) <= high or value.hex() != text:
        raise RequestRefused(f"{name} has {low:,} to {high:,} bytes, in lowercase hex")
    return value


def _failure(error: GoldenGrainError) -> bytes:
    return canonical.dumps({"v": 1, "error": {"code": error.code, "message": str(error)}})
