from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import digests, sealing
from goldengrain.chaincode.protocol.errors import EnvelopeNotOpened, KeyCheckMismatch, KeyMalformed, LockNotOpened

from . import samples

ENCLAVE, PROVIDER = samples.ENCLAVE_KEY, samples.PROVIDER_KEY
K, R = samples.MODEL_KEY, samples.SECRET
ORDER = samples.order()
DIGEST = ORDER.digest()


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256 and no salt, by HMAC alone."""
    prk = hmac.digest(bytes(32), secret, "sha256")
    block, out = b"", b""
    for counter in range(1, 3):
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def test_sizes_are_those_that_were_measured() -> None:
    assert len(ENCLAVE.public) == 1_216
    assert len(sealing.seal_model(ENCLAVE.public, K, R, DIGEST)) == sealing.MODEL_ENVELOPE == 1_200
    assert len(sealing.seal_dataset_key(ENCLAVE.public, K, DIGEST)) == sealing.DATASET_ENVELOPE == 1_168


@settings(max_examples=20)
@given(st.binary(max_size=100), st.binary(max_size=40))
def test_what_is_sealed_opens_for_its_purpose_only(content: bytes, info: bytes) -> None:
    envelope = sealing.seal(ENCLAVE.public, content, info)
    assert ENCLAVE.open(envelope, info) == content
    with pytest.raises(EnvelopeNotOpened):
        ENCLAVE.open(envelope, info + b"x")
    with pytest.raises(EnvelopeNotOpened):
        PROVIDER.open(envelope, info)


def test_a_models_envelope_opens_for_its_order() -> None:
    envelope = sealing.seal_model(ENCLAVE.public, K, R, DIGEST)
    assert sealing.open_model(ENCLAVE, envelope, ORDER) == (K, R)
    with pytest.raises(EnvelopeNotOpened):
        sealing.open_model(ENCLAVE, envelope, samples.order(reserve=151))


@pytest.mark.parametrize("content", [b"x" * 32 + R, K + b"x" * 32, K, K + R + b"x"])
def test_an_envelope_that_does_not_hold_the_commitments_is_the_developers_fault(content: bytes) -> None:
    with pytest.raises(KeyCheckMismatch):
        sealing.open_model(ENCLAVE, sealing.seal(ENCLAVE.public, content, DIGEST), ORDER)


def test_a_test_sets_envelope_opens_for_its_task() -> None:
    task = samples.task().digest()
    envelope = sealing.seal_dataset_key(ENCLAVE.public, K, task)
    assert sealing.open_dataset_key(ENCLAVE, envelope, task) == K
    with pytest.raises(EnvelopeNotOpened):
        sealing.open_dataset_key(ENCLAVE, sealing.seal(ENCLAVE.public, b"", task), task)


def test_locked_is_laid_out_as_section_5_says() -> None:
    enclave = samples.ENCLAVE
    locked = sealing.lock_key(PROVIDER.public, K, R, DIGEST, enclave)
    assert len(locked) == 1_184
    material = hkdf(R, b"golden-grain/locked/v1" + DIGEST + enclave, 44)
    sealed = AESGCM(material[:32]).decrypt(material[32:], locked, None)
    assert PROVIDER.open(sealed, DIGEST) == K
    assert sealing.unlock_key(PROVIDER, locked, R, DIGEST, enclave) == K


def test_locked_needs_r_the_order_the_enclave_and_the_providers_key() -> None:
    enclave = samples.ENCLAVE
    locked = sealing.lock_key(PROVIDER.public, K, R, DIGEST, enclave)
    wrong = samples.word("wrong")
    for secret, order, who in ((wrong, DIGEST, enclave), (R, wrong, enclave), (R, DIGEST, wrong)):
        with pytest.raises(LockNotOpened):
            sealing.unlock_key(PROVIDER, locked, secret, order, who)
    with pytest.raises(LockNotOpened):
        sealing.unlock_key(PROVIDER, locked[:5], R, DIGEST, enclave)
    with pytest.raises(EnvelopeNotOpened):
        sealing.unlock_key(ENCLAVE, locked, R, DIGEST, enclave)


@pytest.mark.parametrize("public", [b"", b"\xff" * 1_216, ENCLAVE.public[:1_184] + bytes(32)])
def test_a_key_to_which_nothing_can_be_sealed_is_refused(public: bytes) -> None:
    with pytest.raises(KeyMalformed):
        sealing.require_public_key(public)


def test_keys_survive_storage_and_do_not_show() -> None:
    key = sealing.PrivateKey.generate()
    assert sealing.PrivateKey(key.secret).public == key.public
    sealing.require_public_key(key.public)
    assert key.secret.hex()[:16] not in repr(key)
    assert digests.sha256(key.public).hex()[:16] in repr(key)
    with pytest.raises(KeyMalformed):
        sealing.PrivateKey(b"short")
    with pytest.raises(KeyMalformed):
        sealing.seal_model(key.public, b"short", R, DIGEST)
