"""A typed client of the market contract, on top of the gateway client.

::

    async with Gateway.connect(endpoint, user.identity, user.signer, clock=clock) as gateway:
        market = Market(gateway.network("market"))
        task = await market.tasks.open(opening)
        async for offer in market.offers.listing(task.id): …
        await market.offer(offer.id).wait()

``Market`` has one part per chapter of the contract: ``consortium`` (policy, votes), ``credits`` (coins), ``enclaves``,
``tasks``, ``offers``. Every command and query of ``goldengrain.chaincode.protocol`` has a method; what the contract
refuses is raised as the contract's own named error, its ``__cause__`` being the gateway's error with transaction id and
peers' words.
"""

from goldengrain.gateway.market.announcements import Announcement
from goldengrain.gateway.market.calls import Committed
from goldengrain.gateway.market.client import Market
from goldengrain.gateway.market.handles import OfferHandle, TaskHandle
from goldengrain.gateway.market.mirror import Mirror

__all__ = ["Announcement", "Committed", "Market", "Mirror", "OfferHandle", "TaskHandle"]
