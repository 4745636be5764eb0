"""Enclaves: collateral, challenges, registration (protocol section 4)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from goldengrain.chaincode.protocol.commands import Challenge, PutCollateral, RegisterEnclave
from goldengrain.chaincode.protocol.errors import QuoteRootUnknown
from goldengrain.chaincode.protocol.evidence import QuoteVerdict, Tee, tee_of
from goldengrain.chaincode.protocol.queries import GetChallenge, GetCollateral, GetEnclave, GetPolicy, ListEnclaves
from goldengrain.chaincode.protocol.quotes import verify_quote
from goldengrain.gateway.market.calls import Caller, Committed
from goldengrain.gateway.market.views import ChallengeView, CollateralView, EnclaveView, PolicyView, read


class Enclaves:
    """``market.enclaves``."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def put_collateral(self, root: bytes, collateral: str) -> Committed:
        """Store collateral (JSON) for quotes under an accepted root, named by its certificate's SHA-256."""
        return await self._caller.send(PutCollateral(root, collateral))

    async def collateral(self, root: bytes, fmspc: bytes, tee: Tee = Tee.SGX) -> CollateralView:
        """Return the stored collateral of a platform kind under a root, for SGX or TDX."""
        return read(CollateralView, await self._caller.ask(GetCollateral(root, fmspc, tee)))

    async def judge(self, quote: bytes, root: bytes, fmspc: bytes, at: int) -> QuoteVerdict:
        """Judge a quote here as the contract would at a time, by its policy and collateral: checks 3 to 6 of section 4.

        Raises the refusals of quotes and collateral, and CollateralNotFound.
        """
        policy = read(PolicyView, await self._caller.ask(GetPolicy())).policy
        accepted = policy.root(root)
        if accepted is None:
            raise QuoteRootUnknown("the policy doesn't accept this attestation root")
        stored = await self.collateral(root, fmspc, tee_of(quote))
        return verify_quote(quote, stored.text, accepted.certificate, at, policy)

    async def challenge(self, operator: bytes) -> Committed:
        """Challenge an operator (its account); the transaction id is the nonce for one registration."""
        return await self._caller.send(Challenge(operator))

    async def get_challenge(self, challenge: str) -> ChallengeView:
        """Return a challenge by its transaction id."""
        return read(ChallengeView, await self._caller.ask(GetChallenge(challenge)))

    async def register(self, registration: RegisterEnclave) -> Committed:
        """Register an enclave by its quote."""
        return await self._caller.send(registration)

    async def get(self, enclave: bytes) -> EnclaveView:
        """Return a registered enclave."""
        return read(EnclaveView, await self._caller.ask(GetEnclave(enclave)))

    async def listing(self, operator: bytes | None = None) -> AsyncIterator[EnclaveView]:
        """Yield the registered enclaves, all or an operator's."""
        async for item in self._caller.pages(lambda mark: ListEnclaves(operator, bookmark=mark)):
            yield read(EnclaveView, item)
