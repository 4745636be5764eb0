"""The contract's functions: which rule answers which call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from goldengrain.chaincode.market import (
    claims,
    enclaves,
    governance,
    offers,
    queries,
    reports,
    settlement,
    tasks,
)
from goldengrain.chaincode.market.credits import transfer
from goldengrain.chaincode.market.driver import Steps
from goldengrain.chaincode.market.rules import Context, Rule
from goldengrain.chaincode.protocol.commands import COMMANDS, FUNCTIONS, parse

RULES: Mapping[str, Callable[[Any, Context], Rule]] = MappingProxyType(
    {
        "Bootstrap": governance.bootstrap,
        "Propose": governance.propose,
        "Vote": governance.vote,
        "Transfer": transfer,
        "PutCollateral": enclaves.put_collateral,
        "Challenge": enclaves.challenge,
        "RegisterEnclave": enclaves.register_enclave,
        "OpenTask": tasks.open_task,
        "ShutTask": tasks.shut_task,
        "RefundSlot": tasks.refund_slot,
        "OpenDataset": tasks.open_dataset,
        "SlashAudit": tasks.slash_audit,
        "SubmitOffer": offers.submit_offer,
        "WithdrawOffer": offers.withdraw_offer,
        "Rewrap": offers.rewrap,
        "Receipt": offers.receipt,
        "Claim": claims.claim,
        "Lapse": claims.lapse,
        "SubmitReport": reports.submit_report,
        "Expire": settlement.expire,
        "AwardOffer": settlement.award_offer,
        "Reveal": settlement.reveal,
        "Forfeit": settlement.forfeit,
        "Acknowledge": settlement.acknowledge,
        "JobTicket": reports.job_ticket,
        "GetPolicy": queries.get_policy,
        "GetProposal": queries.get_proposal,
        "ListProposals": queries.list_proposals,
        "GetCoin": queries.get_coin,
        "ListCoins": queries.list_coins,
        "GetCollateral": queries.get_collateral,
        "GetChallenge": queries.get_challenge,
        "GetEnclave": queries.get_enclave,
        "ListEnclaves": queries.list_enclaves,
        "GetTask": queries.get_task,
        "ListTasks": queries.list_tasks,
        "GetSlots": queries.get_slots,
        "GetOffer": queries.get_offer,
        "ListOffers": queries.list_offers,
        "ListOpenJobs": queries.list_open_jobs,
        "ListPolicies": queries.list_policies,
        "Leaderboard": queries.leaderboard,
    }
)
"""Every function's rule; the functions themselves are the protocol's."""

if sorted(RULES) != sorted(FUNCTIONS):
    raise AssertionError(f"rules for {sorted(RULES)}, but the functions are {sorted(FUNCTIONS)}")


def begin(args: Sequence[bytes], tx: Context) -> Steps:
    """Parse a call and start its rule. Raises `UnknownCommand`, `MalformedInput` or a named refusal."""
    request = parse(args)
    return Steps(RULES[request.function()](request, tx))


def event_name(args: Sequence[bytes]) -> str | None:
    """Return the name of a call's event: a command's own, a query has none."""
    name = args[0].decode()
    return name if name in COMMANDS else None
