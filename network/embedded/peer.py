"""One peer of the embedded network: its identity, its packages, its chaincode connections, and its services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from fabric_protos.common import common_pb2

from goldengrain.network.embedded.blocks import BlockSigner
from goldengrain.network.embedded.chaincode_launcher import ChaincodeLaunchers
from goldengrain.network.embedded.chaincode_registry import ChaincodeRegistry
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.endorser import Endorser
from goldengrain.network.embedded.executor import EXECUTE_TIMEOUT_S, ChaincodeExecutor
from goldengrain.network.embedded.failures import ProposalError
from goldengrain.network.embedded.lifecycle import InstalledReference, Lifecycle
from goldengrain.network.embedded.msp import MspManager
from goldengrain.network.embedded.packages import ChaincodePackage, PackageStore
from goldengrain.network.embedded.system import SystemChaincodes

__all__ = ["MISSED_AFTER_S", "EmbeddedPeer"]

MISSED_AFTER_S = 25.0
"""How long others count on a peer that has stopped, in seconds: `peer.gossip.aliveExpirationTimeout`."""


class EmbeddedPeer:
    """A peer. Its channels are shared with the other peers of the process; the rest is its own."""

    def __init__(
        self,
        *,
        name: str,
        msp_id: str,
        address: str,
        signer: BlockSigner,
        channels: Mapping[str, Channel],
        msps: Callable[[], MspManager],
        packages: Path,
        clock: Callable[[], float],
        join: Callable[[EmbeddedPeer, common_pb2.Block], None],
        peers: Sequence[EmbeddedPeer],
        execute_timeout_s: float = EXECUTE_TIMEOUT_S,
    ) -> None:
        """Make it.

        Args:
            name: host name, for logs.
            msp_id: its organisation.
            address: HOST:PORT that it is announced under.
            signer: its signing identity.
            channels: what it has joined already, by name.
            msps: organisations as it knows them before it has joined a channel.
            packages: folder of its installed chaincode packages.
            clock: seconds since 1970.
            join: has it join the channel of a genesis block; raises ConfigError, LedgerError.
            peers: all of the network, this one included, as soon as they are made.
            execute_timeout_s: how long a chaincode may take for a transaction, in seconds.

        """
        self.name = name
        self.msp_id = msp_id
        self.address = address
        self.signer = signer
        self.channels = dict(channels)
        self.stopped_at: float | None = None
        self._clock = clock
        self._peers = peers
        self._local_msps = msps
        self._launchers = ChaincodeLaunchers()
        self._packages = PackageStore(packages)
        self._registries = {name: self._registry(channel) for name, channel in channels.items()}
        lifecycle = Lifecycle(msp_id, self._packages, self._references, self._installed)
        self._system = SystemChaincodes(msp_id, self.msps, self.channels, lifecycle, partial(join, self))
        executor = ChaincodeExecutor(
            self._system, self.channels, self._registries, self._launchers, msp_id, execute_timeout_s
        )
        self.endorser = Endorser(
            msp_id=msp_id,
            signer=signer,
            msps=self.msps,
            channels=self.channels,
            registries=self._registries,
            system=self._system,
            executor=executor,
            clock=clock,
            neighbours=self._neighbours,
        )

    def can_run(self, channel_id: str, chaincode: str) -> bool:
        """Whether this peer can run a chaincode, system chaincodes of the channel's own included."""
        registry = self._registries.get(channel_id)
        if registry is None:
            return False
        if chaincode == "_lifecycle":
            return True
        try:
            registry.find(chaincode)
        except ProposalError:
            return False
        return True

    def runnable(self, channel_id: str) -> list[tuple[str, str]]:
        """List name and version of the chaincodes that this peer can run on a channel, by name."""
        names = self.channels[channel_id].definitions.names()
        registry = self._registries[channel_id]
        return [(name, registry.find(name).definition.version) for name in names if self.can_run(channel_id, name)]

    def has_system_chaincode(self, name: str) -> bool:
        """Whether `name` is a system chaincode."""
        return self._system.has(name)

    def connect_chaincodes(self) -> None:
        """Dial, in the background, every chaincode that this peer can run and isn't connected to."""
        for registry in self._registries.values():
            registry.forget()
            for chaincode in registry.runnable():
                self._launchers.get(chaincode.package).start()

    def join(self, channel: Channel) -> None:
        """Take part in a channel from now on."""
        self.channels[channel.channel_id] = channel
        self._registries[channel.channel_id] = self._registry(channel)

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.stopped_at is None

    @property
    def listed(self) -> bool:
        """Whether others still count on it: it runs, or stopped less than `MISSED_AFTER_S` ago."""
        return self.stopped_at is None or self._clock() - self.stopped_at < MISSED_AFTER_S

    def _neighbours(self, channel_id: str) -> list[str]:
        """Organisations of the other peers that run on a channel."""
        return [peer.msp_id for peer in self._peers if peer is not self and peer.up and channel_id in peer.channels]

    def _registry(self, channel: Channel) -> ChaincodeRegistry:
        return ChaincodeRegistry(channel, self._packages, self.msp_id)

    async def stop(self) -> None:
        """Close the chaincode streams."""
        await self._launchers.stop()

    def msps(self) -> MspManager:
        """Organisations as the peer knows them without a channel: those of its first channel."""
        channel = next(iter(self.channels.values()), None)
        return self._local_msps() if channel is None else channel.config.msps

    def _installed(self, _: ChaincodePackage) -> None:
        self.connect_chaincodes()

    def _references(self, package_id: str) -> list[InstalledReference]:
        return [
            (channel_id, name, definition.version)
            for channel_id, registry in self._registries.items()
            for name, definition in registry.definitions_of(package_id)
        ]
