"""Every key that was made in a home folder, looked for in what is written for others to read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from pathlib import Path

from goldengrain.chaincode.protocol.digests import sha256
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.cli.founding import bundle_file
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.measurement import simulated_measurement
from goldengrain.enclave.quoting.bodies import measurement_of
from goldengrain.network.home import Home


def require_no_secret(home: Path, texts: Iterable[bytes]) -> None:
    """Fail where a key of developers, providers, operators, users or enclaves stands in one of the texts.

    They are looked for in any of the ways in which bytes are written.
    """
    secrets = secrets_of(home)
    assert len(secrets) > 15
    assert min(map(len, secrets)) >= 32
    written = b"\n".join(texts)
    for secret in secrets:
        for form in (secret, secret.hex().encode(), base64.b64encode(secret), repr(secret).encode()):
            assert form not in written


def secrets_of(home: Path) -> list[bytes]:
    """Every key that lies in a home folder: of offers and tasks, of wallets, and of its enclaves, unsealed."""
    found = [one.read_bytes() for one in home.rglob("machine.secret")]
    for path in (home / "secrets").rglob("*.json"):
        kept = json.loads(path.read_text())
        found += [bytes.fromhex(kept[name]) for name in ("key", "secret", "private_key", "dataset_key") if name in kept]
    for path in home.rglob("*"):
        if path.is_file() and path.stat().st_size < 20_000:
            blocks = re.findall(rb"PRIVATE KEY-----(.*?)-----END", path.read_bytes(), re.DOTALL)
            found += [re.sub(rb"\\n|\s", b"", block)[-60:] for block in blocks]
    return found + _of_enclaves(home)


def _of_enclaves(home: Path) -> list[bytes]:
    bundle = TrustBundle.from_bytes(bundle_file(Home(home)).read_bytes()).digest()
    found = []
    for tee in Tee:
        measurement = measurement_of(tee, simulated_measurement())
        for sealed in home.rglob(f"keys-{sha256(measurement + bundle).hex()[:16]}-*.sealed"):
            keys = EnclaveKeys.unseal_or_make(sealed.parent, measurement, bundle, 0)
            found += [keys.signing, keys.encryption.secret]
    assert found, "no enclave has sealed its keys here"
    return found
