"""Governance: founding the market, and what the organisations vote (protocol sections 1 and 3).

An admin of one organisation proposes, which is also its vote; the vote that completes the majority (and never fewer
than k organisations) carries the proposal out, in the same transaction. Every version of the policy stays on the
ledger under its number. What runs is not touched by a new one: a task has fixed what applies to it.
"""

from __future__ import annotations

from typing import Any

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.credits import Till, coin_keys
from goldengrain.chaincode.market.guards import not_after, require, require_admin, require_member, require_policy
from goldengrain.chaincode.market.records import PolicyRecord, ProposalRecord, ProposalState
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.protocol.coins import total
from goldengrain.chaincode.protocol.commands import Bootstrap, Propose, Vote
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.errors import (
    AlreadyBootstrapped,
    AlreadyVoted,
    CoinNotFound,
    EnclaveNotFound,
    PolicyNumberStale,
    ProposalClosed,
    ProposalNotFound,
    TooLate,
)
from goldengrain.chaincode.protocol.policy import Policy


def bootstrap(command: Bootstrap, tx: Context) -> Rule:
    """Found the market with its first policy; once, by any organisation's admin."""
    require_admin(tx.caller)
    found = yield Get([keys.POLICY])
    if found.get(keys.POLICY) is not None:
        raise AlreadyBootstrapped("the market has a policy; change it by `Propose` and `Vote`")
    require_member(tx.caller, command.policy)
    effects = Effects(tx, command.policy.window)
    _adopt(effects, command.policy, number=1)
    return effects


def propose(command: Propose, tx: Context) -> Rule:
    """Put something to the vote; the proposer's organisation has voted for it with that."""
    require_admin(tx.caller)
    found = yield Get([keys.POLICY])
    policy = require_policy(found)
    require_member(tx.caller, policy)
    if command.policy is not None:
        _require_next(command.policy, policy.number + 1)
    total(output.amount for output in command.mint)
    effects = Effects(tx, policy.window)
    record = ProposalRecord(
        proposal=command,
        proposer=tx.caller.account,
        proposer_msp=tx.caller.msp_id,
        votes=(tx.caller.msp_id,),
        state=ProposalState.OPEN,
        proposed=tx.timestamp,
        expires=tx.timestamp + policy.proposal_age,
    )
    effects.put(keys.proposal(tx.tx_id), record)
    effects.tell(proposal=tx.tx_id, action=str(command.action), organization=tx.caller.msp_id)
    effects.result = {"proposal": tx.tx_id}
    return effects


def vote(command: Vote, tx: Context) -> Rule:
    """Vote for a proposal; the vote that completes the majority carries it out."""
    require_admin(tx.caller)
    key = keys.proposal(command.proposal)
    found = yield Get([keys.POLICY, key])
    policy = require_policy(found)
    require_member(tx.caller, policy)
    record = require(found, key, ProposalNotFound, f"there is no proposal {command.proposal}")
    _require_open(record, tx)
    voted = replace(record, votes=(*record.votes, tx.caller.msp_id))
    effects = Effects(tx, policy.window)
    carried = sum(msp_id in policy.organizations for msp_id in voted.votes) >= votes_needed(policy)
    if carried:
        touched = yield Get(_touched_keys(record))
        voted = _carry_out(effects, voted, policy, touched)
    effects.put(key, voted)
    effects.tell(proposal=command.proposal, organization=tx.caller.msp_id, carried=carried)
    effects.result = {"proposal": command.proposal, "carried": carried}
    return effects


def votes_needed(policy: Policy) -> int:
    """Return how many organisations carry a proposal: a majority of the policy's, and never fewer than k."""
    return max(len(policy.organizations) // 2 + 1, policy.required)


def _require_open(record: ProposalRecord, tx: Context) -> None:
    if record.state is not ProposalState.OPEN:
        raise ProposalClosed("the proposal has been carried out")
    try:
        not_after(tx, record.expires, "the vote")
    except TooLate as error:
        raise ProposalClosed(f"{error}; propose it again") from error
    if tx.caller.msp_id in record.votes:
        raise AlreadyVoted(f"{tx.caller.msp_id} has voted for this proposal")


def _carry_out(effects: Effects, record: ProposalRecord, policy: Policy, found: Found) -> ProposalRecord:
    proposal = record.proposal
    carried = replace(record, state=ProposalState.CARRIED, carried=effects.tx.tx_id)
    if proposal.policy is not None:
        _adopt(effects, proposal.policy, policy.number + 1)
        return carried
    if proposal.revoke is not None:
        key = keys.enclave(proposal.revoke)
        enclave = require(found, key, EnclaveNotFound, f"no enclave {proposal.revoke.hex()} is registered")
        effects.put(key, replace(enclave, revoked=True))
        effects.tell(revoked=proposal.revoke.hex())
        return carried
    till = Till(effects)
    for output in proposal.mint:
        till.pay(output.owner, output.amount)
    burned = total(_burn(till, found, record.proposer, coin) for coin in proposal.burn)
    till.close(merge=False)
    minted = total(output.amount for output in proposal.mint)
    effects.tell(minted=minted, burned=burned)
    return replace(carried, minted=minted, burned=burned)


def _touched_keys(record: ProposalRecord) -> list[Key[Any]]:
    proposal = record.proposal
    coins = [*coin_keys(TREASURY, proposal.burn), *coin_keys(record.proposer, proposal.burn)]
    return [*coins, *([keys.enclave(proposal.revoke)] if proposal.revoke is not None else [])]


def _burn(till: Till, found: Found, proposer: bytes, coin: str) -> int:
    for owner in (TREASURY, proposer):
        if found.get(keys.coin(owner, coin)) is not None:
            return sum(till.spend(found, owner, [coin]))
    raise CoinNotFound(f"neither the treasury nor the proposer has an unspent coin {coin}")


def _adopt(effects: Effects, policy: Policy, number: int) -> None:
    _require_next(policy, number)
    record = PolicyRecord(policy, effects.tx.timestamp, effects.tx.tx_id)
    effects.put(keys.POLICY, record)
    effects.put(keys.policy_version(number), record)
    effects.tell(policy=policy.to_json())


def _require_next(policy: Policy, number: int) -> None:
    policy.validate()
    if policy.number != number:
        raise PolicyNumberStale(f"the next policy is number {number}, not {policy.number}; propose it anew with that")
