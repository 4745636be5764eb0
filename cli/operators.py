"""What commands for operators of enclaves have in common: who acts, which enclave, who challenges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.cli import enclave_config
from goldengrain.cli.agents.evidence import Evidence
from goldengrain.cli.collateral import caches, named_service
from goldengrain.cli.contexts import Contexts
from goldengrain.cli.enclave_process import EnclaveKeeper, folder_of
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.founding import OPERATOR
from goldengrain.cli.market_session import MarketSession
from goldengrain.cli.session import home_of
from goldengrain.cli.settings import settings
from goldengrain.gateway.market import Market
from goldengrain.gateway.wallet import Wallet

NAME = click.argument("name", required=False)
challenger_option = click.option(
    "--challenger",
    metavar="LABEL",
    help="Identity of another organisation that challenges; without it, any in the wallet.",
)

parallel_option = click.option(
    "--parallel",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Jobs at once; each takes a processor and the memory that a task admits.",
)
pccs_option = click.option(
    "--pccs",
    metavar="URL",
    help="Caching service: its collateral is kept on the ledger, daily looked after.  [default: GOLDENGRAIN_PCCS]",
)
metrics_option = click.option(
    "--metrics", metavar="PORT", type=click.IntRange(0, 65_535), help="Figures for monitoring, on 127.0.0.1:PORT."
)


async def evidence_for(
    opened: MarketSession, keeper: EnclaveKeeper, name: str, url: str | None, roots: Path | None
) -> Evidence | None:
    """What keeps an enclave's collateral from a caching service, where one is named.

    Raises the service's errors where its host's own collateral has run out and cannot be had anew.
    """
    if named_service(url) is None:
        return None
    config = enclave_config.load(folder_of(opened.home, name))
    file = None if config.collateral is None else config.folder / config.collateral

    async def quote() -> bytes:
        host = await keeper.host()
        async with host.client() as enclave:
            return (await enclave.quote(opened.market.account, bytes(32))).quote

    clock = LedgerClock(opened.home.clock_file)
    made = Evidence(opened.market, clock, caches(opened.home, url, roots).of, quote, file)
    await made.renew_file()
    return made


def prepare(context: click.Context, name: str | None) -> str:
    """Choose who acts, the organisation's operator unless --as says otherwise, and the enclave's name."""
    home, chosen = home_of(context), settings(context)
    topology = home.load_topology()
    wallet = Wallet(home.wallet)
    if chosen.identity is None:
        label = f"{OPERATOR}@{topology.organization(Contexts(home).current.organization).domain}"
        chosen.identity = label if label in wallet.labels() else None
    if name is None:
        identity = wallet.identity(chosen.identity or Contexts(home).current.identity)
        own = next((one.name for one in topology.organizations if one.msp_id == identity.msp_id), identity.msp_id)
        name = own.lower()
    folder_of(home, name)
    return name


def challenging(opened: MarketSession, label: str | None) -> Callable[[], Awaitable[Market]]:
    """How to get the client of another organisation, connected when it is first asked for.

    What is returned raises CommandLineError where the wallet holds no identity of another organisation.
    """
    connected: list[Market] = []

    async def challenger() -> Market:
        if not connected:
            connected.append(await opened.market_of(label or _other_organization(opened)))
        return connected[0]

    return challenger


def _other_organization(opened: MarketSession) -> str:
    wallet = Wallet(opened.home.wallet)
    labels = [one for one in wallet.labels() if wallet.identity(one).msp_id != opened.msp_id]
    if not labels:
        raise CommandLineError(
            "a client of another organisation has to challenge the enclave, and the wallet holds no identity of one"
        )
    return next((one for one in labels if one.startswith("User")), labels[0])
