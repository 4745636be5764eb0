"""Which peers have joined which channels, in a small file beside the ledgers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from goldengrain.network.embedded.errors import LedgerCorruptError

__all__ = ["JoinedPeers"]

_FILE = "joined.json"


class JoinedPeers:
    """Host names of peers by channel."""

    def __init__(self, folder: Path) -> None:
        """Read what was kept in a folder.

        Raises:
            LedgerCorruptError: the file can't be read.

        """
        self._path = folder / _FILE
        self._hosts: dict[str, list[str]] = {}
        if self._path.exists():
            try:
                self._hosts = {str(name): [str(host) for host in hosts] for name, hosts in self._read().items()}
            except (ValueError, AttributeError, TypeError, RecursionError) as error:
                raise LedgerCorruptError(
                    f"{self._path} is damaged ({error}): restore it, or remove it to have all peers join "
                    "the topology's channel and no other"
                ) from error

    def _read(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(self._path.read_text(encoding="utf-8"))
        return found

    def channels(self) -> list[str]:
        """All channels that a peer has joined."""
        return sorted(self._hosts)

    def of(self, channel: str) -> list[str]:
        """The peers on a channel."""
        return self._hosts.get(channel, [])

    def add(self, channel: str, hosts: Iterable[str]) -> None:
        """Keep that peers have joined a channel."""
        known = self._hosts.setdefault(channel, [])
        known += [host for host in hosts if host not in known]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._hosts, indent=1), encoding="utf-8")
        draft.replace(self._path)
