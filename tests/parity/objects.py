"""What names stand for, the same on every ledger: an offer's key and secret, a task's test set, an enclave's key.

Each is made of the object's name, so no ledger has to tell another one anything.
"""

from __future__ import annotations

import hashlib
from functools import cache

from goldengrain.chaincode.protocol import digests, signatures
from goldengrain.chaincode.protocol.report import LOCKED_SIZE
from tests.parity.ledger import ENCRYPTION_KEY


def word(text: str) -> bytes:
    """32 bytes that stand for something."""
    return hashlib.sha256(text.encode()).digest()


@cache
def signing_key(enclave: str) -> bytes:
    """An enclave's private secp256k1 key."""
    return word(f"signing key of {enclave}")


@cache
def public_key(enclave: str) -> bytes:
    """An enclave's compressed public key, 33 bytes."""
    return signatures.public_key(signing_key(enclave))


@cache
def enclave_id(enclave: str) -> bytes:
    """An enclave's id."""
    return digests.enclave_id(public_key(enclave))


@cache
def provider_key() -> bytes:
    """The provider's HPKE key (nothing is sealed to it here), 1,216 bytes."""
    from goldengrain.chaincode.protocol.sealing import PrivateKey

    key = PrivateKey.generate().public
    assert len(key) == ENCRYPTION_KEY
    return key


def dataset_key(right: bool = True) -> bytes:
    """The key of every test set, or a wrong one."""
    return word("dataset key" if right else "no dataset key")


DATASET_CIPHERTEXT = word("dataset ciphertext")
DATASET_PLAINTEXT = word("dataset")
BUNDLE = word("trust bundle")
"""Digest of the trust bundle that all enclaves have, a word of every ticket."""


def dataset_envelope(enclave: str) -> bytes:
    """Digest of a test set's key sealed to an enclave."""
    return word(f"dataset for {enclave}")


@cache
def secret(offer: str, right: bool = True) -> bytes:
    """An offer's r, or a wrong one."""
    return word(f"r of {offer}" if right else "a guess")


@cache
def secret_hash(offer: str) -> bytes:
    """An offer's h."""
    return digests.secret_hash(secret(offer))


@cache
def ciphertext(offer: str) -> bytes:
    """Digest of an offer's ciphertext."""
    return word(f"ciphertext of {offer}")


@cache
def key_check(offer: str) -> bytes:
    """An offer's commitment to its key."""
    return word(f"key of {offer}")


@cache
def model_envelope(offer: str, enclave: str) -> bytes:
    """Digest of an offer's K and r sealed to an enclave."""
    return word(f"{offer} for {enclave}")


@cache
def model(offer: str) -> bytes:
    """SHA-256 of an offer's plaintext."""
    return word(f"plaintext of {offer}")


@cache
def locked(offer: str, enclave: str) -> bytes:
    """The `locked` bytes of an enclave's pass."""
    return (word(f"locked {offer} {enclave}") * (LOCKED_SIZE // 32 + 1))[:LOCKED_SIZE]
