"""What peers tell of each other: the gossip messages in which the discovery service hands out its answers.

Nothing gossips here, since all peers are in one process. Clients of the discovery service read endpoint, ledger height
and chaincodes out of such messages, so they are made, and signed by the peer that they are about.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from typing import TYPE_CHECKING

from fabric_protos.discovery import protocol_pb2
from fabric_protos.gossip import message_pb2
from fabric_protos.msp import identities_pb2

from goldengrain.network.embedded.channel import Channel

if TYPE_CHECKING:
    from goldengrain.network.embedded.peer import EmbeddedPeer

__all__ = ["Announcements", "pki_id"]

_LIFECYCLE_VERSION = "1"


def pki_id(identity: bytes) -> bytes:
    """The id of a peer in gossip: SHA-256 of MSP id and certificate of its serialised identity."""
    message = identities_pb2.SerializedIdentity.FromString(identity)
    return hashlib.sha256(message.mspid.encode() + message.id_bytes).digest()


class Announcements:
    """Makes peers' messages. Their times are the process's, in nanoseconds since 1970, not the ledger's."""

    def __init__(self) -> None:
        self._started = time.time_ns()
        self._alive = itertools.count(1)

    def peer(self, peer: EmbeddedPeer, channel: Channel | None = None) -> protocol_pb2.Peer:
        """Describe a peer, with what it has on a channel if one is given."""
        found = protocol_pb2.Peer(identity=peer.signer.identity, membership_info=self._membership(peer))
        if channel is not None:
            found.state_info.CopyFrom(self._state(peer, channel))
        return found

    def _membership(self, peer: EmbeddedPeer) -> message_pb2.Envelope:
        message = message_pb2.GossipMessage(tag=message_pb2.GossipMessage.EMPTY)
        message.alive_msg.membership.endpoint = peer.address
        message.alive_msg.membership.pki_id = pki_id(peer.signer.identity)
        message.alive_msg.timestamp.inc_num = self._started
        message.alive_msg.timestamp.seq_num = next(self._alive)
        return _signed(peer, message)

    def _state(self, peer: EmbeddedPeer, channel: Channel) -> message_pb2.Envelope:
        own_id = pki_id(peer.signer.identity)
        message = message_pb2.GossipMessage(tag=message_pb2.GossipMessage.CHAN_OR_ORG)
        info = message.state_info
        info.timestamp.inc_num = self._started
        info.timestamp.seq_num = time.time_ns()
        info.pki_id = own_id
        info.channel_MAC = hashlib.sha256(own_id + channel.channel_id.encode()).digest()
        info.properties.ledger_height = channel.height
        for name, version in peer.runnable(channel.channel_id):
            info.properties.chaincodes.add(name=name, version=version)
        info.properties.chaincodes.add(name="_lifecycle", version=_LIFECYCLE_VERSION)
        return _signed(peer, message)


def _signed(peer: EmbeddedPeer, message: message_pb2.GossipMessage) -> message_pb2.Envelope:
    payload = message.SerializeToString()
    return message_pb2.Envelope(payload=payload, signature=peer.signer.sign(payload))
