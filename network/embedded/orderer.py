"""The ordering core: a durable queue of envelopes, cut into signed blocks.

    orderer = Orderer(channel, BlockSigner(identity, sign), clock)
    await orderer.start()
    await orderer.broadcast(envelope)        # returns when the envelope is on disk
    ...
    await orderer.stop()

An envelope is checked, written to the queue in the channel's ledger file, and only then acknowledged; several that come
at once share one disk write. A block and the removal of its envelopes from the queue are one transaction of that file.
So whenever the process is killed, each acknowledged envelope ends up in exactly one block.

Order of checks, answers as Fabric's orderer gives them: the channel is named (BAD_REQUEST), the type can be ordered
(BAD_REQUEST), the payload is there and not too large (BAD_REQUEST), the creator's certificate has not expired
(BAD_REQUEST), the signature satisfies /Channel/Writers (FORBIDDEN), a configuration update applies (BAD_REQUEST), there
is room in the queue and on the disk (SERVICE_UNAVAILABLE). Envelopes checked under an older configuration are checked
again before they go into a block; those that fail then are dropped.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice

from fabric_protos.common import common_pb2, configtx_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded import blocks as block_tools
from goldengrain.network.embedded.blocks import BlockSigner
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.config_update import next_config
from goldengrain.network.embedded.cutter import Queued, cut
from goldengrain.network.embedded.errors import (
    BroadcastRefusedError,
    ConfigError,
    IdentityError,
    LedgerError,
    PolicyError,
)
from goldengrain.network.embedded.identity import certificate_of, public_key
from goldengrain.network.embedded.policies import SignedData

__all__ = ["Orderer", "addressed_channel"]

_WRITERS = "/Channel/Writers"
_QUEUE_LIMIT = 20_000
_QUEUE_BYTES_LIMIT = 256 << 20
_RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)


def addressed_channel(envelope: common_pb2.Envelope) -> common_pb2.ChannelHeader:
    """Return the channel header of an envelope; raises BroadcastRefusedError (BAD_REQUEST) with Fabric's text."""
    prefix = "could not determine channel ID: "
    try:
        payload = common_pb2.Payload.FromString(envelope.payload)
    except DecodeError as error:
        text = "error unmarshalling Payload: proto: cannot parse invalid wire-format data"
        raise BroadcastRefusedError(common_pb2.BAD_REQUEST, prefix + text) from error
    if not payload.HasField("header"):
        raise BroadcastRefusedError(common_pb2.BAD_REQUEST, prefix + "header not set")
    if not payload.header.channel_header:
        raise BroadcastRefusedError(common_pb2.BAD_REQUEST, prefix + "channel header not set")
    try:
        return common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    except DecodeError as error:
        text = "error unmarshalling ChannelHeader: proto: cannot parse invalid wire-format data"
        raise BroadcastRefusedError(common_pb2.BAD_REQUEST, prefix + text) from error


class Orderer:
    """Orders one channel; `start` it, `stop` it before closing the channel."""

    def __init__(
        self, channel: Channel, signer: BlockSigner, clock: Callable[[], float], consenters: Sequence[BlockSigner] = ()
    ) -> None:
        """`clock` gives ledger time in seconds since 1970, for the expiry of certificates; timers use real time.

        `consenters` are all the nodes that this orderer plays: a quorum of them signs a SmartBFT channel's blocks.
        """
        self._channel = channel
        self._signer = signer
        self._consenters = {public_key(certificate_of(one.identity)): one for one in consenters}
        self._clock = clock
        self._pending: deque[Queued] = deque()
        self._pending_bytes = 0
        self._incoming: list[tuple[bytes, common_pb2.Envelope, bool, int, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._stopping = False
        self._ordering: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up the envelopes that were acknowledged but not yet in a block, and start cutting."""
        for row in self._channel.ledger.queue():
            envelope = common_pb2.Envelope.FromString(row.envelope)
            header = block_tools.channel_header_of(row.envelope)
            is_config = header is not None and header.type == common_pb2.CONFIG
            self._append(row.sequence, row.envelope, envelope, is_config, row.config_sequence)
        self._stopping = False
        self._ordering = asyncio.create_task(self._order(), name=f"orderer-{self._channel.channel_id}")

    async def stop(self) -> None:
        """Finish the block in hand and stop; what is queued stays on disk and is taken up by the next start."""
        self._stopping = True
        self._arrived.set()
        if self._writing is not None:
            await self._writing
        if self._ordering is not None:
            await self._ordering
            self._ordering = None
        self._pending.clear()
        self._pending_bytes = 0

    @property
    def queued(self) -> int:
        """The number of acknowledged envelopes that are not in a block yet."""
        return len(self._pending)

    # -- taking in ---------------------------------------------------------------------------------------------------

    async def broadcast(self, envelope: bytes) -> None:
        """Check and queue a serialised common.Envelope; it is on disk when this returns.

        Raises BroadcastRefusedError(status, info) with the fields of Fabric's orderer.BroadcastResponse.
        """
        try:
            message = common_pb2.Envelope.FromString(envelope)
        except DecodeError as error:
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, "the envelope cannot be decoded") from error
        header = addressed_channel(message)
        if header.channel_id != self._channel.channel_id:
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, "channel does not exist")
        if header.type in (common_pb2.CONFIG, common_pb2.ORDERER_TRANSACTION):
            text = "message is of type that cannot be processed directly"
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, text)
        sequence = self._channel.config.sequence
        is_config = header.type == common_pb2.CONFIG_UPDATE
        if is_config:
            message = self._configuration(envelope, message)
            envelope = message.SerializeToString()
        else:
            self._admit(message)
        self._check_room(len(envelope))
        await self._write(envelope, message, is_config, sequence)

    def _admit(self, message: common_pb2.Envelope) -> None:
        """The checks that every envelope passes, whatever its type."""
        if not message.payload:
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, "Message was empty")
        size, limit = _size(message), self._channel.config.batch.absolute_max_bytes
        if size > limit:
            text = f"message payload is {size} bytes and exceeds maximum allowed {limit} bytes"
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, text)
        try:
            payload = common_pb2.Payload.FromString(message.payload)
            creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
        except DecodeError as error:
            text = f"could not convert message to signedData: {error}"
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, text) from error
        self._check_expiry(creator)
        try:
            signed = SignedData(message.payload, creator, message.signature)
            self._channel.check_policy(_WRITERS, [signed])
        except PolicyError as error:
            raise BroadcastRefusedError(common_pb2.FORBIDDEN, f"{error}: permission denied") from error

    def _check_expiry(self, creator: bytes) -> None:
        try:
            identity = self._channel.config.msps.deserialize(creator)
        except IdentityError:
            return  # the policy refuses it in a moment, with the right words
        if datetime.fromtimestamp(self._clock(), UTC) >= identity.expires_at:
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, "broadcast client identity expired")

    def _configuration(self, update: bytes, message: common_pb2.Envelope) -> common_pb2.Envelope:
        """Turn a CONFIG_UPDATE into the CONFIG transaction that this orderer signs."""
        try:
            self._admit(message)
        except BroadcastRefusedError as error:
            text = f"config update for existing channel did not pass initial checks: {error.info}"
            raise BroadcastRefusedError(error.status, text) from error
        try:
            proposed = next_config(self._channel.config, update)
        except ConfigError as error:
            text = f"error applying config update to existing channel '{self._channel.channel_id}': {error}"
            raise BroadcastRefusedError(common_pb2.BAD_REQUEST, text) from error
        config = self._sign_config(proposed)
        try:
            self._admit(config)
        except BroadcastRefusedError as error:
            text = f"config update for existing channel did not pass final checks: {error.info}"
            raise BroadcastRefusedError(error.status, text) from error
        return config

    def _sign_config(self, proposed: configtx_pb2.ConfigEnvelope) -> common_pb2.Envelope:
        channel_header = common_pb2.ChannelHeader(type=common_pb2.CONFIG, channel_id=self._channel.channel_id)
        channel_header.timestamp.seconds = int(self._clock())
        signature_header = common_pb2.SignatureHeader(creator=self._signer.identity, nonce=os.urandom(24))
        payload = common_pb2.Payload(
            header=common_pb2.Header(
                channel_header=channel_header.SerializeToString(),
                signature_header=signature_header.SerializeToString(),
            ),
            data=proposed.SerializeToString(),
        ).SerializeToString()
        return common_pb2.Envelope(payload=payload, signature=self._signer.sign(payload))

    def _check_room(self, size: int) -> None:
        if self._stopping or self._ordering is None:
            raise BroadcastRefusedError(common_pb2.SERVICE_UNAVAILABLE, "the orderer is not running")
        waiting = len(self._pending) + len(self._incoming)
        if waiting >= _QUEUE_LIMIT or self._pending_bytes + size > _QUEUE_BYTES_LIMIT:
            text = f"{waiting} envelopes wait to be ordered: try again later"
            raise BroadcastRefusedError(common_pb2.SERVICE_UNAVAILABLE, text)

    async def _write(self, raw: bytes, message: common_pb2.Envelope, is_config: bool, sequence: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming.append((raw, message, is_config, sequence, waiter))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_incoming())
        await waiter

    async def _write_incoming(self) -> None:
        while self._incoming:
            batch, self._incoming = self._incoming, []
            try:
                numbers = await self._channel.ledger.enqueue([(raw, config) for raw, _, _, config, _ in batch])
            except LedgerError as error:
                _log.error("an envelope could not be queued: %s", error)
                refusal = BroadcastRefusedError(common_pb2.SERVICE_UNAVAILABLE, str(error))
                for *_, waiter in batch:
                    if not waiter.done():
                        waiter.set_exception(refusal)
                continue
            for number, (raw, message, is_config, config, waiter) in zip(numbers, batch, strict=True):
                self._append(number, raw, message, is_config, config)
                if not waiter.done():
                    waiter.set_result(None)
        self._writing = None

    def _append(self, number: int, raw: bytes, message: common_pb2.Envelope, is_config: bool, config: int) -> None:
        now = asyncio.get_running_loop().time()
        self._pending.append(Queued(number, raw, _size(message), config, is_config, now))
        self._pending_bytes += len(raw)
        self._arrived.set()

    # -- cutting -----------------------------------------------------------------------------------------------------

    async def _order(self) -> None:
        while True:
            batch = await self._next_batch()
            if not batch:
                return
            try:
                await self._commit(batch)
            except LedgerError as error:
                _log.error("a block could not be written, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for entry in batch:
                self._pending.popleft()
                self._pending_bytes -= len(entry.envelope)

    async def _next_batch(self) -> list[Queued]:
        """Wait for a full batch, or for the batch timeout after its first envelope; empty when stopping."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            settings = self._channel.config.batch
            self._arrived.clear()
            count = cut(self._pending, settings)
            if count is not None:
                return list(islice(self._pending, count))
            left = self._pending[0].arrived + settings.timeout - loop.time() if self._pending else None
            if left is not None and left <= 0:
                return list(self._pending)
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                continue
        return []

    async def _commit(self, batch: Sequence[Queued]) -> None:
        envelopes = [raw for entry in batch if (raw := self._still_good(entry)) is not None]
        ledger = self._channel.ledger
        if not envelopes:
            await ledger.dequeue([entry.sequence for entry in batch])
            return
        block = block_tools.make_block(ledger.chain.height, ledger.chain.last_hash, envelopes)
        last_config = ledger.chain.height if batch[0].is_config else self._channel.config.block_number
        self._sign(block, last_config)
        await self._channel.commit(block, ordered_through=batch[-1].sequence)

    def _sign(self, block: common_pb2.Block, last_config: int) -> None:
        listed = self._channel.config.consenters
        if not listed:
            block_tools.sign_block(block, self._signer, last_config)
            return
        known = {number: self._consenters.get(public_key(certificate)) for number, certificate in listed.items()}
        signers = {number: signer for number, signer in known.items() if signer is not None}
        quorum = dict(islice(signers.items(), block_tools.bft_quorum(len(listed))))
        block_tools.sign_by_consenters(block, quorum, last_config)

    def _still_good(self, entry: Queued) -> bytes | None:
        """Return the envelope to put into the block, None for one that the present configuration doesn't accept."""
        if entry.config_sequence == self._channel.config.sequence:
            return entry.envelope
        try:
            message = common_pb2.Envelope.FromString(entry.envelope)
            if not entry.is_config:
                self._admit(message)
                return entry.envelope
            payload = common_pb2.Payload.FromString(message.payload)
            update = configtx_pb2.ConfigEnvelope.FromString(payload.data).last_update
            return self._configuration(update.SerializeToString(), update).SerializeToString()
        except BroadcastRefusedError as error:
            _log.warning("an envelope is dropped, since the configuration has changed: %s", error)
            return None


def _size(message: common_pb2.Envelope) -> int:
    return len(message.payload) + len(message.signature)
