"""Which chaincodes a peer can run on a channel: defined there, approved by its organisation, installed on it."""

from __future__ import annotations

from dataclasses import dataclass

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.definitions import Definition
from goldengrain.network.embedded.failures import ProposalError
from goldengrain.network.embedded.lifecycle_state import implicit_collection, read_package_id
from goldengrain.network.embedded.packages import ChaincodePackage, PackageStore
from goldengrain.network.embedded.simulator import TxSimulator

__all__ = ["ChaincodeRegistry", "PrivateReader", "RunnableChaincode"]

LIFECYCLE = "_lifecycle"


@dataclass(frozen=True)
class RunnableChaincode:
    """A chaincode that this peer can run."""

    definition: Definition
    package: ChaincodePackage


class PrivateReader:
    """Read access to an organisation's own private lifecycle state (`ReadState`)."""

    def __init__(self, simulator: TxSimulator, msp_id: str) -> None:
        self._simulator = simulator
        self._collection = implicit_collection(msp_id)

    def get(self, key: str) -> bytes | None:
        """Give the value of `key`, or None."""
        return self._simulator.get_private(LIFECYCLE, self._collection, key)


class ChaincodeRegistry:
    """The chaincodes of one peer on one channel."""

    def __init__(self, channel: Channel, packages: PackageStore, msp_id: str) -> None:
        self._channel = channel
        self._packages = packages
        self._msp_id = msp_id
        self._approved: dict[tuple[str, int], str] = {}

    def forget(self) -> None:
        """Look approvals up again: a block with one was committed."""
        self._approved.clear()

    def find(self, name: str) -> RunnableChaincode:
        """Find a chaincode that this peer can run.

        Raises:
            ProposalError: with Fabric's words for what is missing.

        """
        definition = self._channel.definitions.get(name)
        if definition is None:
            raise ProposalError(f"chaincode {name} not found")
        package_id = self.approved_package(name, definition.sequence)
        if package_id is None:
            raise ProposalError(
                f"chaincode definition for '{name}' at sequence {definition.sequence} on channel "
                f"'{self._channel.channel_id}' has not yet been approved by this org"
            )
        package = self._packages.get(package_id)
        if package is None:
            raise ProposalError(f"chaincode definition for '{name}' exists, but chaincode is not installed")
        return RunnableChaincode(definition, package)

    def definitions_of(self, package_id: str) -> list[tuple[str, Definition]]:
        """List the committed definitions for which the organisation approved this package."""
        found = []
        for name in self._channel.definitions.names():
            definition = self._channel.definitions.get(name)
            if definition is not None and self.approved_package(name, definition.sequence) == package_id:
                found.append((name, definition))
        return found

    def runnable(self) -> list[RunnableChaincode]:
        """Everything that this peer can run."""
        found = []
        for name in self._channel.definitions.names():
            try:
                found.append(self.find(name))
            except ProposalError:
                continue
        return found

    def approved_package(self, name: str, sequence: int) -> str | None:
        """Package id that this peer's organisation approved for a definition ("" for none); None if it did not."""
        known = self._approved.get((name, sequence))
        if known is not None:
            return known
        simulator = self._channel.simulator("", self._msp_id)
        try:
            package_id = read_package_id(PrivateReader(simulator, self._msp_id), name, sequence)
        finally:
            simulator.done()
        if package_id is not None:
            self._approved[name, sequence] = package_id
        return package_id
