"""A wallet: a folder of ``LABEL.id`` files in the JSON format of Fabric's Node and Java SDKs.

::

    {"credentials": {"certificate": "-----BEGIN…", "privateKey": "-----BEGIN…"},
     "mspId": "Org1MSP", "type": "X.509", "version": 1}

Entries are replaced atomically and readable by their owner only.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from goldengrain.gateway.errors import WalletError
from goldengrain.gateway.identity import Credentials, Identity, credentials_from_pem
from goldengrain.gateway.passphrases import is_encrypted

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,127}")
_SUFFIX = ".id"


class Wallet:
    """Credentials under labels, in a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def labels(self) -> list[str]:
        """All labels, sorted; none where the folder does not exist."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name.removesuffix(_SUFFIX) for path in self.folder.glob(f"*{_SUFFIX}"))

    def get(self, label: str, password: bytes | None = None) -> Credentials:
        """Return the credentials under a label; a passphrase that is not given is asked for where it needs one.

        Raises WalletError (none, malformed) and IdentityError (unusable; its kinds where the passphrase is missing or
        wrong).
        """
        msp_id, certificate, key = self._entry(label)
        return credentials_from_pem(msp_id, certificate, key, password, name=f"the key of {label}")

    def identity(self, label: str) -> Identity:
        """Return who a label is; its key, which may be encrypted, is left alone. Raises WalletError."""
        msp_id, certificate, _ = self._entry(label)
        return Identity(msp_id, certificate)

    def is_encrypted(self, label: str) -> bool:
        """Whether the key under a label needs a passphrase. Raises WalletError."""
        return is_encrypted(self._entry(label)[2])

    def put(self, label: str, msp_id: str, certificate: bytes, private_key: bytes) -> None:
        """Store a certificate and its key (PEM) under a label, replacing what was there. Raises WalletError."""
        path = self._path(label)
        entry = {
            "credentials": {"certificate": certificate.decode("ascii"), "privateKey": private_key.decode("ascii")},
            "mspId": msp_id,
            "type": "X.509",
            "version": 1,
        }
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                json.dump(entry, file)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def remove(self, label: str) -> None:
        """Forget a label. Raises WalletError where there is none."""
        try:
            self._path(label).unlink()
        except FileNotFoundError:
            raise WalletError(f"no identity {label!r} in the wallet {self.folder}") from None

    def _entry(self, label: str) -> tuple[str, bytes, bytes]:
        """MSP id, certificate and key under a label."""
        path = self._path(label)
        try:
            entry = json.loads(path.read_bytes())
        except FileNotFoundError:
            known = ", ".join(self.labels()) or "none"
            raise WalletError(f"no identity {label!r} in the wallet {self.folder}; it has: {known}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise WalletError(f"{path} is not a wallet entry: {error}") from error
        msp_id, certificate, key = _parts(entry, path)
        return msp_id, certificate.encode(), key.encode()

    def _path(self, label: str) -> Path:
        if not _LABEL.fullmatch(label):
            raise WalletError(f"{label!r} is not a label: letters, digits and @._+- only, at most 128 characters")
        return self.folder / f"{label}{_SUFFIX}"


def _parts(entry: Any, path: Path) -> tuple[str, str, str]:
    try:
        found = entry["mspId"], entry["credentials"]["certificate"], entry["credentials"]["privateKey"]
    except (KeyError, TypeError) as error:
        raise WalletError(f"{path} is not a wallet entry: no {error}") from error
    if entry.get("type", "X.509") != "X.509" or not all(isinstance(part, str) and part.isascii() for part in found):
        raise WalletError(f"{path} is not an X.509 wallet entry")
    return found
