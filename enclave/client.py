"""The host's side of the socket: what an operator's agent asks its enclave, over RA-TLS.

    reach = Reach(path, Trust.of(policy), LedgerClock())
    async with reach.client() as enclave:
        identity = await enclave.identity()
        quoted = await enclave.quote(operator=account, challenge=bytes.fromhex(transaction_id))
        nonce = await enclave.nonce()
        report = await enclave.run_job(transaction, model_envelope, dataset_envelope, "model.bin", "dataset.bin")

Nothing is sent, and nothing believed, before the server's certificate has proved an enclave that the trust accepts
(`ratls`); the collateral for that may come from anybody, since its own signatures tell. It needs none of the extras.
What the enclave refuses is raised as the same class as in the enclave. One client is one connection, and asks one thing
at a time; take several for several at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.report import Outcome, Result
from goldengrain.enclave import ratls, sockets
from goldengrain.enclave.errors import CertificateMalformed, EnclaveUnreachable, RequestRefused, error_from_reply
from goldengrain.enclave.frames import frame, read_frame
from goldengrain.enclave.ratls import Trust
from goldengrain.enclave.tls import client_context

MAX_REPLY = 4 * 1024 * 1024


@dataclass(frozen=True)
class EnclaveIdentity:
    """What an enclave says of itself; only a quote proves it."""

    name: str
    enclave: bytes
    signing_key: bytes
    encryption_key: bytes
    measurement: bytes
    bundle: bytes
    channel: str
    contract: str
    expires: int
    attestation: str


@dataclass(frozen=True)
class Quoted:
    """A quote and the collateral (JSON) that goes with it, where the enclave has it."""

    quote: bytes
    collateral: str | None


@dataclass(frozen=True)
class JobReport:
    """An enclave's answer to a job, with what `SubmitReport` needs; `reason` is the code behind failed and unusable."""

    offer: bytes
    claim: int
    result: Result
    signature: bytes
    reason: str

    @property
    def outcome(self) -> Outcome:
        """The outcome."""
        return self.result.outcome


@dataclass(frozen=True)
class Reach:
    """How an enclave is reached, and what it has to prove there.

    `address` is a Unix socket's path, or `tcp://HOST:PORT`; `collateral` (JSON) is what its quote is judged by, where
    the enclave itself has none.
    """

    address: Path | str
    trust: Trust
    clock: LedgerClock
    collateral: str | None = None

    def client(self) -> EnclaveClient:
        """A new connection, for `async with`."""
        return EnclaveClient(self)


class EnclaveClient:
    """A connection to an enclave; raises `EnclaveUnreachable` where nobody answers.

    Raises `CertificateRefused` and the refusals of quotes where who answers is not an enclave that is trusted.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()
        self._collateral = ""

    async def __aenter__(self) -> EnclaveClient:
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def collateral(self) -> str:
        """The collateral (JSON) by which its certificate was judged; empty before there is a connection."""
        return self._collateral

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            (_, writer), self._streams = self._streams, None
            writer.close()
            with contextlib.suppress(OSError):  # the other side was faster
                await writer.wait_closed()

    async def identity(self) -> EnclaveIdentity:
        """Ask who it is."""
        reply = await self._ask("identity")
        binary = ("enclave", "signing_key", "encryption_key", "measurement", "bundle")
        values: dict[str, Any] = {name: bytes.fromhex(reply[name]) if name in binary else reply[name] for name in reply}
        return EnclaveIdentity(**values)

    async def quote(self, operator: bytes, challenge: bytes) -> Quoted:
        """Ask for a quote that binds its keys to an operator's account and a challenge (32 bytes each)."""
        reply = await self._ask("quote", operator=operator.hex(), challenge=challenge.hex())
        return Quoted(bytes.fromhex(reply["quote"]), reply["collateral"])

    async def nonce(self) -> bytes:
        """Ask for a nonce for a job ticket; it is good for one ticket and until the enclave restarts."""
        return bytes.fromhex((await self._ask("nonce"))["nonce"])

    async def run_job(
        self, transaction: bytes, model_envelope: bytes, dataset_envelope: bytes, model: str, dataset: str
    ) -> JobReport:
        """Have a job run.

        `transaction` is the prepared transaction (bytes of the envelope that Endorse returned), `model` and `dataset`
        are names of the ciphertexts in the exchange folder. Raises `TicketRefused` or `HostFault` where nothing was
        signed.
        """
        reply = await self._ask(
            "run_job",
            transaction=transaction.hex(),
            model_envelope=model_envelope.hex(),
            dataset_envelope=dataset_envelope.hex(),
            model=model,
            dataset=dataset,
        )
        digest = reply["model"]
        result = Result(
            Outcome(reply["outcome"]),
            reply["score"],
            bytes.fromhex(reply["locked"]),
            None if digest is None else bytes.fromhex(digest),
        )
        return JobReport(
            bytes.fromhex(reply["offer"]), reply["claim"], result, bytes.fromhex(reply["signature"]), reply["reason"]
        )

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            try:
                self._streams = await sockets.open_tls(self._reach.address, client_context())
            except OSError as error:
                raise EnclaveUnreachable(
                    f"no enclave answers at {self._reach.address}: {error.strerror or error}; start it with "
                    "`goldengrain enclave run`"
                ) from error
            try:
                await self._verify(self._streams[1])
            except BaseException:
                await self.close()
                raise
        return self._streams

    async def _verify(self, writer: asyncio.StreamWriter) -> None:
        """Judge the server by its certificate; nothing but `evidence`, which tells nothing, is asked before."""
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        collateral = self._reach.collateral or (await self._exchange("evidence"))["collateral"]
        if not isinstance(collateral, str):
            raise CertificateMalformed("the enclave has no collateral itself: fetch it (`enclave collateral fetch`)")
        ratls.check(certificate or b"", self._reach.trust, collateral, self._reach.clock.now())
        self._collateral = collateral

    async def _ask(self, request: str, **fields: Json) -> dict[str, Any]:
        async with self._turn:
            await self._connect()
            return await self._exchange(request, **fields)

    async def _exchange(self, request: str, **fields: Json) -> dict[str, Any]:
        """Send a request on the open connection; returns what the enclave answers, or raises its refusal."""
        gone = f"the enclave at {self._reach.address} closed the connection; look at its log"
        if self._streams is None:
            raise EnclaveUnreachable(gone)
        reader, writer = self._streams
        try:
            writer.write(frame(canonical.dumps({"v": 1, "request": request, **fields})))
            await writer.drain()
            data = await read_frame(reader, MAX_REPLY)
        except (OSError, RequestRefused) as error:
            await self.close()
            raise EnclaveUnreachable(gone) from error
        if data is None:
            await self.close()
            raise EnclaveUnreachable(gone)
        return _content(data)


def _content(data: bytes) -> dict[str, Any]:
    reply = canonical.loads(data, MAX_REPLY)
    if isinstance(reply, dict) and isinstance(reply.get("ok"), dict):
        return dict(reply["ok"])
    error = reply.get("error") if isinstance(reply, dict) else None
    if not isinstance(error, dict):
        raise MalformedInput("the enclave's reply is none")
    raise error_from_reply(str(error.get("code")), str(error.get("message")))
