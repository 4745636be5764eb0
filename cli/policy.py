"""`goldengrain policy`: the market's policy, which the consortium votes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.cli import following
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError, FileRefused
from goldengrain.cli.founding import connect_any_admin, first_policy
from goldengrain.cli.market_session import account_from, market_session
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.cli.timing import moment
from goldengrain.gateway.market import Market
from goldengrain.network.home import write_atomically

FILE = click.Path(path_type=Path, dir_okay=False)
operators_option = click.option(
    "--operator", "operators", multiple=True, metavar="ACCOUNT", help="Who may run enclaves besides; label or account."
)


@click.group(cls=Group)
def policy() -> None:
    """Look at the market's policy, found a market, have the policy follow the channel's members, vote."""


@command(policy, example="goldengrain policy show")
@click.argument("proposal", required=False)
async def show(context: click.Context, proposal: str | None) -> None:
    """Show the policy in force, or what a PROPOSAL would make of it."""
    async with market_session(context) as opened:
        if proposal is None:
            found = await opened.market.consortium.policy()
            value: dict[str, Any] = {"since": found.adopted, "policy": found.policy.to_json()}
            emit(context, value, [table(f"Policy since {moment(found.adopted)}", ("", ""), _rows(found.policy))])
            return
        view = await opened.market.consortium.proposal(proposal)
    put = view.proposal.policy
    if put is None:
        raise CommandLineError(f"proposal {proposal} is not of a policy; it proposes to {view.proposal.action}")
    value = {"proposal": view.id, "state": view.state, "votes": list(view.votes), "policy": put.to_json()}
    title = f"Proposal of {view.proposer_msp}, {view.state}, votes of {', '.join(view.votes)}"
    emit(context, value, [table(title, ("", ""), _rows(put))])


@command(policy, example="goldengrain policy found --draft policy.json")
@operators_option
@click.option("--draft", type=FILE, help="Write the policy there, to be looked at and changed; send nothing.")
@click.option("--file", type=FILE, help="Found the market with this policy instead, as --draft wrote it.")
async def found(context: click.Context, operators: tuple[str, ...], draft: Path | None, file: Path | None) -> None:
    """Found the market with its first policy, once the organisations have deployed the contract.

    Without --file it is a test market's: short times, simulated attestation, and marked `test`.
    """
    home = home_of(context)
    accounts = [account_from(home, one) for one in operators]
    made = _read(file) if file else await first_policy(home, home.load_topology(), operators=accounts)
    if draft is not None:
        write_atomically(draft, json.dumps(made.to_json(), indent=2).encode() + b"\n")
        hint = f"next: look at it, then `goldengrain policy found --file {draft}`"
        emit(context, {"file": str(draft), "policy": made.to_json()}, [f"wrote {draft}", hint])
        return
    made.validate()
    async with connect_any_admin(home) as gateway:
        market = Market(gateway.network(home.load_topology().channel.name))
        committed = await market.consortium.bootstrap(made)
    await following.take_over(home)
    value = {"policy": made.to_json(), "transaction": committed.transaction_id}
    hint = "next: `goldengrain credits mint`, and `goldengrain enclave run` at the operators"
    emit(context, value, [f"founded by {', '.join(made.organizations)}", hint])


@command(policy, example="goldengrain policy follow")
@operators_option
async def follow(context: click.Context, operators: tuple[str, ...]) -> None:
    """Propose the policy that fits the channel's members and certificates, or vote for it where it is proposed.

    The same at each organisation, with its own Admin's key: what is voted for is what was worked out here.
    """
    home = home_of(context)
    accounts = [account_from(home, one) for one in operators]
    emit_followed(context, await following.follow(home, operators=accounts, steps=Acts(console(context)).act))


@command(policy, example="goldengrain policy vote 5f2c…")
@click.argument("proposal")
async def vote(context: click.Context, proposal: str) -> None:
    """Vote for a proposal, as an Admin (`--as`)."""
    async with market_session(context) as opened:
        done = await opened.market.consortium.vote(proposal)
    carried = bool(done.answer["carried"])
    value = {"proposal": proposal, "carried": carried, "transaction": done.transaction_id}
    emit(context, value, ["voted; it is carried" if carried else "voted; more organisations have to"])


def emit_followed(
    context: click.Context, done: following.Followed | None, value: dict[str, Any] | None = None, lines: Any = ()
) -> None:
    """End a command after which the policy follows the channel."""
    made = (value or {}) | {"policy": followed_value(done)}
    emit(context, made, [*lines, *followed_lines(done)])


def followed_value(done: following.Followed | None) -> dict[str, Any] | None:
    """What has become of a policy that follows the channel, as JSON values."""
    if done is None:
        return None
    return {
        "number": done.number,
        "proposal": done.proposal,
        "votes": list(done.votes),
        "carried": done.carried,
        "trust_bundle": done.bundle.hex(),
    }


def followed_lines(done: following.Followed | None) -> list[str]:
    """The same for a person, with what to do next."""
    if done is None:
        return ["the market's policy fits already"]
    votes = f"votes of {', '.join(done.votes)}"
    if done.carried:
        next_step = "next: `goldengrain enclave trust` at each operator: its enclave starts again with new keys"
        return [f"policy {done.number} is in force, {votes}", next_step]
    return [
        f"policy {done.number} is proposed as {done.proposal}, {votes}",
        "next: `goldengrain policy follow` at the other organisations",
    ]


def _rows(found: Policy) -> list[tuple[str, object]]:
    value = found.to_json()
    roots = [f"{root.kind} {root.id.hex()[:16]}…" for root in found.roots]
    value |= {"roots": roots, "operators": [one.hex()[:16] + "…" for one in found.operators]}
    return [(key, ", ".join(map(str, one)) if isinstance(one, list) else one) for key, one in value.items()]


def _read(file: Path) -> Policy:
    try:
        return Policy.from_json(json.loads(file.read_text()))
    except OSError as error:
        raise FileRefused(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, MalformedInput) as error:
        raise FileRefused(f"{file} is no policy: {error}") from error
