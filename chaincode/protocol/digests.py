"""Digests of the protocol (section 9): SHA-256 over 32-byte words, the same in Python and on the EVM.

    D(tag; f, ...) = SHA-256(w(tag) || w(f) || ...)

A word w is: of an unsigned integer its 32 bytes big-endian (a flag is 0 or 1); of a 32-byte value the value; of text
and any other bytes their SHA-256; of a list D(list; length, items ...); of what is absent 0. The tag of NAME is the
text `golden-grain/NAME/v1`.

Bytes whose length varies (a certificate's name, a public key, `locked`) must be passed through `hashed`: were such
bytes 32 long by chance or by design, they would be taken for a value, and two fields could share a word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

Field = int | bytes | str | Sequence["Field"] | None
"""What a digest is taken over."""

WORD = 32
ZERO = bytes(WORD)


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """H: SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def hashed(data: bytes) -> bytes:
    """Return the word of bytes whose length is not fixed: always their SHA-256, even where they are 32."""
    return sha256(data)


def digest(tag: str, *fields: Field) -> bytes:
    """Return D(tag; fields ...), 32 bytes. Raises `ValueError` on a negative or too large integer."""
    return sha256(tag_word(tag) + b"".join(word(field) for field in fields))


@cache
def tag_word(tag: str) -> bytes:
    """Return the word of an object's tag, the SHA-256 of `golden-grain/NAME/v1`."""
    return sha256(f"golden-grain/{tag}/v1".encode())


def word(field: Field) -> bytes:
    """Return a field's word, 32 bytes."""
    if field is None:
        return ZERO
    if isinstance(field, int):
        return _unsigned(field)
    if isinstance(field, str):
        return sha256(field.encode())
    if isinstance(field, bytes | bytearray):
        return bytes(field) if len(field) == WORD else sha256(field)
    return digest("list", len(field), *field)


def _unsigned(number: int) -> bytes:
    if not 0 <= number < 1 << 256:
        raise ValueError(f"{number} has no word: only 0 to 2**256 - 1 have")
    return int(number).to_bytes(WORD, "big")


def offer_id(order: bytes) -> bytes:
    """Return the offer's id, D(offer; order digest): it binds the developer."""
    return digest("offer", order)


def key_check(key: bytes) -> bytes:
    """Return the commitment to a model's key K of 32 bytes."""
    if len(key) != WORD:
        raise ValueError(f"a model's key has 32 bytes, not {len(key)}")
    return digest("key-check", key)


def secret_hash(secret: bytes) -> bytes:
    """Return h = H(r) of the secret r of 32 bytes."""
    if len(secret) != WORD:
        raise ValueError(f"r has 32 bytes, not {len(secret)}")
    return sha256(secret)


def enclave_id(signing_key: bytes) -> bytes:
    """Return the enclave's id, H(compressed secp256k1 key of 33 bytes)."""
    if len(signing_key) != 33:
        raise ValueError(f"a compressed key has 33 bytes, not {len(signing_key)}")
    return sha256(signing_key)


def enclave_binding(signing_key: bytes, encryption_key: bytes, bundle: bytes) -> bytes:
    """Return what `report_data[0:32]` must be: D(enclave; signing key, encryption key, trust-bundle digest)."""
    return digest("enclave", hashed(signing_key), hashed(encryption_key), bundle)


def registration_binding(channel: str, contract: str, operator: bytes, challenge: bytes) -> bytes:
    """Return what `report_data[32:64]` must be: D(registration; channel, contract, operator's account, challenge)."""
    return digest("registration", channel, contract, operator, challenge)


def account(msp_id: str, subject: bytes, issuer: bytes) -> bytes:
    """Return the id of an account, D(account; MSP id, subject DER, issuer DER)."""
    return digest("account", msp_id, hashed(subject), hashed(issuer))


TREASURY = digest("account", "treasury")
"""Owner of the treasury's coins. No certificate has this account, so there is no key to it."""
