"""Files that a person names: models, bundles, evidence."""

from __future__ import annotations

from pathlib import Path

from goldengrain.cli.errors import FileRefused

MAX_FILE = 4 * 1024**3


def read_file(path: Path) -> bytes:
    """Return a file's bytes. Raises FileRefused where it can't be read or is larger than 4 GiB."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise FileRefused(f"{path} is larger than {MAX_FILE:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}") from error


def require_free(out: Path, force: bool) -> None:
    """Raise FileRefused where a file to be written is there already, unless it may be overwritten."""
    if out.exists() and not force:
        raise FileRefused(f"{out} exists; choose another file, or --force to overwrite it")
