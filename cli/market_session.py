"""A command's way to the market: the client of who acts, further identities, ids and accounts as people write them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import click

from goldengrain.chaincode.protocol.accounts import account_of
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.cli.contexts import Context
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.session import connect, endpoints_for, session
from goldengrain.cli.settings import settings
from goldengrain.cli.stores import Stores
from goldengrain.gateway.market import Market
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home

SHORT = 8
"""Digits of an id that tables show; any unique beginning of at least 6 is understood."""
_HEX = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True)
class MarketSession:
    """An open connection to the market: who acts, in which folder."""

    home: Home
    context: Context
    market: Market
    stack: AsyncExitStack
    identity: str
    """Wallet label of who acts."""

    @cached_property
    def stores(self) -> Stores:
        """The organisations' content stores."""
        return Stores(self.home, self.identity)

    @property
    def now(self) -> int:
        """The ledger's time, seconds."""
        return LedgerClock(self.home.clock_file).now()

    @property
    def msp_id(self) -> str:
        """The organisation of who acts."""
        return self.market.network.identity.msp_id

    async def market_of(self, label: str) -> Market:
        """The market as another identity of the wallet sees it, through its own organisation's gateway."""
        credentials = Wallet(self.home.wallet).get(label)
        endpoints = endpoints_for(self.home, credentials.identity.msp_id, self.context.organization)
        gateway = await self.stack.enter_async_context(connect(self.home, credentials, endpoints))
        return Market(gateway.network(self.context.channel), self.context.contract)

    async def task_id(self, text: str) -> bytes:
        """A task's id from its hex digits or a unique beginning of them."""
        return await _resolved(text, "task", self.market.tasks.listing())

    async def offer_id(self, text: str) -> bytes:
        """An offer's id from its hex digits or a unique beginning of them."""
        return await _resolved(text, "offer", self.market.offers.listing())


@asynccontextmanager
async def market_session(context: click.Context) -> AsyncIterator[MarketSession]:
    """Connect to the market as ``session`` connects to the network."""
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(session(context))
        market = Market(opened.network, opened.context.contract)
        label = settings(context).identity or opened.context.identity
        yield MarketSession(opened.home, opened.context, market, stack, label)


def account_from(home: Home, text: str) -> bytes:
    """An account from a wallet label, its 64 hex digits, or the word ``treasury``.

    Raises:
        WalletError: where the wallet has no such label.

    """
    if text == "treasury":
        return TREASURY
    if len(text) == 64 and _HEX.fullmatch(text):
        return bytes.fromhex(text)
    identity = Wallet(home.wallet).identity(text)
    return account_of(identity.msp_id, identity.certificate)


def account_names(home: Home) -> dict[bytes, str]:
    """The wallet's labels by their accounts, for tables."""
    wallet = Wallet(home.wallet)
    identities = {label: wallet.identity(label) for label in wallet.labels()}
    names = {account_of(one.msp_id, one.certificate): label for label, one in identities.items()}
    return {TREASURY: "treasury"} | names


def short(value: bytes) -> str:
    """An id as tables show it."""
    return value.hex()[:SHORT]


def parse_id(text: str, what: str) -> str:
    """Hex digits of an id or of its beginning. Raises CommandLineError."""
    if not _HEX.fullmatch(text):
        raise CommandLineError(
            f"{text[:80]!r} is no {what}: give its id, 64 hex digits, or the first 6 or more of them"
        )
    return text


class _Named(Protocol):
    @property
    def id(self) -> bytes: ...


async def _resolved(text: str, what: str, listing: AsyncIterable[_Named]) -> bytes:
    digits = parse_id(text, what)
    if len(digits) == 64:
        return bytes.fromhex(digits)
    found = [one.id async for one in listing if one.id.hex().startswith(digits)]
    if len(found) != 1:
        raise CommandLineError(
            f"{len(found) or 'no'} {what}s begin with {digits}; `goldengrain {what} list` shows them"
        )
    return found[0]
