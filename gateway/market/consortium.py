"""The consortium's part of the contract: founding, proposals, votes, the policy in force."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.commands import Action, Bootstrap, Propose, Vote
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.queries import GetPolicy, GetProposal, ListPolicies, ListProposals
from goldengrain.gateway.market.calls import Caller, Committed
from goldengrain.gateway.market.views import PolicyView, ProposalView, read


class Consortium:
    """``market.consortium``. Commands are for administrators of member organisations."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def bootstrap(self, policy: Policy, endorsing_organizations: Sequence[str] = ()) -> Committed:
        """Found the market with its first policy (number 1)."""
        return await self._caller.send(Bootstrap(policy), endorsing_organizations)

    async def propose(self, proposal: Propose) -> Committed:
        """Put something to the vote; the proposer's organisation has voted for it. Its id is the transaction's."""
        return await self._caller.send(proposal)

    async def propose_policy(self, policy: Policy) -> Committed:
        """Propose a policy that follows the one in force."""
        return await self.propose(Propose(Action.POLICY, policy=policy))

    async def propose_mint(self, outputs: Sequence[Output]) -> Committed:
        """Propose to make coins (at most 16) and who is to own them."""
        return await self.propose(Propose(Action.MINT, mint=tuple(outputs)))

    async def propose_burn(self, coins: Sequence[str]) -> Committed:
        """Propose to destroy coins of the treasury's or of the proposer's."""
        return await self.propose(Propose(Action.BURN, burn=tuple(coins)))

    async def vote(self, proposal: str) -> Committed:
        """Vote for a proposal; ``answer["carried"]`` tells whether this vote carried it out."""
        return await self._caller.send(Vote(proposal))

    async def policy(self, number: int | None = None) -> PolicyView:
        """Return the policy in force (or the one of a number), and since when. Raises PolicyNotFound."""
        return read(PolicyView, await self._caller.ask(GetPolicy(number)))

    async def policies(self) -> AsyncIterator[PolicyView]:
        """Yield every version of the policy, the first one first."""
        async for item in self._caller.pages(lambda mark: ListPolicies(bookmark=mark)):
            yield read(PolicyView, item)

    async def proposal(self, proposal: str) -> ProposalView:
        """Return one proposal and who voted for it."""
        return read(ProposalView, await self._caller.ask(GetProposal(proposal)))

    async def proposals(self) -> AsyncIterator[ProposalView]:
        """Yield all proposals."""
        async for item in self._caller.pages(lambda mark: ListProposals(bookmark=mark)):
            yield read(ProposalView, item)
