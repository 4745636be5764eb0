"""Secrets that have to outlive a command: one JSON file each under ``HOME/secrets``, readable by their owner only.

    secrets/offers/OFFER.json      a developer's: K, r and the offer as it is sent
    secrets/tasks/TASK.json        a provider's: the private key that models are sealed to, the test set's key
    secrets/bought/OFFER.json      a provider's: the unlocked K of a bought model

A file is written before the transaction that makes it worth something is sent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from goldengrain.cli.errors import SecretMissing
from goldengrain.network.home import Home, write_atomically

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def path_of(home: Home, kind: str, name: bytes) -> Path:
    """Where a secret of a kind (``offers``, ``tasks``, ``bought``) lies."""
    return home.path / "secrets" / kind / f"{name.hex()}.json"


def private_folder(home: Home) -> Path:
    """The folder of all secrets, which only their owner may enter; what is sealed in pieces lies there meanwhile."""
    folder = home.path / "secrets"
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return folder


def write(home: Home, kind: str, name: bytes, value: dict[str, Any]) -> Path:
    """Write a secret durably, mode 0600; returns its file."""
    path = path_of(home, kind, name)
    private_folder(home)
    path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    write_atomically(path, json.dumps({"v": 1, **value}, indent=1).encode(), PRIVATE_FILE)
    return path


def read(home: Home, kind: str, name: bytes, what: str) -> dict[str, Any]:
    """Read a secret. Raises SecretMissing, saying ``what`` it is."""
    path = path_of(home, kind, name)
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SecretMissing(f"{what} is not in {path.parent}; use the --home where it was made") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SecretMissing(f"{what} cannot be read from {path}: {error}") from error
    if not isinstance(value, dict) or value.get("v") != 1:
        raise SecretMissing(f"{path} does not hold {what}")
    return value


def names(home: Home, kind: str) -> list[bytes]:
    """The names of all secrets of a kind."""
    folder = home.path / "secrets" / kind
    return [bytes.fromhex(path.stem) for path in sorted(folder.glob("*.json")) if len(path.stem) == 64]
