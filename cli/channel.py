"""`goldengrain channel`: channels and their configuration; updates as files that Admins pass around."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError, FileRefused
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import channel_admin, channels, config_update
from goldengrain.network.config_changes import with_anchor_peers, with_batch, with_capability
from goldengrain.network.home import write_atomically
from goldengrain.network.topology import BatchSettings, Channel, Topology


@click.group(cls=Group)
def channel() -> None:
    """Create and join channels, look at their configuration, change it together."""


@command(channel, example="goldengrain channel create second --member Org1 --member Org2")
@click.argument("name")
@click.option("--member", "members", multiple=True, help="Name of an organisation; all, where none is given.")
async def create(context: click.Context, name: str, members: tuple[str, ...]) -> None:
    """Create a further channel on the running network; orderers and the members' peers join it."""
    acts = Acts(console(context))
    made = await channels.create_channel(home_of(context), Channel(name, members=members), steps=acts.act)
    names = [one.name for one in made]
    emit(
        context,
        {"channel": name, "members": names},
        [f"channel {name} of {', '.join(names)}", f"next: `goldengrain chaincode deploy --channel {name} --help`"],
    )


@command(channel, example="goldengrain channel join")
async def join(context: click.Context) -> None:
    """Have every peer and orderer of this folder join every channel that it belongs to and has not joined."""
    home = home_of(context)
    acts = Acts(console(context))
    await channels.join_channels(home, steps=acts.act)
    names = [one.name for one in home.load_topology().channels]
    emit(context, {"channels": names}, [f"joined: {', '.join(names)}", "next: `goldengrain network status`"])


@command(channel, example="goldengrain channel info")
@click.argument("name", required=False)
async def info(context: click.Context, name: str | None) -> None:
    """Show a channel's configuration as a peer has it: members, orderers, batch settings, capabilities."""
    home = home_of(context)
    found = channels.described(await channel_admin.read_config(home, _name(home.load_topology(), name)))
    value: dict[str, Any] = {"channel": _name(home.load_topology(), name), **found}
    rows = [(key, ", ".join(item) if isinstance(item, list) else str(item)) for key, item in found.items()]
    emit(context, value, [table(f"Channel {value['channel']}", ("", ""), rows)])


@command(channel, example="goldengrain channel update --batch-timeout-ms 200 --file batch.update")
@click.option("--channel", "name", help="Name of the channel; the network's first.")
@click.option("--batch-timeout-ms", type=click.IntRange(1), help="How long the first message of a block waits.")
@click.option("--batch-messages", type=click.IntRange(1), help="How many messages a block may hold.")
@click.option("--anchor-peers", metavar="ORG", help="Make all peers of an organisation anchor peers.")
@click.option(
    "--capability", metavar="PART=NAME", help="Such as application=V2_5; parts: channel, orderer, application."
)
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Write the update there; send nothing.")
async def update(
    context: click.Context,
    name: str | None,
    batch_timeout_ms: int | None,
    batch_messages: int | None,
    anchor_peers: str | None,
    capability: str | None,
    file: Path | None,
) -> None:
    """Change a channel's configuration; with --file only write the change, for Admins elsewhere to sign."""
    home = home_of(context)
    topology = home.load_topology()
    changes = _changes(topology, batch_timeout_ms, batch_messages, anchor_peers, capability)
    proposal = await channel_admin.propose(home, _name(topology, name), partial(_apply, changes))
    await _finish(context, proposal, file)


@command(channel, example="goldengrain channel sign batch.update")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def sign(context: click.Context, file: Path) -> None:
    """Sign a change of a channel's configuration, as every Admin whose key is in this folder. Look at it first."""
    home = home_of(context)
    proposal = _read(file)
    for admin in channel_admin.admins(home, home.load_topology()):
        proposal = config_update.sign(proposal, admin)
    _write(file, proposal)
    emit(context, _described(proposal), _people(proposal, f"next: send {file} on, or `goldengrain channel submit`"))


@command(channel, example="goldengrain channel show batch.update")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def show(context: click.Context, file: Path) -> None:
    """Show what a change of a channel's configuration changes, and who has signed it."""
    proposal = _read(file)
    emit(context, _described(proposal), _people(proposal, f"next: `goldengrain channel sign {file}`"))


@command(channel, example="goldengrain channel submit batch.update")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
async def submit(context: click.Context, files: tuple[Path, ...]) -> None:
    """Submit a change; several FILES are copies of one change that were signed apart."""
    await _finish(context, config_update.merge([_read(file) for file in files]), None)


async def _finish(context: click.Context, proposal: bytes, file: Path | None) -> None:
    home = home_of(context)
    if file is not None:
        _write(file, proposal)
        hint = f"next: `goldengrain channel sign {file}` here and at the other organisations"
        emit(context, _described(proposal), _people(proposal, hint))
        return
    update = config_update.read(proposal)
    with Acts(console(context)).act(f"channel {update.channel_id}: change signed, ordered, in force"):
        sequence = await channel_admin.submit(home, update.channel_id, proposal)
    value = {"channel": update.channel_id, "sequence": sequence, "changes": config_update.changes(update)}
    emit(
        context,
        value,
        [f"channel {update.channel_id} is at configuration {sequence}", "next: `goldengrain channel info`"],
    )


def _changes(
    topology: Topology, timeout: int | None, messages: int | None, anchors: str | None, capability: str | None
) -> list[channel_admin.Change]:
    made: list[channel_admin.Change] = []
    if timeout is not None or messages is not None:
        made.append(partial(_batch, topology.channel.batch, timeout, messages))
    if anchors is not None:
        organization = topology.organization(anchors)
        made.append(lambda group: with_anchor_peers(group, organization.msp_id, organization.peers))
    if capability is not None:
        part, _, version = capability.partition("=")
        made.append(lambda group: with_capability(group, part, version))
    if not made:
        raise CommandLineError("nothing to change; see `goldengrain channel update --help`")
    return made


def _batch(settings: BatchSettings, timeout: int | None, messages: int | None, group: channels.Group) -> channels.Group:
    found = channels.batch_of(group, settings)
    timeout_ms, max_messages = timeout or found.timeout_ms, messages or found.max_messages
    return with_batch(group, replace(found, timeout_ms=timeout_ms, max_messages=max_messages))


def _apply(changes: list[channel_admin.Change], group: channels.Group) -> channels.Group:
    for change in changes:
        group = change(group)
    return group


def _name(topology: Topology, name: str | None) -> str:
    known = [one.name for one in topology.channels]
    if name is not None and name not in known:
        raise CommandLineError(f"no channel {name!r} in this network; there are {', '.join(known)}")
    return name or known[0]


def _described(proposal: bytes) -> dict[str, Any]:
    update = config_update.read(proposal)
    return {
        "channel": update.channel_id,
        "changes": config_update.changes(update),
        "signed": [{"msp_id": one.msp_id, "subject": one.subject} for one in config_update.signers(proposal)],
    }


def _people(proposal: bytes, hint: str) -> list[Any]:
    value = _described(proposal)
    rows = [("changes", one) for one in value["changes"]]
    rows += [("signed by", f"{one['msp_id']}: {one['subject']}") for one in value["signed"]] or [
        ("signed by", "nobody")
    ]
    return [table(f"An update of channel {value['channel']}", ("", ""), rows), hint]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FileRefused(f"{file} cannot be read: {error.strerror}") from error


def _write(file: Path, content: bytes) -> None:
    try:
        write_atomically(file, content)
    except OSError as error:
        raise FileRefused(f"{file} cannot be written: {error.strerror}") from error
