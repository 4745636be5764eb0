"""Signatures of enclaves: ECDSA over secp256k1, made over the digest itself, good on Fabric and by `ecrecover`.

A signature is 65 bytes: r and s of 32 bytes each, s in the lower half, and v of 27 or 28. There is exactly one for a
digest, a key and an r; everything else is refused.
"""

from __future__ import annotations

import os

import coincurve

from goldengrain.chaincode.protocol.errors import SignatureMalformed

SIZE = 65
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Order of secp256k1's group."""


def generate_key() -> bytes:
    """Make a private key of 32 bytes."""
    while True:
        key = os.urandom(32)
        if 0 < int.from_bytes(key, "big") < ORDER:
            return key


def public_key(private_key: bytes) -> bytes:
    """Return the compressed public key, 33 bytes."""
    return bytes(coincurve.PrivateKey(private_key).public_key.format(compressed=True))


def uncompressed(compressed: bytes) -> bytes:
    """Return x and y of a compressed public key, 64 bytes, whose Keccak-256 ends in the Ethereum address."""
    try:
        return bytes(coincurve.PublicKey(compressed).format(compressed=False))[1:]
    except ValueError as error:
        raise SignatureMalformed("not a compressed secp256k1 public key") from error


def require_public_key(compressed: bytes) -> None:
    """Raise `SignatureMalformed` unless 33 bytes are a compressed point of the curve."""
    if len(compressed) != 33:
        raise SignatureMalformed(f"a compressed secp256k1 key has 33 bytes, not {len(compressed)}")
    uncompressed(compressed)


def sign(private_key: bytes, digest: bytes) -> bytes:
    """Sign a digest of 32 bytes; returns r, s, v (65 bytes). The nonce is RFC 6979's, so it draws no randomness."""
    _require_digest(digest)
    signature = bytes(coincurve.PrivateKey(private_key).sign_recoverable(digest, hasher=None))
    return signature[:64] + bytes([27 + signature[64]])


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the signer's compressed public key; raises `SignatureMalformed`."""
    _require_digest(digest)
    if len(signature) != SIZE:
        raise SignatureMalformed(f"a signature has {SIZE} bytes, not {len(signature)}")
    if signature[64] not in (27, 28):
        raise SignatureMalformed("v must be 27 or 28")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        raise SignatureMalformed("r must be in the group's order, and s in its lower half")
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except Exception as error:  # coincurve raises bare Exception where r is no point
        raise SignatureMalformed("no key has made this signature") from error
    return bytes(key.format(compressed=True))


def verify(compressed: bytes, digest: bytes, signature: bytes) -> bool:
    """Tell whether a key has signed a digest; raises `SignatureMalformed` for what is no signature at all."""
    return recover(digest, signature) == compressed


def _require_digest(digest: bytes) -> None:
    if len(digest) != 32:
        raise ValueError(f"signatures are made over digests of 32 bytes, not {len(digest)}")
