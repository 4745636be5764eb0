"""What has to hold for the blocks that the contracts of this folder have made, on any network."""

from fabric_protos.common import common_pb2

from tests.blockcheck.checker import check_chain
from tests.conformance.deployed import Deployed


async def stored_blocks(deployed: Deployed, organization: int = 0) -> list[bytes]:
    """Every block of the channel as one organisation's peer stores it."""
    async with deployed.network(organization) as network:
        last = await network.height() - 1
        async with network.fetch_blocks(0, last) as blocks:
            return [block.SerializeToString() async for block in blocks]


class CheckedLedger:
    """Mixed into a module's last test class: what came before is what is checked."""

    async def test_every_block_passes_an_independent_checker(self, deployed: Deployed) -> None:
        blocks = await stored_blocks(deployed)
        assert len(blocks) > 20
        assert check_chain(blocks) == {}

    async def test_peers_of_all_organisations_store_the_same_blocks(self, deployed: Deployed) -> None:
        """But for the orderers' signatures: each SmartBFT orderer hands out a quorum of its own choice."""
        chains = [await stored_blocks(deployed, organization) for organization in range(3)]
        first, second, third = [[unsigned(block) for block in chain] for chain in chains]
        assert first == second == third


def unsigned(raw: bytes) -> bytes:
    """A block without its orderers' signatures, which the checker has checked."""
    block = common_pb2.Block.FromString(raw)
    block.metadata.metadata[common_pb2.SIGNATURES] = b""
    return block.SerializeToString()
