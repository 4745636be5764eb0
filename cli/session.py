"""A command's way to the network: the context's gateway, the wallet's identity, the ledger's clock."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.cli.contexts import Context, Contexts, password_file
from goldengrain.cli.settings import settings
from goldengrain.gateway import passphrases
from goldengrain.gateway.connection import ConnectionProfile, Endpoint
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.network import Network
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home

_typed: dict[Path, bytes] = {}
"""What was typed for a folder: one command asks once."""


@dataclass(frozen=True)
class Session:
    """An open connection: who acts, through whom, on what."""

    home: Home
    context: Context
    credentials: Credentials
    gateway: Gateway
    endpoint: Endpoint

    def endorser(self) -> Endorser:
        """The same peer's endorser service, for what no gateway offers."""
        return Endorser.connect(
            self.endpoint, self.credentials.identity, self.credentials.signer, clock=self.gateway.clock
        )

    @property
    def network(self) -> Network:
        """The context's channel."""
        return self.gateway.network(self.context.channel)

    @property
    def contract(self) -> Contract:
        """The context's contract."""
        return self.network.contract(self.context.contract)


def home_of(context: click.Context) -> Home:
    """The folder that the command works in; the passphrases of its keys are asked for here."""
    home = Home(settings(context).home)
    passphrases.ask(partial(_passphrase, home))
    return home


def _passphrase(home: Home, what: str) -> bytes | None:
    """A passphrase from the file of the context in use, or from the person at the terminal."""
    if file := password_file(home):
        return passphrases.read_passphrase(file)
    if not sys.stdin.isatty():
        return None
    found = _typed.get(home.path) or str(click.prompt(f"passphrase of {what}", hide_input=True, err=True)).encode()
    _typed[home.path] = found
    return found


@asynccontextmanager
async def session(context: click.Context) -> AsyncIterator[Session]:
    """Connect as the identity of ``--as`` (or the context's) through the gateway of its own organisation.

    An identity of another organisation than the context's goes through the gateway of its own; one whose organisation
    has no peer here goes through the context's.

    Raises:
        NetworkNotFound, WalletError, ConnectionProfileError: with what to do next.

    """
    home = home_of(context)
    chosen = Contexts(home).current
    credentials = Wallet(home.wallet).get(settings(context).identity or chosen.identity)
    endpoints = endpoints_for(home, credentials.identity.msp_id, chosen.organization)
    async with connect(home, credentials, endpoints) as gateway:
        yield Session(home, chosen, credentials, gateway, endpoints[0])


def endpoints_for(home: Home, msp_id: str, fallback: str) -> list[Endpoint]:
    """The gateways of the organisation ``msp_id``; those of organisation ``fallback`` where it has none here."""
    topology = home.load_topology()
    own = next((one for one in topology.organizations if one.msp_id == msp_id), None)
    return ConnectionProfile.load(home.connection_profile(own or topology.organization(fallback))).gateways()


def endpoint_for(home: Home, msp_id: str, fallback: str) -> Endpoint:
    """The first of them."""
    return endpoints_for(home, msp_id, fallback)[0]


def connect(home: Home, credentials: Credentials, endpoint: Endpoint | Sequence[Endpoint]) -> Gateway:
    """A gateway connection on behalf of some credentials, by the network's clock.

    Of several endpoints each takes over where the one before it doesn't answer.
    """
    return Gateway.connect(endpoint, credentials.identity, credentials.signer, clock=LedgerClock(home.clock_file))
