"""An enclave's keys: made inside, sealed to this machine, this measurement and this trust bundle.

The signing key (secp256k1) signs reports, and its hash is the enclave's id; the encryption key (HPKE, ML-KEM-768 +
X25519) opens envelopes. Both live for one epoch; then the sealed file is overwritten and removed. Sealed under
another bundle there are other keys, so that a restart with forged organisations can't sign as the enclave that was
registered. Sealing is simulated: its root is a file of the machine (`machine.secret`, mode 0600) instead of a fused
key; format and binding are the same.

    keys = EnclaveKeys.unseal_or_make(folder, measurement, bundle.digest(), now=clock.now())
    platform.quote(keys.report_data(bundle.digest(), channel, contract, operator, challenge), measurement)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from goldengrain.chaincode.protocol import canonical, digests, signatures
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.enclave.errors import KeysRefused

EPOCH = 7 * 86_400
"""Seconds for which keys serve (protocol section 4)."""

_SEALING = b"golden-grain/sealing/v1"
_NONCE = 12
_SECRET = 32
_PRIVATE = 0o600


@dataclass(frozen=True, repr=False)
class EnclaveKeys:
    """Keys of one epoch; `made` is when, in seconds of ledger time. They don't show in logs."""

    signing: bytes
    encryption: PrivateKey
    made: int

    def __repr__(self) -> str:
        return f"EnclaveKeys({self.enclave.hex()[:16]}…)"

    @classmethod
    def make(cls, now: int) -> EnclaveKeys:
        """Make fresh keys."""
        return cls(signatures.generate_key(), PrivateKey.generate(), now)

    @classmethod
    def unseal_or_make(cls, folder: Path, measurement: bytes, bundle: bytes, now: int) -> EnclaveKeys:
        """Return the keys sealed in `folder` for this measurement and bundle, or seal new ones there.

        New ones are made when there are none or their epoch is over. Whatever lies there of an epoch that is over is
        erased, of other measurements and bundles too. Raises `KeysRefused` when a file was changed or is another
        machine's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        context = measurement + bundle
        name = f"keys-{digests.sha256(context).hex()[:16]}"
        sealing_key = _sealing_key(folder / "machine.secret", context)
        _erase_due(folder, now)
        for path in sorted(folder.glob(f"{name}-*.sealed")):
            keys = _unseal(path, sealing_key)
            if now < keys.expires:
                return keys
            _erase(path)  # its name promised more
        keys = cls.make(now)
        _write(folder / f"{name}-{keys.expires}.sealed", _seal(keys, sealing_key))
        return keys

    @cached_property
    def signing_public(self) -> bytes:
        """The compressed secp256k1 public key, 33 bytes."""
        return signatures.public_key(self.signing)

    @cached_property
    def enclave(self) -> bytes:
        """The enclave's id, 32 bytes."""
        return digests.enclave_id(self.signing_public)

    @property
    def expires(self) -> int:
        """The end of the epoch."""
        return self.made + EPOCH

    def report_data(self, bundle: bytes, channel: str, contract: str, operator: bytes, challenge: bytes) -> bytes:
        """Return the 64 bytes that a quote for registration must hold: the keys' binding, then the registration's."""
        keys = digests.enclave_binding(self.signing_public, self.encryption.public, bundle)
        return keys + digests.registration_binding(channel, contract, operator, challenge)


def _sealing_key(path: Path, context: bytes) -> bytes:
    """Derive the key for a context from the machine's secret, made on first use."""
    if not path.exists():
        _write(path, os.urandom(_SECRET))
    secret = path.read_bytes()
    if len(secret) != _SECRET:
        raise KeysRefused(f"{path} is damaged; delete the folder to start with new keys, then register anew")
    return HKDF(SHA256(), _SECRET, None, _SEALING + context).derive(secret)


def _seal(keys: EnclaveKeys, sealing_key: bytes) -> bytes:
    content = {"v": 1, "signing": keys.signing.hex(), "encryption": keys.encryption.secret.hex(), "made": keys.made}
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(sealing_key).encrypt(nonce, canonical.dumps(content), _SEALING)


def _unseal(path: Path, sealing_key: bytes) -> EnclaveKeys:
    sealed = path.read_bytes()
    try:
        content = canonical.loads(AESGCM(sealing_key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _SEALING))
        encryption = PrivateKey(bytes.fromhex(content["encryption"]))
        return EnclaveKeys(bytes.fromhex(content["signing"]), encryption, int(content["made"]))
    except (InvalidTag, ValueError, KeyError, TypeError, GoldenGrainError) as error:
        raise KeysRefused(
            f"{path.name} can't be opened: changed, or sealed on another machine; delete it and register anew"
        ) from error


def _erase_due(folder: Path, now: int) -> None:
    """Erase the files whose names say that their epoch is over; the name is a hint, the content is what counts."""
    for path in folder.glob("keys-*-*.sealed"):
        end = path.stem.rpartition("-")[2]
        if end.isdecimal() and int(end) <= now:
            _erase(path)


def _erase(path: Path) -> None:
    """Overwrite a file with zeros, then remove it."""
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def _write(path: Path, data: bytes) -> None:
    """Replace a file as a whole, readable by its owner only."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
