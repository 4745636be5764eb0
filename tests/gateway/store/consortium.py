"""Three organisations with CAs of their own, a stranger, and what cuts connections between them and a store."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509

from goldengrain.gateway.store import FolderStore
from goldengrain.gateway.store.members import Members
from goldengrain.gateway.store.remote import RemoteStore
from goldengrain.gateway.store.resuming import Patience
from goldengrain.gateway.store.server import Rights, StoreServer
from goldengrain.gateway.trust import Msp
from tests.gateway.certificates import Ca, Issued

ROLES = {name: name for name in ("client", "peer", "admin", "orderer")}


class Consortium:
    def __init__(self) -> None:
        self.authorities = {msp: Ca(msp) for msp in ("Org1MSP", "Org2MSP", "Org3MSP")}
        self.stranger = Ca("StrangerMSP")
        self.tls = Ca("tls")
        self.server_pair = self.tls.issue("store", hosts=("localhost", "127.0.0.1"))
        self.revoked = self.user("Org2MSP", "revoked")

    @property
    def members(self) -> Members:
        revoked = x509.load_pem_x509_certificate(self.revoked.certificate).serial_number
        return Members(
            [
                Msp(msp_id, (x509.load_pem_x509_certificate(ca.pem),), (), ROLES, frozenset({revoked}))
                for msp_id, ca in self.authorities.items()
            ]
        )

    def user(self, msp_id: str, name: str = "user", unit: str = "client") -> Issued:
        return self.authorities[msp_id].issue(name, unit)

    def server(self, folder: FolderStore, rights: Rights, listen: str = "127.0.0.1:0") -> StoreServer:
        return StoreServer(folder, self.members, rights, self.server_pair.certificate, self.server_pair.key, listen)

    def client(self, address: str, msp_id: str = "Org1MSP", user: Issued | None = None) -> RemoteStore:
        user = user or self.user(msp_id)
        return RemoteStore(
            address, self.tls.pem, user.certificate, user.key, patience=lambda: Patience(first_pause_s=0.05)
        )


@dataclass
class CuttingProxy:
    """Passes bytes on to a server and cuts each of the first ``cuts`` connections after ``after`` bytes."""

    target: str
    after: int
    cuts: int = 1
    upstream: bool = False
    """Count what goes to the server rather than what comes from it."""
    connections: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> str:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._start(self._accept)
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        _shut(self._listener, *self._sockets)
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._start(self._pass_on, near, self.after if self.connections < self.cuts else None)
                self.connections += 1

    def _pass_on(self, near: socket.socket, after: int | None) -> None:
        host, _, port = self.target.partition(":")
        with near, socket.create_connection((host, int(port))) as far:
            self._sockets += (near, far)
            up = self._start(self._pump, near, far, after if self.upstream else None)
            self._pump(far, near, None if self.upstream else after)
            up.join(5)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, after: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
                if after is not None and (after := after - len(data)) <= 0:
                    break
        _shut(source, sink)


def _shut(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
