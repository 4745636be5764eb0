"""The content stores of a network's organisations, one each.

Without more an organisation's is the folder ``HOME/store/ORGANISATION``; ``goldengrain store use`` names another place,
which ``HOME/stores.json`` keeps: a folder, a bucket, a server (see ``goldengrain.gateway.store.locations``)::

    {"Org1MSP": "grpcs://store.org1.example.com:7443?ca=tlsca.pem"}

An organisation writes into its own store only and reads the others' as anybody would: by digest, verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from goldengrain.cli.contexts import Contexts
from goldengrain.cli.errors import FileRefused, StoreUnknown
from goldengrain.gateway.errors import BlobNotFound, StoreAnswerMalformed, StoreError, StoreUnreachable
from goldengrain.gateway.identity import PrivateKeySigner
from goldengrain.gateway.store import ContentStore
from goldengrain.gateway.store.locations import Caller, open_store
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home, write_atomically
from goldengrain.network.topology import Topology

_FILE = "stores.json"


class Stores:
    """The stores of a network's organisations; servers are called as ``identity`` (default: the context's).

    Raises NetworkNotFound where the folder holds no network, FileRefused where ``stores.json`` is damaged.
    """

    def __init__(self, home: Home, identity: str | None = None) -> None:
        self._home = home
        self._identity = identity
        self._topology = home.load_topology()
        self._opened: dict[str, ContentStore] = {}
        self._urls = _places(home, self._topology)

    def url(self, msp_id: str) -> str:
        """Where an organisation's store is. Raises StoreUnknown."""
        if msp_id not in self._urls:
            self._look_again()
        if msp_id not in self._urls:
            known = ", ".join(self._urls)
            raise StoreUnknown(f"no content store of {msp_id} is at hand, only those of {known}; name one with --from")
        return self._urls[msp_id]

    def of(self, msp_id: str) -> ContentStore:
        """The store of an organisation. Raises StoreUnknown, StoreError."""
        return self.at(self.url(msp_id))

    def at(self, place: str) -> ContentStore:
        """The store at a URL, or of an organisation (its name or MSP id). Raises StoreError."""
        for one in self._topology.organizations:
            if place.lower() in (one.name.lower(), one.msp_id.lower()):
                place = self.url(one.msp_id)
        if place not in self._opened:
            caller = self._caller() if place.startswith("grpcs:") else None
            self._opened[place] = open_store(place, caller)
        return self._opened[place]

    def use(self, msp_id: str, url: str) -> None:
        """Keep where an organisation's store is. Raises StoreUnknown, and StoreError for what is no URL of a store."""
        self.url(msp_id)
        self.at(url)
        kept = _load(self._home) | {msp_id: url}
        write_atomically(self._home.path / _FILE, json.dumps(kept, indent=2).encode())
        self._urls[msp_id] = url

    def holding(self, digest: bytes, first: Iterable[str] = ()) -> ContentStore:
        """A store that has a blob, looked for at the organisations ``first`` and then everywhere.

        A store that cannot be reached, or answers what is no answer, is passed over.

        Raises:
            BlobNotFound: where none has it.
            StoreUnreachable, StoreAnswerMalformed: where none has it, and one that might was passed over.

        """
        self._look_again()
        failure: StoreError | None = None
        for msp_id in dict.fromkeys([*first, *self._urls]):
            try:
                if msp_id in self._urls and (store := self.of(msp_id)).has(digest):
                    return store
            except (StoreUnreachable, StoreAnswerMalformed) as error:
                failure = failure or error
        raise failure or BlobNotFound(
            f"no organisation's store has the blob {digest.hex()}; ask who made it to publish it again"
        )

    def _look_again(self) -> None:
        """Take in organisations that have joined since, and stores that were named since: agents run for long."""
        self._topology = self._home.load_topology()
        self._urls = _places(self._home, self._topology)

    def _caller(self) -> Caller:
        """The identity's certificate and key, and the TLS authorities of all organisations here."""
        credentials = Wallet(self._home.wallet).get(self._identity or Contexts(self._home).current.identity)
        if not isinstance(credentials.signer, PrivateKeySigner):
            raise AssertionError("a wallet's entry holds its key")
        files = [
            self._home.peer(one, one.peers[0]) / "tls" / "ca.crt" for one in self._topology.organizations if one.peers
        ]
        roots = b"".join(one.read_bytes() for one in files if one.exists())
        return Caller(credentials.identity.certificate, credentials.signer.pem, roots)


def _places(home: Home, topology: Topology) -> dict[str, str]:
    return {one.msp_id: str(home.path / "store" / one.name) for one in topology.organizations} | _load(home)


def _load(home: Home) -> dict[str, str]:
    path = home.path / _FILE
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict) or not all(isinstance(url, str) for url in found.values()):
            raise ValueError("it is to hold a URL by MSP id")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise FileRefused(f"{path} is damaged ({error}); delete it and use `goldengrain store use` again") from error
    return found
