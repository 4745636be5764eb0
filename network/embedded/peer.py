"""One peer of the embedded network: its identity, its packages, its chaincode connections, and its services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

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

__all__ = ["EmbeddedPeer"]


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
        packages: Path,
        clock: Callable[[], float],
        execute_timeout_s: float = EXECUTE_TIMEOUT_S,
    ) -> None:
        """Make it.

        Args:
            name: host name, for logs.
            msp_id: its organisation.
            address: HOST:PORT that it is announced under.
            signer: its signing identity.
            channels: what it has joined, by name.
            packages: folder of its installed chaincode packages.
            clock: seconds since 1970.
            execute_timeout_s: how long a chaincode may take for a transaction, in seconds.

        """
        self.name = name
        self.msp_id = msp_id
        self.address = address
        self.signer = signer
        self._channels = channels
        self._launchers = ChaincodeLaunchers()
        self._packages = PackageStore(packages)
        self._registries = {
            channel_id: ChaincodeRegistry(channel, self._packages, msp_id) for channel_id, channel in channels.items()
        }
        lifecycle = Lifecycle(msp_id, self._packages, self._references, self._installed)
        self._system = SystemChaincodes(msp_id, self._msps, channels, lifecycle)
        executor = ChaincodeExecutor(
            self._system, channels, self._registries, self._launchers, msp_id, execute_timeout_s
        )
        self.endorser = Endorser(
            msp_id=msp_id,
            signer=signer,
            msps=self._msps,
            channels=channels,
            registries=self._registries,
            system=self._system,
            executor=executor,
            clock=clock,
        )

    def can_run(self, channel_id: str, chaincode: str) -> bool:
        """Whether this peer can run a chaincode, system chaincodes of the channel's own included."""
        if chaincode == "_lifecycle":
            return True
        registry = self._registries.get(channel_id)
        if registry is None:
            return False
        try:
            registry.find(chaincode)
        except ProposalError:
            return False
        return True

    def has_system_chaincode(self, name: str) -> bool:
        """Whether `name` is a system chaincode."""
        return self._system.has(name)

    def connect_chaincodes(self) -> None:
        """Dial, in the background, every chaincode that this peer can run and isn't connected to."""
        for registry in self._registries.values():
            registry.forget()
            for chaincode in registry.runnable():
                self._launchers.get(chaincode.package).start()

    async def stop(self) -> None:
        """Close the chaincode streams."""
        await self._launchers.stop()

    def _msps(self) -> MspManager:
        """Organisations as the peer knows them without a channel: those of its first channel."""
        return next(iter(self._channels.values())).config.msps

    def _installed(self, _: ChaincodePackage) -> None:
        self.connect_chaincodes()

    def _references(self, package_id: str) -> list[InstalledReference]:
        return [
            (channel_id, name, definition.version)
            for channel_id, registry in self._registries.items()
            for name, definition in registry.definitions_of(package_id)
        ]
