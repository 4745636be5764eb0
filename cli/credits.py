"""`goldengrain credits`: the market's money."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from goldengrain.chaincode.protocol.accounts import Role, certificate_role
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.errors import AlreadyVoted
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CheckFailed, CommandLineError
from goldengrain.cli.market_session import MarketSession, account_from, account_names, market_session
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.gateway.market import Committed
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home

AMOUNT = click.IntRange(1, 2**63 - 1)
MAX_RECIPIENTS = 16


@click.group(cls=Group)
def credits() -> None:  # noqa: A001 - the command's name
    """Mint, pay and count credits."""


@command(credits, example="goldengrain credits mint 100000 --to User1@org1.example.com --to User1@org2.example.com")
@click.argument("amount", type=AMOUNT)
@click.option("--to", "recipients", multiple=True, metavar="ACCOUNT", help="Wallet label or account; repeatable.")
async def mint(context: click.Context, amount: int, recipients: tuple[str, ...]) -> None:
    """Propose AMOUNT credits for each recipient (default: who acts), and vote until the proposal is carried.

    Minting takes a majority of organisations. This votes with every organisation's Admin in the wallet: possible where
    one person holds all keys, as on a test network. Elsewhere each organisation's Admin sends a `Vote`.
    """
    home = home_of(context)
    if len(recipients) > MAX_RECIPIENTS:
        raise CommandLineError(f"a proposal mints at most {MAX_RECIPIENTS} coins; name fewer recipients")
    voters = _admins(home)
    async with market_session(context) as opened:
        owners = [account_from(home, one) for one in recipients] or [opened.market.account]
        with console(context).status("proposing and voting"):
            outputs = [Output(owner, amount) for owner in owners]
            proposal, votes = await _propose_and_vote(opened, voters, outputs)
        state = await opened.market.consortium.proposal(proposal)
    if state.state != "carried":
        raise CheckFailed(
            f"proposal {proposal} has the votes of {', '.join(state.votes)} only; more organisations have to vote: "
            f'goldengrain --as ADMIN tx submit Vote \'{{"proposal":"{proposal}"}}\''
        )
    names = account_names(home)
    value = {
        "proposal": proposal,
        "votes": list(state.votes),
        "minted": state.minted,
        "transactions": [one.transaction_id for one in votes],
        "to": [{"account": one.hex(), "amount": amount} for one in owners],
    }
    lines = [f"{amount:,} credits to {names.get(one, one.hex())}" for one in owners]
    said = f"carried with the votes of {', '.join(state.votes)}, whose Admins' keys are all in this wallet"
    emit(context, value, [*lines, said])


@command(credits, example="goldengrain credits transfer 500 --to User1@org2.example.com")
@click.argument("amount", type=AMOUNT)
@click.option("--to", "recipient", required=True, metavar="ACCOUNT", help="Wallet label or account.")
async def transfer(context: click.Context, amount: int, recipient: str) -> None:
    """Pay AMOUNT credits from who acts to another account."""
    home = home_of(context)
    owner = account_from(home, recipient)
    async with market_session(context) as opened:
        paid = await opened.market.credits.pay(owner, amount)
        left = await opened.market.credits.balance()
    value = {
        "transaction": paid.transaction_id,
        "block": paid.block,
        "amount": amount,
        "to": owner.hex(),
        "balance": left,
    }
    emit(context, value, [f"{amount:,} paid to {account_names(home).get(owner, owner.hex())}; {left:,} are left"])


@command(credits, example="goldengrain credits balance --all")
@click.option("--of", "holder", metavar="ACCOUNT", help="Wallet label, account or `treasury`; without it, who acts.")
@click.option("--all", "everybody", is_flag=True, help="Everybody in the wallet, the treasury, and the supply.")
async def balance(context: click.Context, holder: str | None, everybody: bool) -> None:
    """Show what an account holds; with --all also whether everything sums to what was minted."""
    home = home_of(context)
    if holder is not None and everybody:
        raise CommandLineError("--of and --all exclude each other")
    async with market_session(context) as opened:
        if everybody:
            await _all_balances(context, opened)
            return
        owner = account_from(home, holder) if holder else opened.market.account
        coins = await opened.market.credits.coins(owner)
    held = sum(one.amount for one in coins)
    name = account_names(home).get(owner, owner.hex())
    value = {"account": owner.hex(), "name": name, "balance": held, "coins": len(coins)}
    emit(context, value, [f"{name}: {held:,} in {len(coins)} coins"])


async def _all_balances(context: click.Context, opened: MarketSession) -> None:
    names = account_names(opened.home)
    held = {account: await opened.market.credits.balance(account) for account in names}
    with console(context).status("summing up"):
        supply = await opened.market.supply()
    rows = [(names[account], f"{amount:,}") for account, amount in held.items()]
    value: dict[str, Any] = {
        "balances": {names[account]: amount for account, amount in held.items()},
        "supply": {"minted": supply.minted, "held": supply.held},
        "escrow": supply.escrow,
        "conserved": supply.conserved,
    }
    said = f"minted {supply.minted:,}, held {supply.held:,} (of it in escrow {supply.escrow:,}): "
    emit(
        context,
        value,
        [table("Credits", ("account", "balance"), rows), Text.assemble(said, _verdict(supply.conserved))],
    )
    if not supply.conserved:
        raise CheckFailed("what is held is not what was minted")


def _verdict(conserved: bool) -> Text:
    return Text("not a unit is lost") if conserved else Text("they differ", "bold red")


def _admins(home: Home) -> list[str]:
    """Labels of one admin per organisation. Raises CommandLineError without any."""
    wallet = Wallet(home.wallet)
    found: dict[str, str] = {}
    for label in wallet.labels():
        identity = wallet.identity(label)
        if certificate_role(identity.x509) is Role.ADMIN:
            found.setdefault(identity.msp_id, label)
    if not found:
        raise CommandLineError(f"the wallet {wallet.folder} holds no admin's identity; minting is voted by admins")
    return list(found.values())


async def _propose_and_vote(
    opened: MarketSession, voters: list[str], outputs: list[Output]
) -> tuple[str, list[Committed]]:
    first, *others = voters
    market = await opened.market_of(first)
    done = [await market.consortium.propose_mint(outputs)]
    proposal = done[0].transaction_id
    for label in others:
        voter = await opened.market_of(label)
        try:
            done.append(await voter.consortium.vote(proposal))
        except AlreadyVoted:
            continue
        if done[-1].answer["carried"]:
            break
    return proposal, done
