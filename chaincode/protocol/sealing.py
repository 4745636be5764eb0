"""What is sealed to whom: envelopes for enclaves, and the locked key for the provider (protocol sections 4 and 5).

HPKE (RFC 9180, base mode) with ML-KEM-768 + X25519, HKDF-SHA256 and AES-256-GCM. A public key is ML-KEM's 1,184 bytes
and X25519's 32; a private key is ML-KEM's seed of 64 bytes and X25519's 32.

    model envelope    = HPKE(enclave, K || r;  info = order digest)                      1,200 bytes
    dataset envelope  = HPKE(enclave, dataset key; info = task digest)                   1,168 bytes
    locked            = AES-256-GCM(HKDF-SHA256(r; ...), HPKE(provider, K; info = order digest))
                                                                                         1,184 bytes

An envelope opens for one order (or task) only, and `locked` for one order and enclave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.errors import EnvelopeNotOpened, KeyCheckMismatch, KeyMalformed, LockNotOpened
from goldengrain.chaincode.protocol.offer import Order

MLKEM_PUBLIC = 1184
MLKEM_SEED = 64
X25519_KEY = 32
PUBLIC_KEY = MLKEM_PUBLIC + X25519_KEY
PRIVATE_KEY = MLKEM_SEED + X25519_KEY
OVERHEAD = 1088 + X25519_KEY + 16
"""Bytes that an envelope has over its content: both encapsulations and the tag."""
MODEL_ENVELOPE = OVERHEAD + 64
DATASET_ENVELOPE = OVERHEAD + 32

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LOCKED = b"golden-grain/locked/v1"


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """Somebody's decryption key, 96 bytes; it doesn't show in logs."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != PRIVATE_KEY:
            raise KeyMalformed(f"a private key has {PRIVATE_KEY} bytes, not {len(self.secret)}")

    def __repr__(self) -> str:
        return f"PrivateKey(public {digests.sha256(self.public).hex()[:16]}…)"

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        seed = MLKEM768PrivateKey.generate().private_bytes_raw()
        return cls(seed + X25519PrivateKey.generate().private_bytes_raw())

    @cached_property
    def public(self) -> bytes:
        """The public key, 1,216 bytes."""
        lattice, curve = self._parts
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def open(self, envelope: bytes, info: bytes) -> bytes:
        """Open what was sealed to this key for this purpose; raises `EnvelopeNotOpened`."""
        try:
            return _SUITE.decrypt(envelope, self._combined, info)
        except (InvalidTag, ValueError) as error:
            raise EnvelopeNotOpened("sealed to another key or for another order or task, or changed") from error

    @cached_property
    def _parts(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        lattice = MLKEM768PrivateKey.from_seed_bytes(self.secret[:MLKEM_SEED])
        return lattice, X25519PrivateKey.from_private_bytes(self.secret[MLKEM_SEED:])

    @cached_property
    def _combined(self) -> MLKEM768X25519PrivateKey:
        return MLKEM768X25519PrivateKey(*self._parts)


def seal(public: bytes, content: bytes, info: bytes) -> bytes:
    """Seal content to a public key for one purpose; raises `KeyMalformed`."""
    if len(public) != PUBLIC_KEY:
        raise KeyMalformed(f"a public key has {PUBLIC_KEY:,} bytes, not {len(public):,}")
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC])
        curve = X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC:])
        return _SUITE.encrypt(content, MLKEM768X25519PublicKey(lattice, curve), info)
    except ValueError as error:
        raise KeyMalformed("not an ML-KEM-768 + X25519 public key") from error


def require_public_key(public: bytes) -> None:
    """Raise `KeyMalformed` unless something can be sealed to a key; another provider's key would stop an enclave."""
    seal(public, b"", b"")


def seal_model(enclave_key: bytes, key: bytes, secret: bytes, order: bytes) -> bytes:
    """Seal K and r to an enclave; `order` is the order's digest."""
    _require_words(key, secret)
    return seal(enclave_key, key + secret, order)


def open_model(private: PrivateKey, envelope: bytes, order: Order) -> tuple[bytes, bytes]:
    """Open a model's envelope in the enclave and hold K and r against the order's commitments; returns K, r.

    Raises `EnvelopeNotOpened`, or `KeyCheckMismatch` when what is inside isn't what the developer committed to.
    """
    content = private.open(envelope, order.digest())
    if len(content) != 64:
        raise KeyCheckMismatch(f"the envelope holds {len(content)} bytes instead of K and r")
    key, secret = content[:32], content[32:]
    if digests.key_check(key) != order.key_check:
        raise KeyCheckMismatch("the envelope's K is not the one that the offer commits to")
    if digests.secret_hash(secret) != order.secret_hash:
        raise KeyCheckMismatch("the envelope's r is not the one that the offer commits to")
    return key, secret


def seal_dataset_key(enclave_key: bytes, key: bytes, task: bytes) -> bytes:
    """Seal a test set's key to an enclave; `task` is the task's digest."""
    _require_words(key)
    return seal(enclave_key, key, task)


def open_dataset_key(private: PrivateKey, envelope: bytes, task: bytes) -> bytes:
    """Open a test set's envelope; raises `EnvelopeNotOpened`. The key's digest is the caller's to check."""
    key = private.open(envelope, task)
    if len(key) != 32:
        raise EnvelopeNotOpened(f"the envelope holds {len(key)} bytes instead of a key")
    return key


def lock_key(provider_key: bytes, key: bytes, secret: bytes, order: bytes, enclave: bytes) -> bytes:
    """Seal K to the provider and lock it by r: the `locked` of a passing report. Raises `KeyMalformed`."""
    _require_words(key, secret)
    sealed = seal(provider_key, key, order)
    lock, nonce = _lock(secret, order, enclave)
    return lock.encrypt(nonce, sealed, None)


def unlock_key(private: PrivateKey, locked: bytes, secret: bytes, order: bytes, enclave: bytes) -> bytes:
    """Return K, as the provider does once r is revealed; raises `LockNotOpened` or `EnvelopeNotOpened`."""
    lock, nonce = _lock(secret, order, enclave)
    try:
        sealed = lock.decrypt(nonce, locked, None)
    except (InvalidTag, ValueError) as error:
        raise LockNotOpened("`locked` is another secret's, order's or enclave's, or was changed") from error
    return private.open(sealed, order)


def _lock(secret: bytes, order: bytes, enclave: bytes) -> tuple[AESGCM, bytes]:
    """Derive key and nonce, 44 bytes, from r."""
    material = HKDF(algorithm=SHA256(), length=44, salt=None, info=_LOCKED + order + enclave).derive(secret)
    return AESGCM(material[:32]), material[32:]


def _require_words(*values: bytes) -> None:
    for value in values:
        if len(value) != 32:
            raise KeyMalformed(f"keys and secrets have 32 bytes, not {len(value)}")
