"""The market client for programs without asyncio; see ``goldengrain.gateway.market`` for what the methods do.

Example::

    with Gateway.connect(profile.gateway(), user.identity, user.signer) as gateway:
        market = Market.on(gateway.network("market"))
        for task in market.tasks.listing(): …
"""

from __future__ import annotations

from goldengrain.gateway import sync
from goldengrain.gateway.blocking import LOOP, Attribute, Blocking, blocking, direct, iterating
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.market import client as aio_client
from goldengrain.gateway.market import consortium as aio_consortium
from goldengrain.gateway.market import credits as aio_credits
from goldengrain.gateway.market import enclaves as aio_enclaves
from goldengrain.gateway.market import handles as aio_handles
from goldengrain.gateway.market import offers as aio_offers
from goldengrain.gateway.market import tasks as aio_tasks
from goldengrain.gateway.market.calls import PATIENCE_S, Committed
from goldengrain.gateway.network import Network as AioNetwork


class Consortium(Blocking[aio_consortium.Consortium]):
    """``market.consortium``."""

    bootstrap = blocking(aio_consortium.Consortium.bootstrap)
    propose = blocking(aio_consortium.Consortium.propose)
    propose_policy = blocking(aio_consortium.Consortium.propose_policy)
    propose_mint = blocking(aio_consortium.Consortium.propose_mint)
    propose_burn = blocking(aio_consortium.Consortium.propose_burn)
    vote = blocking(aio_consortium.Consortium.vote)
    policy = blocking(aio_consortium.Consortium.policy)
    policies = iterating(aio_consortium.Consortium.policies)
    proposal = blocking(aio_consortium.Consortium.proposal)
    proposals = iterating(aio_consortium.Consortium.proposals)


class Credits(Blocking[aio_credits.Credits]):
    """``market.credits``."""

    coins = blocking(aio_credits.Credits.coins)
    coin = blocking(aio_credits.Credits.coin)
    balance = blocking(aio_credits.Credits.balance)
    treasury = blocking(aio_credits.Credits.treasury)
    transfer = blocking(aio_credits.Credits.transfer)
    pay = blocking(aio_credits.Credits.pay)


class Enclaves(Blocking[aio_enclaves.Enclaves]):
    """``market.enclaves``."""

    put_collateral = blocking(aio_enclaves.Enclaves.put_collateral)
    collateral = blocking(aio_enclaves.Enclaves.collateral)
    judge = blocking(aio_enclaves.Enclaves.judge)
    challenge = blocking(aio_enclaves.Enclaves.challenge)
    get_challenge = blocking(aio_enclaves.Enclaves.get_challenge)
    register = blocking(aio_enclaves.Enclaves.register)
    get = blocking(aio_enclaves.Enclaves.get)
    listing = iterating(aio_enclaves.Enclaves.listing)


class TaskHandle(Blocking[aio_handles.TaskHandle]):
    """A task by its id."""

    id = Attribute[bytes]()
    get = blocking(aio_handles.TaskHandle.get)
    slots = blocking(aio_handles.TaskHandle.slots)
    leaderboard = iterating(aio_handles.TaskHandle.leaderboard)
    shut = blocking(aio_handles.TaskHandle.shut)
    refund_slot = blocking(aio_handles.TaskHandle.refund_slot)
    open_dataset = blocking(aio_handles.TaskHandle.open_dataset)
    slash_audit = blocking(aio_handles.TaskHandle.slash_audit)


class OpenedTask(TaskHandle):
    """A task that was just opened."""

    committed = Attribute[Committed]()


class OfferHandle(Blocking[aio_handles.OfferHandle]):
    """An offer by its id."""

    id = Attribute[bytes]()
    get = blocking(aio_handles.OfferHandle.get)
    wait = blocking(aio_handles.OfferHandle.wait)
    withdraw = blocking(aio_handles.OfferHandle.withdraw)
    rewrap = blocking(aio_handles.OfferHandle.rewrap)
    reveal = blocking(aio_handles.OfferHandle.reveal)
    receipt = blocking(aio_handles.OfferHandle.receipt)
    acknowledge = blocking(aio_handles.OfferHandle.acknowledge)
    claim = blocking(aio_handles.OfferHandle.claim)
    job_ticket = blocking(aio_handles.OfferHandle.job_ticket, sync.Transaction)
    lapse = blocking(aio_handles.OfferHandle.lapse)
    expire = blocking(aio_handles.OfferHandle.expire)
    award = blocking(aio_handles.OfferHandle.award)
    forfeit = blocking(aio_handles.OfferHandle.forfeit)


class SubmittedOffer(OfferHandle):
    """An offer that was just sent."""

    committed = Attribute[Committed]()


class Tasks(Blocking[aio_tasks.Tasks]):
    """``market.tasks``."""

    preview = blocking(aio_tasks.Tasks.preview)
    open = blocking(aio_tasks.Tasks.open, OpenedTask)
    shut = blocking(aio_tasks.Tasks.shut)
    refund_slot = blocking(aio_tasks.Tasks.refund_slot)
    open_dataset = blocking(aio_tasks.Tasks.open_dataset)
    slash_audit = blocking(aio_tasks.Tasks.slash_audit)
    get = blocking(aio_tasks.Tasks.get)
    listing = iterating(aio_tasks.Tasks.listing)
    leaderboard = iterating(aio_tasks.Tasks.leaderboard)
    slots = blocking(aio_tasks.Tasks.slots)
    free_slots = blocking(aio_tasks.Tasks.free_slots)


class Offers(Blocking[aio_offers.Offers]):
    """``market.offers``."""

    submit = blocking(aio_offers.Offers.submit, SubmittedOffer)
    withdraw = blocking(aio_offers.Offers.withdraw)
    rewrap = blocking(aio_offers.Offers.rewrap)
    reveal = blocking(aio_offers.Offers.reveal)
    receipt = blocking(aio_offers.Offers.receipt)
    acknowledge = blocking(aio_offers.Offers.acknowledge)
    claim = blocking(aio_offers.Offers.claim)
    job_ticket = blocking(aio_offers.Offers.job_ticket, sync.Transaction)
    report = blocking(aio_offers.Offers.report)
    lapse = blocking(aio_offers.Offers.lapse)
    expire = blocking(aio_offers.Offers.expire)
    award = blocking(aio_offers.Offers.award)
    forfeit = blocking(aio_offers.Offers.forfeit)
    get = blocking(aio_offers.Offers.get)
    wait = blocking(aio_offers.Offers.wait)
    listing = iterating(aio_offers.Offers.listing)
    open_jobs = iterating(aio_offers.Offers.open_jobs)


class Market(Blocking[aio_client.Market]):
    """The market's contract on one channel, as one identity sees it."""

    account = Attribute[bytes]()
    contract = Attribute[str]()
    network = Attribute[sync.Network](sync.Network)
    block = Attribute[int]()
    catch_up = blocking(aio_client.Market.catch_up)
    consortium = Attribute[Consortium](Consortium)
    credits = Attribute[Credits](Credits)
    enclaves = Attribute[Enclaves](Enclaves)
    tasks = Attribute[Tasks](Tasks)
    offers = Attribute[Offers](Offers)
    send = blocking(aio_client.Market.send)
    ask = blocking(aio_client.Market.ask)
    events = direct(aio_client.Market.events, sync.Stream[ChaincodeEvent])
    announcements = iterating(aio_client.Market.announcements)
    supply = blocking(aio_client.Market.supply)
    task = direct(aio_client.Market.task, TaskHandle)
    offer = direct(aio_client.Market.offer, OfferHandle)

    @classmethod
    def on(cls, network: sync.Network, contract: str = aio_client.CONTRACT, patience_s: float = PATIENCE_S) -> Market:
        """Return the market on a channel."""
        inner: AioNetwork = network.asynchronous
        return cls(LOOP.call(lambda: aio_client.Market(inner, contract, patience_s)))
