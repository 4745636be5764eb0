"""Choosing the peers that endorse a transaction: the smallest set, with the first peer in it, that its policies accept.

Real peers learn from gossip and discovery who else is there; here all peers are in one process, and a policy is simply
asked whether the identities of a set of peers would satisfy it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import PolicyError, PolicySyntaxError
from goldengrain.network.embedded.interest import Interest
from goldengrain.network.embedded.policies import Policy

if TYPE_CHECKING:
    from goldengrain.network.embedded.peer import EmbeddedPeer

__all__ = ["NoPlanError", "Planner"]

_REMEMBERED = 1000


class NoPlanError(Exception):
    """No set of peers can endorse this; the text is Fabric's."""


class Planner:
    """Chooses endorsers on one channel, spreading the load over the organisations."""

    def __init__(self, channel: Channel, peers: Sequence[EmbeddedPeer]) -> None:
        self._channel = channel
        self._peers = peers
        self._turn = itertools.count()
        self._known: dict[tuple[object, ...], bool] = {}
        self._known_config = channel.config

    def candidates(self, chaincodes: Iterable[str], own: EmbeddedPeer) -> list[EmbeddedPeer]:
        """List the peers that can run all these chaincodes, `own` first.

        Raises:
            NoPlanError: a chaincode is not defined, or no peer has it.

        """
        names = list(chaincodes)
        for name in names:
            if self._channel.definitions.policy(self._channel.config, name) is None:
                raise NoPlanError(f"No metadata was found for chaincode {name} in channel {self._channel.channel_id}")
        able = [
            peer
            for peer in self._peers
            if peer.listed and all(peer.can_run(self._channel.channel_id, name) for name in names)
        ]
        if not able:
            raise NoPlanError("required chaincodes are not installed on sufficient peers")
        return sorted(able, key=lambda peer: peer is not own)

    def plan(self, interest: Interest, first: EmbeddedPeer, candidates: Sequence[EmbeddedPeer]) -> list[EmbeddedPeer]:
        """Choose the endorsers of a transaction, `first` (which has endorsed already) among them where that can be.

        Raises:
            NoPlanError: no set of the candidates satisfies the policies.

        """
        others = [peer for peer in candidates if peer is not first]
        if others:
            turn = next(self._turn) % len(others)
            others = others[turn:] + others[:turn]
        return self._smallest(interest, first, others)

    def replan(
        self,
        interest: Interest,
        first: EmbeddedPeer,
        candidates: Sequence[EmbeddedPeer],
        failed: Sequence[EmbeddedPeer],
    ) -> list[EmbeddedPeer]:
        """Choose again after some have failed: another peer of their organisation rather than another organisation.

        Raises:
            NoPlanError: no set of the remaining candidates satisfies the policies.

        """
        organizations = {peer.msp_id for peer in failed}
        others = [peer for peer in candidates if peer is not first and peer not in failed]
        return self._smallest(interest, first, sorted(others, key=lambda peer: peer.msp_id not in organizations))

    def _smallest(self, interest: Interest, first: EmbeddedPeer, others: Sequence[EmbeddedPeer]) -> list[EmbeddedPeer]:
        for size in range(len(others) + 1):
            for chosen in itertools.combinations(others, size):
                if self.satisfiable(interest, [first, *chosen]):
                    return [first, *chosen]
        raise NoPlanError("no peer combination can satisfy the endorsement policy")

    def satisfiable(self, interest: Interest, peers: Sequence[EmbeddedPeer]) -> bool:
        """Whether all these peers together satisfy the policies."""
        config = self._channel.config
        if config is not self._known_config or len(self._known) > _REMEMBERED:
            self._known.clear()
            self._known_config = config
        key = (interest.policies, interest.key_policies, tuple(peer.name for peer in peers))
        if key not in self._known:
            self._known[key] = self._satisfied(self._policies(interest), peers)
        return self._known[key]

    def _policies(self, interest: Interest) -> list[Policy]:
        tree = self._channel.config.policies
        try:
            return [
                *(tree.application(policy) for policy in interest.policies),
                *(tree.signature(policy) for policy in interest.key_policies),
            ]
        except PolicySyntaxError as error:
            raise NoPlanError(str(error)) from error

    def _satisfied(self, policies: Sequence[Policy], peers: Sequence[EmbeddedPeer]) -> bool:
        msps = self._channel.config.msps
        identities = [msps.deserialize(peer.signer.identity) for peer in peers]
        try:
            for policy in policies:
                policy.check(identities)
        except PolicyError:
            return False
        return True
