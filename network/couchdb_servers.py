"""See that the CouchDB servers of a network's peers answer before a peer is started, which would try for minutes."""

from __future__ import annotations

import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterable

from .errors import CouchDbUnusable
from .native_config import couchdb_password
from .topology import Organization, Peer

_PATIENCE_S = 5.0


def check_couchdbs(peers: Iterable[tuple[Organization, Peer]]) -> None:
    """Ask each peer's server as its user.

    Raises:
        CouchDbUnusable: if one does not answer, refuses the user, or is no CouchDB.
        TopologyInvalid: if its password cannot be read.

    """
    for organization, peer in peers:
        if peer.couchdb is not None:
            secret = f"{peer.couchdb.username}:{couchdb_password(peer.couchdb)}".encode()
            request = urllib.request.Request(f"http://{peer.couchdb.address}/_all_dbs")
            request.add_header("Authorization", f"Basic {b64encode(secret).decode()}")
            where = f"CouchDB at {peer.couchdb.address}, which {peer.host(organization)} keeps its state in,"
            try:
                urllib.request.urlopen(request, timeout=_PATIENCE_S).close()  # noqa: S310 - http:// stands above
            except urllib.error.HTTPError as error:
                error.close()
                raise CouchDbUnusable(
                    f"{where} refuses user {peer.couchdb.username!r} ({error.code} {error.reason}); "
                    "mend `username` and `password_file` in the topology"
                ) from error
            except OSError as error:
                raise CouchDbUnusable(
                    f"{where} does not answer ({error}); start it, or leave `couchdb` out of the topology for LevelDB"
                ) from error
