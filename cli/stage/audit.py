"""What the ledger holds when the play is over, fetched again through Deliver and checked for oneself.

Every block from the genesis block on is verified (hash chain, orderer's and endorsers' signatures, see
:mod:`goldengrain.gateway.verifier`), through the peer of every organisation; their validation codes have to agree. Each
transaction that a client saw committed has to be there, with the code it was told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from goldengrain.cli.errors import CheckFailed
from goldengrain.gateway.blocks import BlockTransaction, transactions
from goldengrain.gateway.errors import BlockError
from goldengrain.gateway.network import Network
from goldengrain.gateway.verifier import BlockVerifier


@dataclass(frozen=True)
class LedgerTransaction:
    """A transaction on the ledger: id, the function it called, its block, its validation code's name."""

    id: str
    command: str
    block: int
    code: str

    def to_json(self) -> dict[str, str | int]:
        """As plain JSON values."""
        return {"id": self.id, "command": self.command, "block": self.block, "code": self.code}


async def verified_transactions(networks: Iterable[Network]) -> list[LedgerTransaction]:
    """Every endorser transaction of the channel in order, the same and verified through each network connection.

    Raises:
        CheckFailed: where a block does not prove what it says, or peers differ.

    """
    seen: list[LedgerTransaction] | None = None
    for network in networks:
        found = await _verified(network)
        if seen is not None and found != seen:
            raise CheckFailed("two organisations' peers tell different validation codes for the same blocks")
        seen = found
    return seen or []


def check_acknowledged(ledger: Iterable[LedgerTransaction], acknowledged: Iterable[tuple[str, int, str]]) -> None:
    """Compare the ledger with what clients were told: (transaction id, block, code) of each commit.

    Raises:
        CheckFailed: where a transaction is missing, or stands elsewhere or with another code.

    """
    by_id = {one.id: (one.block, one.code) for one in ledger}
    for transaction, block, code in acknowledged:
        if by_id.get(transaction) != (block, code):
            raise CheckFailed(
                f"{transaction} was reported {code} in block {block}; the ledger has {by_id.get(transaction)}"
            )


async def _verified(network: Network) -> list[LedgerTransaction]:
    height = await network.height()
    genesis = await network.fetch_block(0)
    verifier = BlockVerifier.from_genesis(genesis)
    found = transactions(genesis)
    async with network.fetch_blocks(1, height - 1) as blocks:
        async for block in blocks:
            try:
                found += verifier.verify(block)
            except BlockError as error:
                raise CheckFailed(f"the ledger does not pass the check: {error}") from error
    return [_described(one) for one in found if one.kind == "ENDORSER_TRANSACTION"]


def _described(one: BlockTransaction) -> LedgerTransaction:
    return LedgerTransaction(one.transaction_id, one.call.function if one.call else "", one.block, one.code_name)
