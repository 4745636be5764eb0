"""`goldengrain offer`: from a sealed model to the money, or out of a swap that has stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from goldengrain.chaincode.protocol.errors import OfferNotFound
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.cli import buying, secret_files, selling
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError, FileRefused, NothingDue
from goldengrain.cli.market_session import MarketSession, account_names, market_session, parse_id, short
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.progress import byte_progress
from goldengrain.cli.session import home_of
from goldengrain.cli.task import SIMULATED
from goldengrain.cli.timing import DURATION, moment
from goldengrain.cli.ways_out import WayOut, take, ways_out_of, ways_out_of_slots
from goldengrain.gateway.market import Committed
from goldengrain.gateway.market.views import OfferView
from goldengrain.gateway.market.waiting import DECIDED
from goldengrain.gateway.store import FolderStore

OFFER = click.argument("offer", metavar="OFFER")


@click.group(cls=Group)
def offer() -> None:
    """Offer sealed models, confirm, wait for and settle offers."""


@command(offer, example="goldengrain offer submit 9ad31c --as User1@org2.example.com")
@OFFER
async def submit(context: click.Context, offer: str) -> None:
    """Send an offer that `model seal` has made: bond and benchmark fee are locked, the attempt is spent."""
    identifier = _sealed_id(context, offer)
    async with market_session(context) as opened:
        with console(context).status("sending the offer"):
            done = await selling.submit(opened.market, opened.home, identifier)
            view = await opened.market.offers.get(identifier)
    lines = [
        f"offered {identifier.hex()}: bond {view.bond:,}, benchmark fee {view.fee:,}",
        f"next, for a client of the provider's organisation: goldengrain offer receipt {short(identifier)}",
    ]
    emit(context, _done(view, done), lines)


@command(offer, example="goldengrain offer receipt 9ad31c --as User1@org1.example.com")
@OFFER
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Content store to fetch from.  [default: that of the developer's organisation]",
)
async def receipt(context: click.Context, offer: str, source: Path | None) -> None:
    """Fetch an offer's ciphertext into your organisation's store, check its digest, and confirm that you hold it."""
    store = _store(source) if source else None
    async with market_session(context) as opened:
        identifier = await opened.offer_id(offer)
        size = (await opened.market.offers.get(identifier)).order.size
        with byte_progress(context, "fetching", size) as progress:
            made = await buying.receipt(opened.market, opened.stores, identifier, store, progress)
        view = await opened.market.offers.get(identifier)
    value = _done(view, made.committed) | {"ciphertext": made.ciphertext.hex(), "size": made.size}
    lines = [
        f"{made.size:,} bytes fetched, SHA-256 {made.ciphertext.hex()} as offered",
        f"offer {short(identifier)} is {view.state}; operators may claim it" if view.state == "stored" else "confirmed",
    ]
    emit(context, value, lines)


@command(offer, example="goldengrain offer withdraw 9ad31c --as User1@org2.example.com")
@OFFER
async def withdraw(context: click.Context, offer: str) -> None:
    """Take an offer back before a receipt: bond and fee come back, the attempt stays spent. For its developer."""
    async with market_session(context) as opened:
        identifier = await opened.offer_id(offer)
        done = await opened.market.offers.withdraw(identifier)
        view = await opened.market.offers.get(identifier)
    emit(context, _done(view, done), [f"offer {short(identifier)} is withdrawn; bond and benchmark fee are back"])


@command(offer, name="list", example="goldengrain offer list --task 3f0c2a")
@click.option("--task", "task", metavar="TASK", help="Only those for this task.")
@click.option("--mine", is_flag=True, help="Only those that you made.")
@click.option("--state", type=click.Choice([str(one) for one in OfferState]), help="Only those in this state.")
async def list_offers(context: click.Context, task: str | None, mine: bool, state: str | None) -> None:
    """List offers."""
    names = account_names(home_of(context))
    async with market_session(context) as opened:
        wanted = await opened.task_id(task) if task else None
        developer = opened.market.account if mine else None
        only = OfferState(state) if state else None
        found = [one async for one in opened.market.offers.listing(wanted, developer, only)]
    rows = [
        (
            short(one.id),
            short(one.order.task),
            names.get(one.order.developer, short(one.order.developer)),
            str(one.state),
            f"{one.lock.score:,}" if one.lock else "",
            f"{one.lock.price:,}" if one.lock else "",
            "simulated" if one.lock and one.lock.simulated else "",
        )
        for one in found
    ]
    columns = ("offer", "task", "developer", "state", "score ppm", "price", "")
    emit(context, {"offers": [_summary(one) for one in found]}, [table("Offers", columns, rows)])


@command(offer, example="goldengrain offer show 9ad31c")
@OFFER
async def show(context: click.Context, offer: str) -> None:
    """Show an offer: its state, its claims, what is in escrow, what may be sent next."""
    async with market_session(context) as opened:
        view = await opened.market.offers.get(await opened.offer_id(offer))
        task = await opened.market.tasks.get(view.order.task)
        ways = ways_out_of(view, task, opened.now)
    value = _summary(view) | {
        "claims": [one.to_json() for one in view.claims],
        "order": view.order.to_json(),
        "ways_out": [{"command": one.command, "claim": one.claim, "due_in_s": one.wait} for one in ways],
    }
    emit(context, value, [table(f"Offer {short(view.id)}", ("", ""), _described(view, ways))])


@command(offer, example="goldengrain offer wait 9ad31c --for locked --timeout 2m")
@OFFER
@click.option("--for", "states", multiple=True, type=click.Choice([str(one) for one in OfferState]), help="Repeatable.")
@click.option("--timeout", type=DURATION, default="5m", show_default=True, help="Give up after so long, by real time.")
async def wait(context: click.Context, offer: str, states: tuple[str, ...], timeout: int) -> None:  # noqa: ASYNC109
    """Wait until an offer is in one of the states (default: until it is decided one way or the other).

    An offer that can't come to any of them any more, such as a declined one to locked, ends the wait at once.
    """
    wanted = [OfferState(one) for one in states] or DECIDED
    async with market_session(context) as opened:
        identifier = await opened.offer_id(offer)
        with console(context).status(f"waiting for {short(identifier)}"):
            view = await opened.market.offers.wait(identifier, wanted, timeout)
    emit(context, _summary(view), [_state_line(view)])


@command(offer, example="goldengrain offer reveal 9ad31c --as User1@org2.example.com")
@OFFER
async def reveal(context: click.Context, offer: str) -> None:
    """Publish the secret of a locked offer and be paid in the same transaction. For who sealed it, in time."""
    identifier = _sealed_id(context, offer)
    async with market_session(context) as opened:
        with console(context).status("revealing"):
            done = await selling.reveal(opened.market, opened.home, identifier)
        view = await opened.market.offers.get(identifier)
    price = view.lock.price if view.lock else 0
    lines = [
        f"offer {short(identifier)} is {view.state}: paid {price:,} less the market fee, bond back",
        f"next, for the provider: goldengrain model open {short(identifier)} --out FILE",
    ]
    emit(context, _done(view, done), lines)


@command(offer, example="goldengrain offer refund 9ad31c")
@click.argument("offer", metavar="[OFFER]", required=False)
@click.option("--task", "task", metavar="TASK", help="Every offer and every free slot of this task.")
async def refund(context: click.Context, offer: str | None, task: str | None) -> None:
    """Send whichever way out is due: lapse, expire, award, forfeit, or the refund of a free slot. Anyone may.

    Which one it is follows from the offer's state and the ledger's time; if none is due yet, this says when.
    """
    if (offer is None) == (task is None):
        raise CommandLineError("name an OFFER, or with --task a task")
    async with market_session(context) as opened:
        ways = await _ways(opened, offer, task)
        due = [one for one in ways if not one.wait]
        if not due:
            raise NothingDue(_nothing_due(ways))
        with console(context).status("sending"):
            done = [(way, await take(opened.market, way)) for way in due]
    value = {"sent": [_sent(way, committed) for way, committed in done]}
    emit(context, value, [f"{way}: {committed.code} in block {committed.block}" for way, committed in done])


def _store(folder: Path) -> FolderStore:
    if not folder.is_dir():
        raise FileRefused(f"{folder} is no folder; give the folder of a content store")
    return FolderStore(folder)


async def _ways(opened: MarketSession, offer: str | None, task: str | None) -> list[WayOut]:
    market, now = opened.market, opened.now
    if offer is not None:
        view = await market.offers.get(await opened.offer_id(offer))
        return ways_out_of(view, await market.tasks.get(view.order.task), now)
    found = await market.tasks.get(await opened.task_id(task or ""))
    ways: list[WayOut] = []
    async for listed in market.offers.listing(found.id):
        ways += ways_out_of(await market.offers.get(listed.id), found, now)
    return ways + ways_out_of_slots(found, await market.tasks.slots(found.id), now)


def _nothing_due(ways: list[WayOut]) -> str:
    if not ways:
        return "there is nothing to refund: everything here has come to its end"
    first = min(ways, key=lambda one: one.wait)
    return f"nothing is due yet; {first} may be sent in {first.wait} s"


def _sent(way: WayOut, committed: Committed) -> dict[str, Any]:
    return {
        "command": way.command,
        "offer": way.offer.hex() if way.offer else None,
        "claim": way.claim,
        "task": way.task.hex() if way.task else None,
        "slot": way.slot,
        "transaction": committed.transaction_id,
        "block": committed.block,
    }


def _sealed_id(context: click.Context, text: str) -> bytes:
    """The id of an offer sealed in this folder, from a unique beginning of it."""
    digits = parse_id(text, "offer")
    home = home_of(context)
    found = [one for one in secret_files.names(home, selling.KIND) if one.hex().startswith(digits)]
    if len(found) == 1:
        return found[0]
    if len(digits) == 64:
        return selling.load(home, bytes.fromhex(digits)).id
    raise OfferNotFound(
        f"{len(found) or 'no'} offers sealed in {home.path} begin with {digits}; `goldengrain model seal` makes one"
    )


def _summary(view: OfferView) -> dict[str, Any]:
    lock = view.lock
    return {
        "offer": view.id.hex(),
        "task": view.order.task.hex(),
        "developer": view.order.developer.hex(),
        "developer_msp": view.developer_msp,
        "attempt": view.order.attempt,
        "state": str(view.state),
        "score_ppm": lock.score if lock else None,
        "price": lock.price if lock else None,
        "deadline": lock.deadline if lock else None,
        "simulated": lock.simulated if lock else None,
        "held": view.held,
        "receipts": list(view.receipts),
        "slot": view.slot,
    }


def _done(view: OfferView, committed: Committed) -> dict[str, Any]:
    return _summary(view) | {"transaction": committed.transaction_id, "block": committed.block}


def _state_line(view: OfferView) -> str:
    line = f"offer {short(view.id)} is {view.state}"
    if view.lock is None:
        return line
    mark = f"; {SIMULATED}" if view.lock.simulated else ""
    return f"{line}: score {view.lock.score:,} ppm, price {view.lock.price:,}{mark}"


def _described(view: OfferView, ways: list[WayOut]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("offer", view.id.hex()),
        ("task", view.order.task.hex()),
        ("developer", f"{view.developer_msp}, account {view.order.developer.hex()}"),
        ("attempt", view.order.attempt),
        ("state", str(view.state)),
        ("in escrow", f"{view.held:,} (bond {view.bond:,}, benchmark fee {view.fee:,})"),
        ("reserve price", f"{view.order.reserve:,}"),
        ("ciphertext", f"{view.order.size:,} bytes, SHA-256 {view.order.ciphertext.hex()}"),
        ("sealed to", f"{len(view.envelopes)} enclaves"),
        ("held by", ", ".join(view.receipts) or "nobody has given a receipt"),
    ]
    for one in view.claims:
        outcome = f", {one.outcome}" if one.outcome else ""
        until = moment(one.claim.lease_end)
        rows.append((f"claim {one.claim.number}", f"{one.claim.operator_msp}, lease to {until}: {one.state}{outcome}"))
    if view.lock is not None:
        rows += [
            ("score", f"{view.lock.score:,} ppm"),
            ("price", f"{view.lock.price:,}"),
            ("reveal until", _reveal_until(view.lock.deadline)),
            ("attestation", "simulated" if view.lock.simulated else "hardware"),
        ]
    rows += [(f"way out: {one}", "due now" if not one.wait else f"in {one.wait} s") for one in ways]
    return rows


def _reveal_until(deadline: int | None) -> str:
    return "after the award, if it still leads" if deadline is None else moment(deadline)
