"""The passphrase of private keys that lie encrypted (PKCS#8), where the caller does not hand it in.

It is asked for only when a key turns out to be encrypted, in this order: the environment variable
``GOLDENGRAIN_KEY_PASSWORD``, the file that ``GOLDENGRAIN_KEY_PASSWORD_FILE`` names (its first line), and whom a program
has named by ``ask``: the command line names the file of the context in use, then the person at the terminal::

    ask(lambda what: getpass(f"passphrase of {what}: ").encode())
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from goldengrain.gateway.errors import PassphraseMissing

VARIABLE = "GOLDENGRAIN_KEY_PASSWORD"
FILE_VARIABLE = "GOLDENGRAIN_KEY_PASSWORD_FILE"

Source = Callable[[str], bytes | None]
"""Takes what the passphrase is for; None where it has none."""

_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
_asked: list[Source] = []


def ask(source: Source | None) -> None:
    """Have a program's own source asked where the environment says nothing; None for nobody."""
    _asked[:] = [source] if source else []


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key in PEM needs a passphrase."""
    return any(mark in pem for mark in _ENCRYPTED)


def passphrase(what: str) -> bytes:
    """Return the passphrase of a key; ``what`` names the key to who is asked.

    Raises:
        PassphraseMissing: where nobody knows it, or a file that should hold it cannot be read.

    """
    if given := os.environ.get(VARIABLE):
        return given.encode()
    if name := os.environ.get(FILE_VARIABLE):
        return read_passphrase(Path(name))
    for source in _asked:
        if found := source(what):
            return found
    raise PassphraseMissing(
        f"{what} is encrypted: set {VARIABLE}, or {FILE_VARIABLE} to a file with its passphrase, or name that file in "
        "the context (`goldengrain context use NAME --password-file FILE`)"
    )


def read_passphrase(path: Path) -> bytes:
    """Return the first line of a file. Raises PassphraseMissing where it cannot be read or is empty."""
    try:
        found = path.read_bytes().partition(b"\n")[0].rstrip(b"\r")
    except OSError as error:
        raise PassphraseMissing(f"the file {path} with the passphrase cannot be read: {error.strerror}") from error
    if not found:
        raise PassphraseMissing(f"the file {path} holds no passphrase in its first line")
    return found
