"""In what the EVM contract can't be the chaincode, all of it; a test sees to it that nothing else differs.

Three things are others by nature: what money is (coins here, ether there), where time comes from (a client's timestamp
that endorsers hold against their clocks; the block's), and who verifies quotes (the contract; governors, off the EVM).
Everything below follows from one of them, or from what a call is: parsed JSON signed with a certificate, or typed
calldata from an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from goldengrain.chaincode.protocol.errors import ContractError


class Reason(StrEnum):
    """Why something has no counterpart."""

    MONEY = "coins are spent whole and made by vote; ether has a balance, and payments are pulled"
    TIME = "endorsers hold a client's timestamp against their clocks (W); a block has one time (W = 0)"
    QUOTES = "the chaincode verifies quotes; on the EVM governors vote an enclave's address in"
    IDENTITY = "a certificate has an MSP, a NodeOU and duties; an address has what governors set for it"
    INPUT = "arguments are parsed from JSON; calldata has types"
    FOUNDING = "the first policy is a transaction; a contract has a constructor, and its policy fewer parts"
    TEST_SETS = "what is kept for readers alone"


COMMANDS: Mapping[str, Reason] = MappingProxyType(
    {
        "Bootstrap": Reason.FOUNDING,
        "Transfer": Reason.MONEY,
        "PutCollateral": Reason.QUOTES,
        "Challenge": Reason.QUOTES,
    }
)
"""Commands of the chaincode's that the EVM contract doesn't have. `RegisterEnclave` is a vote there, and so are the
accounts' organisations."""

ACTIONS: Mapping[str, Reason] = MappingProxyType({"mint": Reason.MONEY, "burn": Reason.MONEY})
"""What is voted on Fabric alone."""


def common_code(code: str | None) -> str | None:
    """Return what an error's code is compared by: itself."""
    return code


def codes() -> frozenset[str]:
    """Return the codes of every refusal that the chaincode has."""

    def below(kind: type[ContractError]) -> set[str]:
        return {kind.code}.union(*(below(one) for one in kind.__subclasses__()))

    return frozenset(below(ContractError))
