"""Orders: what a developer commits to with an offer (protocol sections 5 and 9).

The order is the part that binds: its digest is the HPKE info of the model's envelopes and enters the offer's id, so an
offer can't be copied by somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.codecs import Integer
from goldengrain.chaincode.protocol.records import Amount, Digest, Name, Record

MIN_CHUNK = 1024
"""Least size in bytes of a STREAM chunk's plaintext."""
MAX_CHUNK = 16 * 1024 * 1024
DEFAULT_CHUNK = 1024 * 1024

ChunkSize = Annotated[int, Integer(MIN_CHUNK, MAX_CHUNK)]
CiphertextSize = Annotated[int, Integer(1, 2**41)]
Attempt = Annotated[int, Integer(1, 2**31)]


@dataclass(frozen=True)
class EnvelopeDigest(Record):
    """SHA-256 of what is sealed to one enclave; the envelope itself lies in the content store under it."""

    enclave: Digest
    digest: Digest


@dataclass(frozen=True)
class Order(Record):
    """One developer's sealed model for one task.

    `payout` is the account that is paid. `ciphertext` and `size` are of the whole stream with its header. `key_check`
    commits to K, `secret_hash` is h = H(r). `provider_key` is the SHA-256 of the provider's key, its word.
    """

    channel: Name
    contract: Name
    task: Digest
    provider_key: Digest
    spec: Digest
    developer: Digest
    payout: Digest
    attempt: Attempt
    ciphertext: Digest
    size: CiphertextSize
    chunk_size: ChunkSize
    key_check: Digest
    secret_hash: Digest
    reserve: Amount

    @property
    def offer_id(self) -> bytes:
        """Id of the offer that places this order."""
        return digests.offer_id(self.digest())

    def digest(self) -> bytes:
        """Return D(order; ...) over section 9's fields in its order."""
        return digests.digest(
            "order",
            self.channel,
            self.contract,
            self.task,
            self.provider_key,
            self.spec,
            self.developer,
            self.payout,
            self.attempt,
            self.ciphertext,
            self.size,
            self.chunk_size,
            self.key_check,
            self.secret_hash,
            self.reserve,
        )
