"""Contexts: through which organisation's peer, as whom, on which channel and contract commands act.

A network has one context per organisation, named after it in lower case (``org1``), made from ``network.json``;
``context use`` picks one and may change what it stands for. The choice lies in ``HOME/contexts.json``::

    {"current": "org1", "changed": {"org1": {"identity": "alice", "contract": "golden-grain"}}}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from goldengrain.cli.errors import ContextUnknown, FileRefused
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home, OrganizationState, write_atomically

CONTRACT = "golden-grain"
_FILE = "contexts.json"
CHANGEABLE = ("identity", "contract", "password_file")


@dataclass(frozen=True)
class Context:
    """Where commands go: the gateway of ``organization``, as wallet entry ``identity``."""

    name: str
    organization: str
    identity: str
    channel: str
    contract: str = CONTRACT
    password_file: str | None = None
    """File with the passphrase of the identity's key, where that is encrypted."""

    def to_json(self) -> dict[str, str | None]:
        """As plain JSON values."""
        return asdict(self)


class Contexts:
    """The contexts of one home folder.

    Raises:
        NetworkNotFound: if there is no network in the folder.
        FileRefused: if ``contexts.json`` is damaged.

    """

    def __init__(self, home: Home) -> None:
        self._file = home.path / _FILE
        self._stored = _load(self._file)
        self._labels = Wallet(home.wallet).labels()
        state = home.load_state()
        made = (_default(organization, state.channel) for organization in state.organizations)
        changed: dict[str, dict[str, Any]] = self._stored.get("changed", {})
        self._contexts = {one.name: replace(one, **changed.get(one.name, {})) for one in made}

    def all(self) -> list[Context]:
        """Every context, in the network's order of organisations."""
        return list(self._contexts.values())

    @property
    def current(self) -> Context:
        """The context in use; until another was chosen the first one whose identity is here."""
        name = self._stored.get("current")
        if name in self._contexts:
            return self._contexts[name]
        return next((one for one in self.all() if one.identity in self._labels), self.all()[0])

    def get(self, name: str) -> Context:
        """A context by its name. Raises ContextUnknown."""
        try:
            return self._contexts[name]
        except KeyError as error:
            known = ", ".join(self._contexts)
            raise ContextUnknown(f"no context {name!r}; there are {known}") from error

    def use(self, name: str, **changes: str | None) -> Context:
        """Make a context the current one, with what is ``CHANGEABLE`` of it changed where given."""
        chosen = replace(self.get(name), **{key: value for key, value in changes.items() if value is not None})
        self._contexts[name] = chosen
        changed = self._stored.get("changed", {}) | {name: {key: getattr(chosen, key) for key in CHANGEABLE}}
        self._stored = {"current": name, "changed": changed}
        write_atomically(self._file, json.dumps(self._stored, indent=2).encode())
        return chosen


def password_file(home: Home) -> Path | None:
    """The file that the context in use names for its key's passphrase, in a folder whose network is down, too."""
    stored = _load(home.path / _FILE)
    found = stored.get("changed", {}).get(stored.get("current"), {}).get("password_file")
    return Path(found) if found else None


def _load(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise FileRefused(f"{file} cannot be read ({error}); remove it to start with fresh contexts") from error
    if not isinstance(stored, dict):
        raise FileRefused(f"{file} holds no contexts; remove it to start with fresh ones")
    return stored


def _default(organization: OrganizationState, channel: str) -> Context:
    return Context(
        name=organization.name.lower(),
        organization=organization.name,
        identity=f"User1@{organization.domain}",
        channel=channel,
    )
