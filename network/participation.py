"""An orderer's channel participation API: join a channel, ask about it (HTTPS with a client certificate).

Source: Fabric's swagger definition of `/participation/v1/channels`.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from goldengrain.gateway.errors import PassphraseWrong
from goldengrain.gateway.passphrases import is_encrypted, passphrase

from .errors import ChannelJoinFailed, NetworkIncomplete, OrdererAnswerMalformed
from .home import Home
from .topology import LOOPBACK, Orderer, OrdererOrganization

_PATH = "/participation/v1/channels"
_JOINED, _EXISTS, _CONFLICT = 201, 405, 409


@dataclass(frozen=True)
class ChannelInfo:
    """What an orderer says about a channel, such as `consenter`, `active`, and how many blocks it has."""

    name: str
    consensus_relation: str
    status: str
    height: int


class Participation:
    """One orderer's admin endpoint. Its calls block; run them in a thread where an event loop runs."""

    def __init__(self, port: int, *, root: Path, certificate: Path, key: Path, timeout_s: float = 10.0) -> None:
        """Prepare calls to `127.0.0.1:port`.

        Args:
            port: of the admin endpoint.
            root: PEM file of the TLS authority of the ordering organisation.
            certificate: PEM file of a TLS client certificate from that authority.
            key: its private key.
            timeout_s: of each call.

        """
        self._port = port
        self._timeout = timeout_s
        self._context = ssl.create_default_context(cafile=str(root))
        name = f"the key {key}"
        try:
            self._context.load_cert_chain(certificate, key, lambda: passphrase(name))
        except ssl.SSLError as error:
            if not is_encrypted(key.read_bytes()):
                raise
            raise PassphraseWrong(f"{name} is encrypted by another passphrase than the one given") from error

    def join(self, genesis_block: bytes) -> None:
        """Have the orderer join the channel of a genesis block; one that has joined already is left as it is.

        Raises:
            ChannelJoinFailed: if the orderer refuses.
            OSError: if it does not answer.

        """
        boundary = secrets.token_hex(16)
        body = b"\r\n".join(
            [
                f"--{boundary}".encode(),
                b'Content-Disposition: form-data; name="config-block"; filename="genesis.block"',
                b"Content-Type: application/octet-stream",
                b"",
                genesis_block,
                f"--{boundary}--".encode(),
                b"",
            ]
        )
        status, answer = self._call("POST", _PATH, body, f"multipart/form-data; boundary={boundary}")
        if status not in (_JOINED, _EXISTS, _CONFLICT):
            raise ChannelJoinFailed(
                f"the orderer at port {self._port} refused to join the channel ({status}): {_reason(answer)}"
            )

    def info(self, channel: str) -> ChannelInfo | None:
        """Ask about a channel; None if the orderer has not joined it.

        Raises:
            OSError: if the orderer does not answer.
            OrdererAnswerMalformed: if what answers is no orderer's admin endpoint.

        """
        status, answer = self._call("GET", f"{_PATH}/{channel}")
        if status != 200:
            return None
        return _channel_info(answer, f"the orderer at port {self._port}")

    def _call(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=self._timeout, context=self._context)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(f"the orderer at port {self._port} gave no HTTP answer: {error!r}") from error
        finally:
            connection.close()


def participation(home: Home, owner: OrdererOrganization, orderer: Orderer) -> Participation:
    """An orderer's admin endpoint, as its organisation's Admin.

    Raises:
        NetworkIncomplete: if the Admin's TLS key is not in this folder.

    """
    admin = home.user(owner, "Admin") / "tls"
    if not (admin / "client.key").exists():
        raise NetworkIncomplete(f"{admin} holds no key of {owner.name}'s Admin; who has that key has to do this")
    return Participation(
        orderer.admin_port, root=admin / "ca.crt", certificate=admin / "client.crt", key=admin / "client.key"
    )


def read_metrics(operations_port: int) -> str:
    """An orderer's or peer's metrics in Prometheus' text form; empty where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{operations_port}/metrics", timeout=5) as answer:
            return metrics_of(answer.read())
    except (OSError, http.client.HTTPException):
        return ""


def metrics_of(answer: bytes) -> str:
    """The text of an answer; what is no text in it is no metric."""
    return answer.decode(errors="replace")


def has_leader(metrics: str, channel: str) -> bool:
    """Whether an orderer leads a channel (Raft), or knows who does (SmartBFT), by its metrics."""
    return leads(metrics, channel) or re.search(_metric("BFT_leader_id", channel), metrics, re.MULTILINE) is not None


def leads(metrics: str, channel: str) -> bool:
    """Whether an orderer leads a channel, by its metrics."""
    return re.search(_metric("(?:etcdraft|BFT)_is_leader", channel), metrics, re.MULTILINE) is not None


def _metric(name: str, channel: str) -> str:
    return rf'^consensus_{name}\{{channel="{re.escape(channel)}"\}} [1-9]'


def _channel_info(answer: bytes, orderer: str) -> ChannelInfo:
    try:
        found = json.loads(answer)
        name, relation, status = (str(found[one]) for one in ("name", "consensusRelation", "status"))
        return ChannelInfo(name, relation, status, int(found["height"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise OrdererAnswerMalformed(
            f"{orderer} answers what no admin endpoint of an orderer answers ({error!r}); is another program there?"
        ) from error


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return answer.decode(errors="replace")[:200]
