"""What a load has left on the ledger, checked afterwards: no figure counts whose blocks are not in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fabric_protos.common import common_pb2

from goldengrain.gateway.blocks import transactions
from goldengrain.gateway.network import Network
from tests.blockcheck.checker import check_chain


async def check_blocks(network: Network, acknowledged: Sequence[str]) -> tuple[int, list[str]]:
    """Fetch a channel's blocks and check them with the independent checker, see `tests.blockcheck`.

    Args:
        network: the channel.
        acknowledged: ids of the transactions that were reported as committed.

    Returns:
        The number of blocks, and what is wrong: blocks that fail, acknowledged transactions that are not on the ledger
        as VALID exactly once.

    """
    async with network.fetch_blocks(0, await network.height() - 1) as fetched:
        blocks: list[common_pb2.Block] = [block async for block in fetched]
    faults = check_chain([block.SerializeToString() for block in blocks])
    wrong = [f"block {number}: {'; '.join(problems)}" for number, problems in faults.items()]
    valid = Counter(one.transaction_id for block in blocks for one in transactions(block) if one.valid)
    wrong += [f"{one} is {valid[one]} times VALID on the ledger" for one in acknowledged if valid[one] != 1]
    return len(blocks), wrong
