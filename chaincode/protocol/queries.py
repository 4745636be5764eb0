"""The contract's queries, and `JobTicket`, which is endorsed by several organisations but writes nothing either.

Lists come in pages: `page_size` items at most, and a `bookmark` for the next page, empty at the end. Answers are
canonical JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Self

from goldengrain.chaincode.protocol.codecs import Integer
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.records import Bookmark, CoinId, Digest, Fmspc, TransactionId, Version
from goldengrain.chaincode.protocol.requests import Query
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.chaincode.protocol.ticket import ClaimNumber

MAX_PAGE = 100
PageSize = Annotated[int, Integer(1, MAX_PAGE)]


@dataclass(frozen=True)
class JobTicket(Query):
    """Ask for the ledger's statement that an enclave is to run an offer.

    Unlike all others its arguments are five texts, JobTicket, offer, claim, enclave, nonce: hex, decimal, hex, hex. The
    nonce is the enclave's; it is only in the signed proposal, not in the answer.
    """

    offer: Digest
    claim: ClaimNumber
    enclave: Digest
    nonce: Digest

    def to_args(self) -> list[bytes]:
        """Return the five texts."""
        texts = [self.function(), self.offer.hex(), str(self.claim), self.enclave.hex(), self.nonce.hex()]
        return [text.encode() for text in texts]

    @classmethod
    def from_args(cls, args: Sequence[bytes]) -> Self:
        """Read the five texts, exactly as `to_args` writes them; raises `MalformedInput`."""
        if len(args) != 5 or any(len(arg) > 64 for arg in args):
            raise MalformedInput("JobTicket takes offer, claim, enclave and nonce")
        try:
            offer, claim, enclave, nonce = (arg.decode("ascii") for arg in args[1:])
            ticket = cls(bytes.fromhex(offer), int(claim), bytes.fromhex(enclave), bytes.fromhex(nonce))
        except ValueError as error:
            raise MalformedInput("JobTicket takes offer, claim, enclave and nonce: hex, decimal, hex, hex") from error
        if ticket.to_args() != list(args):
            raise MalformedInput("write JobTicket's arguments in lowercase hex and plain decimals")
        return ticket


@dataclass(frozen=True)
class GetPolicy(Query):
    """The policy in force, or the one of a number: each version stays on the ledger."""

    number: Version | None = None


@dataclass(frozen=True)
class GetProposal(Query):
    """One proposal and who voted for it."""

    proposal: TransactionId


@dataclass(frozen=True)
class ListProposals(Query):
    """All proposals; what the carried-out ones minted less what they burned is the supply."""

    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


@dataclass(frozen=True)
class GetCoin(Query):
    """One unspent coin."""

    owner: Digest
    coin: CoinId


@dataclass(frozen=True)
class ListCoins(Query):
    """The unspent coins of an account, or all."""

    owner: Digest | None = None
    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


@dataclass(frozen=True)
class GetCollateral(Query):
    """The stored collateral for an FMSPC under a root; of SGX, or of TDX."""

    root: Digest
    fmspc: Fmspc
    tee: Tee = Tee.SGX


@dataclass(frozen=True)
class GetChallenge(Query):
    """One challenge."""

    challenge: TransactionId


@dataclass(frozen=True)
class GetEnclave(Query):
    """One registered enclave."""

    enclave: Digest


@dataclass(frozen=True)
class ListEnclaves(Query):
    """The registered enclaves, all or an operator's; a page may hold fewer than there are (see `ListOffers`)."""

    operator: Digest | None = None
    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


@dataclass(frozen=True)
class GetTask(Query):
    """One task."""

    task: Digest


@dataclass(frozen=True)
class ListTasks(Query):
    """Tasks: all, or a provider's; with `taking_offers` only those whose S is to come (see `ListOffers` on pages)."""

    provider: Digest | None = None
    taking_offers: bool = False
    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


@dataclass(frozen=True)
class GetSlots(Query):
    """The slots of a task."""

    task: Digest


@dataclass(frozen=True)
class GetOffer(Query):
    """One offer with its claims."""

    offer: Digest


@dataclass(frozen=True)
class ListOffers(Query):
    """Offers: all, a task's or a developer's, in any state or in one.

    A page looks at `page_size` offers and holds those that fit: it may be short, even empty, while its bookmark goes
    on, so that it costs the same whatever is looked for.
    """

    task: Digest | None = None
    developer: Digest | None = None
    state: OfferState | None = None
    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


@dataclass(frozen=True)
class ListOpenJobs(Query):
    """Offers that wait for enclaves: stored, or claimed by fewer than the task wants.

    With `enclave` only those that this one may claim: it has envelopes of both keys, has not claimed before, and is not
    kept out by an organisation (see `ListOffers` on pages).
    """

    enclave: Digest | None = None
    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


@dataclass(frozen=True)
class ListPolicies(Query):
    """Every version of the policy, the first one first."""

    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


@dataclass(frozen=True)
class Leaderboard(Query):
    """What passed in a task, the highest scores first."""

    task: Digest
    page_size: PageSize = MAX_PAGE
    bookmark: Bookmark = ""


QUERIES: Mapping[str, type[Query]] = MappingProxyType(
    {
        kind.function(): kind
        for kind in (
            JobTicket,
            GetPolicy,
            GetProposal,
            ListProposals,
            GetCoin,
            ListCoins,
            GetCollateral,
            GetChallenge,
            GetEnclave,
            ListEnclaves,
            GetTask,
            ListTasks,
            GetSlots,
            GetOffer,
            ListOffers,
            ListOpenJobs,
            ListPolicies,
            Leaderboard,
        )
    }
)
"""Every query by its name."""
