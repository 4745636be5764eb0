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

from goldengrain.chaincode.market.state import StateUnreadable
from goldengrain.chaincode.protocol.errors import (
    CollateralRefused,
    Conflict,
    ContractError,
    Forbidden,
    NotFound,
    PolicyRefused,
    QuoteRefused,
    ReportRefused,
    TaskStateRefuses,
    TimeRefused,
)


class Reason(StrEnum):
    """Why something has no counterpart."""

    MONEY = "coins are spent whole and made by vote; ether has a balance, and payments are pulled"
    TIME = "endorsers hold a client's timestamp against their clocks (W); a block has one time (W = 0)"
    QUOTES = "the chaincode verifies quotes; on the EVM governors vote an enclave's keys in"
    IDENTITY = "a certificate has an MSP id, a NodeOU and duties; an address has what governors set for it"
    INPUT = "arguments are parsed from JSON, signatures from bytes; calldata has types"
    STRUCTS = "the EVM keeps digests: who asks for a task or an offer brings all of it"
    UPGRADE = "a chaincode is upgraded in place and reads what older ones wrote; a contract's code stays"
    BRANCH = "a branch of the tree of errors, whose leaves are what is raised"
    NEVER = "no rule raises it: what it names can't happen, or is another refusal first"


COMMANDS: Mapping[str, Reason] = MappingProxyType(
    {
        "Transfer": Reason.MONEY,
        "PutCollateral": Reason.QUOTES,
        "Challenge": Reason.QUOTES,
    }
)
"""Commands of the chaincode's that the EVM contract doesn't have."""

TRANSLATED: Mapping[str, Reason] = MappingProxyType({"RegisterEnclave": Reason.QUOTES})
"""Commands that are something else there: a vote of two governors registers an enclave, with the same effect."""

SETTING: Mapping[str, Reason] = MappingProxyType({"Bootstrap": Reason.STRUCTS})
"""Commands that only the setting of both ledgers sends, each with the policy as its own ledger writes it."""

ACTIONS: Mapping[str, Reason] = MappingProxyType({"mint": Reason.MONEY, "burn": Reason.MONEY})
"""What is voted on Fabric alone."""

EVM_FUNCTIONS: Mapping[str, Reason] = MappingProxyType({"pull": Reason.MONEY, "spend": Reason.MONEY})
"""Functions that only the EVM contract has: an account pulls what is due to it, a vote spends the treasury's."""

EVM_ACTIONS: Mapping[str, Reason] = MappingProxyType(
    {"ENROL": Reason.IDENTITY, "REGISTER": Reason.QUOTES, "SPEND": Reason.MONEY}
)
"""What is voted on the EVM alone: an account's organisation, an enclave, the treasury's money."""

POLICY: Mapping[str, Reason] = MappingProxyType(
    {
        "window": Reason.TIME,
        "challenge_age": Reason.QUOTES,
        "roots": Reason.QUOTES,
        "measurements": Reason.QUOTES,
        "statuses": Reason.QUOTES,
        "verifier": Reason.QUOTES,
    }
)
"""Parts of the policy that the EVM's hasn't."""


def _below(kind: type[ContractError]) -> frozenset[str]:
    return frozenset({kind.code}).union(*(_below(one) for one in kind.__subclasses__()))


CODES: Mapping[str, Reason] = MappingProxyType(
    {
        **dict.fromkeys(("COIN_NOT_FOUND", "AMOUNT_TOO_LARGE"), Reason.MONEY),
        "CLOCK_REFUSED": Reason.TIME,
        StateUnreadable.code: Reason.UPGRADE,
        **dict.fromkeys(sorted(_below(CollateralRefused) | _below(QuoteRefused)), Reason.QUOTES),
        **dict.fromkeys(("COLLATERAL_NOT_FOUND", "COLLATERAL_ROLLBACK"), Reason.QUOTES),
        **dict.fromkeys(("CHALLENGE_NOT_FOUND", "CHALLENGE_USED", "FOREIGN_ORGANIZATION_REQUIRED"), Reason.QUOTES),
        **dict.fromkeys(("ENCLAVE_MEASUREMENT_RETIRED", "ENCLAVE_STATUS_RETIRED"), Reason.QUOTES),
        **dict.fromkeys(("CLIENT_REQUIRED", "DUTY_REFUSED", "POLICY_ORGANIZATIONS"), Reason.IDENTITY),
        **dict.fromkeys(("UNKNOWN_COMMAND", "KEY_MALFORMED", "SIGNATURE_MALFORMED"), Reason.INPUT),
        **dict.fromkeys(
            (
                one.code
                for one in (
                    ContractError,
                    Conflict,
                    Forbidden,
                    NotFound,
                    PolicyRefused,
                    ReportRefused,
                    TaskStateRefuses,
                    TimeRefused,
                )
            ),
            Reason.BRANCH,
        ),
        **dict.fromkeys(
            (
                "OWNER_REQUIRED",
                "ETA_REFUSED",
                "OFFER_EXISTS",
                "REPORT_TICKET_MISMATCH",
                "REPORT_OUTCOME_REFUSED",
                "REPORT_LOCKED_REFUSED",
            ),
            Reason.NEVER,
        ),
    }
)
"""Refusals that the EVM contract doesn't have."""


def codes() -> frozenset[str]:
    """Return the codes of every refusal that the chaincode has."""
    return _below(ContractError)


TABLES: Mapping[str, Mapping[str, Reason]] = MappingProxyType(
    {
        "commands on Fabric alone": COMMANDS,
        "commands that are a vote on the EVM": TRANSLATED,
        "commands that only found the market": SETTING,
        "votes on Fabric alone": ACTIONS,
        "functions on the EVM alone": EVM_FUNCTIONS,
        "votes on the EVM alone": EVM_ACTIONS,
        "parts of the policy on Fabric alone": POLICY,
        "refusals on Fabric alone": CODES,
    }
)


def markdown() -> str:
    """Return everything that differs, by reason, for the docs."""
    lines = ["| why | what |", "| --- | --- |"]
    for reason in Reason:
        parts = []
        for title, table in TABLES.items():
            names = [f"`{name}`" for name, why in table.items() if why is reason]
            if names:
                parts.append(f"{title}: {', '.join(names)}")
        lines.append(f"| {reason} | {'; '.join(parts)} |")
    return "\n".join(lines) + "\n"
