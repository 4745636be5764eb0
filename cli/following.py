"""The market's policy follows the channel: its members, how many of them decide, operators, the trust bundle.

::

    proposed = await follow(home)            # after an organisation was added, or certificates were renewed or revoked
    proposed = await follow(home, without="Org4MSP")                                # before one is removed

What is proposed is worked out from the policy in force and the channel's configuration, so that each organisation gets
the same: whoever runs it first proposes, the others vote for what they have worked out themselves. All Admins whose
keys are in the folder take part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import AlreadyVoted, PolicyNotFound, ProposalClosed, ProposalNotFound
from goldengrain.chaincode.protocol.policy import Policy, TrustBundle
from goldengrain.cli.contexts import CONTRACT
from goldengrain.cli.errors import CheckFailed, CommandLineError
from goldengrain.cli.founding import bundle_file, connect_admin, issues_operators, keep_bundle, operator_account
from goldengrain.gateway.errors import EndorseError, EvaluateError
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import ProposalView
from goldengrain.network import lifecycle
from goldengrain.network.channel_admin import read_config
from goldengrain.network.errors import NetworkIncomplete
from goldengrain.network.home import Home
from goldengrain.network.progress import Steps, silent
from goldengrain.network.topology import Organization
from goldengrain.network.trust_bundle import trust_bundle

T = TypeVar("T")
_PATIENCE_S = 60.0
_ANSWER_S = 15.0
_PAUSE_S = 0.2


@dataclass(frozen=True)
class Followed:
    """What has become of a policy that was put to the vote: its number, the proposal, who has voted, the bundle."""

    number: int
    proposal: str
    votes: tuple[str, ...]
    carried: bool
    bundle: bytes


async def is_founded(home: Home) -> bool:
    """Whether the network has a market with a policy in force.

    Raises:
        CheckFailed: where its contract is deployed and does not answer.

    """
    try:
        if await lifecycle.committed(home, CONTRACT) is None:
            return False
        async with AsyncExitStack() as stack:
            await _patiently((await _admins(home, stack))[0].consortium.policy, _ANSWER_S)
    except (PolicyNotFound, NetworkIncomplete):
        return False
    except EvaluateError as error:
        raise CheckFailed(
            f"the market's contract does not answer ({error}): start it, then `goldengrain policy follow` has its "
            "policy fit the channel"
        ) from error
    return True


async def follow(
    home: Home, *, without: str | None = None, operators: Collection[bytes] = (), steps: Steps = silent
) -> Followed | None:
    """Propose the policy that fits the channel's members, or vote for it where it is proposed; None where it does.

    Args:
        home: folder of a running network with a founded market.
        without: MSP id of a member that is about to be removed.
        operators: accounts that may run enclaves besides those that the policy names and those whose identity is here.
        steps: told what is being done.

    Raises:
        PolicyRefused: where no policy fits, such as two members' alone.
        CommandLineError: where another policy of the next number is put to the vote.
        GatewayError, ContractError: where peers refuse.

    """
    async with AsyncExitStack() as stack:
        admins = await _admins(home, stack, without)
        market = admins[0]
        policy = (await _patiently(market.consortium.policy)).policy
        wanted = await _wanted(home, market, policy, without, operators)
        if wanted is None:
            return None
        made, bundle = wanted
        made.validate()
        with steps(f"policy {made.number}: proposed, voted for by those whose keys are here"):
            found = await _carry(admins, made)
        if found.state == "carried":
            keep_bundle(home, bundle)
        return Followed(made.number, found.id, found.votes, found.state == "carried", bundle.digest())


async def take_over(home: Home) -> TrustBundle:
    """Make the trust bundle that the policy in force names from the channel's configuration, for enclaves that start.

    Raises:
        CommandLineError: where the channel has changed since, so that the policy names another one.

    """
    async with AsyncExitStack() as stack:
        policy = (await (await _admins(home, stack))[0].consortium.policy()).policy
    bundle = await _bundle(home, policy, policy.required, policy.organizations)
    if bundle.digest() != policy.bundle:
        raise CommandLineError(
            f"policy {policy.number} names another trust bundle than the channel's certificates make; "
            "`goldengrain policy follow` proposes the one that fits"
        )
    keep_bundle(home, bundle)
    return bundle


async def _admins(home: Home, stack: AsyncExitStack, without: str | None = None) -> list[Market]:
    """The market as each Admin whose key is here sees it, but for who is to leave. Raises NetworkIncomplete."""
    topology = home.load_topology()
    staying = [one for one in topology.organizations if one.msp_id != without]
    held = [one for one in staying if (home.user(one, "Admin") / "msp" / "keystore").exists()]
    if not held:
        raise NetworkIncomplete(f"{home.organizations} holds no Admin's key; policies are voted by Admins")
    gateways = [await stack.enter_async_context(connect_admin(home, one)) for one in held]
    return [Market(one.network(topology.channel.name), CONTRACT) for one in gateways]


async def _wanted(
    home: Home, market: Market, policy: Policy, without: str | None, given: Collection[bytes]
) -> tuple[Policy, TrustBundle] | None:
    topology = home.load_topology()
    config = await read_config(home, topology.channel.name)
    channel = trust_bundle(config, topology.channel.name, CONTRACT, window=policy.window, required=1)
    members = tuple(one.msp_id for one in channel.organizations if one.msp_id != without)
    required, colluding = _quorum(policy, len(members))
    bundle = replace(channel, required=required, organizations=tuple(filter(None, map(channel.organization, members))))
    gone = set(policy.organizations) - set(members)
    operators = tuple(sorted({*await _operators(home, market, policy, gone), *given, *_new(home, policy, members)}))
    made = replace(
        policy,
        number=policy.number + 1,
        organizations=members,
        required=required,
        colluding=colluding,
        operators=operators,
    )
    if bundle.digest() == policy.bundle:
        same = replace(made, number=policy.number) == policy
        return None if same else (made, bundle)
    keeps = not gone and not _revokes_more(home, policy, bundle)
    sunset = LedgerClock(home.clock_file).now() + policy.enclave_age if keeps else None
    previous = policy.bundle if keeps else None
    return (
        replace(made, bundle=bundle.digest(), previous_bundle=previous, previous_bundle_sunset=sunset),
        bundle,
    )


def _quorum(policy: Policy, members: int) -> tuple[int, int]:
    """Return k and f for so many members: a majority where it was one, else as voted, as far as that many can be."""
    before = len(policy.organizations)
    majority = policy.required == before // 2 + 1
    required = members // 2 + 1 if majority else policy.required
    widest = policy.colluding == before - policy.required
    colluding = members - required if widest else min(policy.colluding, required - 1, members - required)
    return required, min(colluding, required - 1)


async def _operators(home: Home, market: Market, policy: Policy, gone: Collection[str]) -> set[bytes]:
    """The operators in force, but for those of organisations that have left."""
    left: set[bytes] = set()
    if gone:
        left = {one.operator async for one in market.enclaves.listing() if one.operator_msp in gone}
        left |= {operator_account(home, one) for one in _at_hand(home) if one.msp_id in gone}
    return set(policy.operators) - left


def _new(home: Home, policy: Policy, members: Collection[str]) -> set[bytes]:
    """The operators of members that the policy does not name yet and whose authority is in this folder."""
    new = set(members) - set(policy.organizations)
    return {operator_account(home, one) for one in _at_hand(home) if one.msp_id in new}


def _at_hand(home: Home) -> list[Organization]:
    return [one for one in home.load_topology().organizations if issues_operators(home, one)]


def _revokes_more(home: Home, policy: Policy, bundle: TrustBundle) -> bool:
    """Whether a bundle has other revocation lists than the one in force; True where that one is not at hand."""
    path = bundle_file(home)
    before = TrustBundle.from_bytes(path.read_bytes()) if path.exists() else None
    if before is None or before.digest() != policy.bundle:
        return any(one.revocation_lists for one in bundle.organizations)
    lists = {one.msp_id: one.revocation_lists for one in before.organizations}
    return any(one.revocation_lists != lists.get(one.msp_id, ()) for one in bundle.organizations)


async def _carry(admins: list[Market], policy: Policy) -> ProposalView:
    """Have every Admin vote, the first by proposing where nobody has."""
    market = admins[0]
    found = await _open(market, policy)
    proposal = found.id if found else ""
    if found is None:
        proposed = await _patiently(lambda: market.consortium.propose_policy(policy))
        proposal = proposed.transaction_id
    for voter in admins:
        view = await _patiently(lambda voter=voter: voter.consortium.proposal(proposal))  # type: ignore[misc]
        if view.state == "carried":
            break
        if voter.network.identity.msp_id in view.votes:
            continue
        try:
            await _patiently(lambda voter=voter: voter.consortium.vote(proposal))  # type: ignore[misc]
        except (AlreadyVoted, ProposalClosed):
            continue  # by somebody else, or its peer was behind
    return await _patiently(lambda: _with_all_votes(admins, proposal))


async def _with_all_votes(admins: list[Market], proposal: str) -> ProposalView:
    """The proposal as the peer that is furthest has it."""
    views = [await one.consortium.proposal(proposal) for one in admins]
    return max(views, key=lambda one: (one.state == "carried", len(one.votes)))


async def _open(market: Market, policy: Policy) -> ProposalView | None:
    """The open proposal of this very policy; sunsets, which depend on when it was worked out, may differ.

    Raises CommandLineError where another one of that number is open.
    """
    others = []
    async for one in market.consortium.proposals():
        proposed = one.proposal.policy
        if one.state != "open" or proposed is None or proposed.number != policy.number:
            continue
        if replace(proposed, previous_bundle_sunset=policy.previous_bundle_sunset) == policy:
            return one
        others.append(one.id)
    if others:
        raise CommandLineError(
            f"another policy {policy.number} is put to the vote: proposal {others[-1]}; look at it by "
            f"`goldengrain policy show {others[-1]}`, and vote by `goldengrain policy vote {others[-1]}`"
        )
    return None


async def _bundle(home: Home, policy: Policy, required: int, members: Collection[str]) -> TrustBundle:
    channel = home.load_topology().channel.name
    config = await read_config(home, channel)
    return trust_bundle(config, channel, CONTRACT, window=policy.window, required=required, members=members)


async def _patiently(attempt: Callable[[], Awaitable[T]], patience_s: float = _PATIENCE_S) -> T:
    """Repeat what peers refuse that are behind, or restarting, or have just joined."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await attempt()
        except (EndorseError, EvaluateError, ProposalNotFound):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)
