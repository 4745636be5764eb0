"""Signatures against `cryptography`'s secp256k1, another implementation."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import signatures
from goldengrain.chaincode.protocol.errors import SignatureMalformed

KEYS = st.integers(1, signatures.ORDER - 1)


@settings(max_examples=30)
@given(KEYS, st.binary(min_size=32, max_size=32))
def test_another_implementation_accepts_the_signature(secret: int, digest: bytes) -> None:
    key = secret.to_bytes(32, "big")
    theirs = ec.derive_private_key(secret, ec.SECP256K1()).public_key()
    public = signatures.public_key(key)
    assert public == theirs.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert signatures.uncompressed(public) == theirs.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    signature = signatures.sign(key, digest)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    theirs.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    assert s <= signatures.ORDER // 2
    assert signature[64] in (27, 28)
    assert signatures.recover(digest, signature) == public
    assert signatures.verify(public, digest, signature)
    assert signatures.sign(key, digest) == signature


@settings(max_examples=30)
@given(st.integers(0, 64), st.integers(1, 255))
def test_a_changed_signature_is_another_keys_or_none(position: int, flip: int) -> None:
    key, digest = signatures.generate_key(), bytes(32)
    signature = bytearray(signatures.sign(key, digest))
    signature[position] ^= flip
    with contextlib.suppress(SignatureMalformed):
        assert not signatures.verify(signatures.public_key(key), digest, bytes(signature))


def test_the_other_form_of_a_signature_is_refused() -> None:
    signature = signatures.sign(bytes(31) + b"\x01", bytes(32))
    s = int.from_bytes(signature[32:64], "big")
    high = signature[:32] + (signatures.ORDER - s).to_bytes(32, "big") + bytes([55 - signature[64]])
    with pytest.raises(SignatureMalformed, match="lower half"):
        signatures.recover(bytes(32), high)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(65),
        bytes(64) + b"\x1b",
        b"\xff" * 64 + b"\x1b",
        b"\x01" * 64 + b"\x00",
        b"\x01" * 64 + b"\x1d",
        signatures.ORDER.to_bytes(32, "big") + b"\x01" * 32 + b"\x1b",
        (5).to_bytes(32, "big") + b"\x01" * 32 + b"\x1b",
    ],
)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(SignatureMalformed):
        signatures.recover(bytes(32), signature)


@pytest.mark.parametrize("key", [b"", bytes(33), b"\x02" + b"\xff" * 32, b"\x04" + bytes(32)])
def test_what_is_no_public_key_is_refused(key: bytes) -> None:
    with pytest.raises(SignatureMalformed):
        signatures.require_public_key(key)


def test_only_digests_are_signed() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        signatures.sign(bytes(31) + b"\x01", b"message")
