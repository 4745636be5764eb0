"""`goldengrain task`: what providers want to buy."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from goldengrain.chaincode.protocol.task import MAX_ENCLAVES, MAX_SLOTS, Award, Metric, PriceSchedule
from goldengrain.cli import buying, evaluating
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.files import read_file
from goldengrain.cli.market_session import account_names, market_session, short
from goldengrain.cli.output import emit, table
from goldengrain.cli.progress import share_progress
from goldengrain.cli.secret_files import private_folder
from goldengrain.cli.session import home_of
from goldengrain.cli.testsets import load_test_set, loss_text, scoring
from goldengrain.cli.timing import DURATION, moment
from goldengrain.gateway.market.views import SlotView, TaskView

DEFAULT_SCHEDULE = "800000:1000,950000:5000"
SIMULATED = Text.assemble(("simulated", "bold yellow"), " attestation: for tests, not for value")


class Schedule(click.ParamType[PriceSchedule]):
    """A price schedule: ``SCORE:PRICE,SCORE:PRICE,…`` with scores in ppm, rising."""

    name = "schedule"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> PriceSchedule:
        """Return the schedule; fails on malformed text, and lets the protocol name what it refuses."""
        points = []
        for part in str(value).split(","):
            score, colon, price = part.strip().partition(":")
            if not colon or not part.isascii() or not (score.isdecimal() and price.isdecimal()) or len(part) > 40:
                self.fail(f"{part!r} is not SCORE:PRICE in whole numbers, such as {DEFAULT_SCHEDULE}", param, ctx)
            points.append((int(score), int(price)))
        return PriceSchedule.of(*points)


@click.group(cls=Group)
def task() -> None:
    """Open tasks with a hidden test set and a price schedule, look at them, shut them."""


@command(
    task, name="open", example="goldengrain task open --dataset digits --schedule 800000:1000,950000:5000 --slots 3"
)
@click.option(
    "--dataset",
    required=True,
    metavar="NAME|FILE",
    help="`digits`, `breast-cancer`, `wine`, `diabetes`, `fashion-mnist`, a dataset container, or what `dataset pack` "
    "takes.",
)
@click.option(
    "--schedule",
    type=Schedule(),
    default=DEFAULT_SCHEDULE,
    show_default=True,
    help="Points SCORE:PRICE, scores in ppm; linear between them, nothing below the first.",
)
@click.option("--slots", default=3, show_default=True, type=click.IntRange(1, MAX_SLOTS), help="Models to buy at most.")
@click.option(
    "--award",
    type=click.Choice([str(one) for one in Award]),
    default="each",
    show_default=True,
    help="Who is paid: each that passes, or the best up to B (16 slots at most).",
)
@click.option(
    "--enclaves",
    default=1,
    show_default=True,
    type=click.IntRange(1, MAX_ENCLAVES),
    help="Enclaves that have to agree on every offer.",
)
@click.option("--offers-for", type=DURATION, default="1h", show_default=True, help="S: offers are taken for so long.")
@click.option("--reports-for", type=DURATION, default="2h", show_default=True, help="B: benchmarks end after so long.")
@click.option("--open-within", type=DURATION, help="A: the test set is opened within so long.  [default: B + 2 G + 1d]")
@click.option(
    "--reveal-within", type=DURATION, help="R: time to reveal after a lock.  [default: the policy's, from 10m]"
)
@click.option(
    "--eta",
    default=1_000,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Scores, in ppm, are floored to multiples of it, and enclaves have to agree within it; processors of "
    "different age were measured to differ by less than 1.",
)
@click.option("--attempts", type=click.IntRange(1), help="Offers of one organisation at most.  [default: the policy's]")
@click.option("--wilson", is_flag=True, help="Score by the lower end of Wilson's interval.")
@click.option(
    "--metric",
    type=click.Choice([str(one) for one in Metric]),
    help="What is measured.  [default: a named dataset's own, else accuracy]",
)
@click.option("--scale", type=click.IntRange(1), help="For losses: the loss, in millionths, that scores 0.")
@click.option("--classes", type=click.IntRange(1), help="Width of the model's output.  [default: from the labels]")
@click.option("--input-name", default="input", show_default=True, help="Name of the model's input.")
@click.option("--output-name", help="Name of the model's output.  [default: probabilities; prediction for rmse]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1))
async def open_task(context: click.Context, **options: Any) -> None:
    """Hide a test set and open a task: budget and audit bond are locked, enclaves get the key, nobody else does."""
    if options["reports_for"] <= options["offers_for"]:
        raise CommandLineError("--reports-for (B) must be longer than --offers-for (S)")
    async with market_session(context) as opened:
        with share_progress(context, "reading the test set") as progress:
            test_set = load_test_set(
                options["dataset"],
                folder=private_folder(opened.home),
                progress=progress,
                metric=Metric(options["metric"]) if options["metric"] else None,
                scale=options["scale"] or 0,
                classes=options["classes"],
                input_name=options["input_name"],
                output_name=options["output_name"],
            )
        terms = buying.TaskTerms(
            schedule=options["schedule"],
            slots=options["slots"],
            offers=options["offers_for"],
            reports=options["reports_for"],
            opening=options["open_within"],
            reveal=options["reveal_within"],
            eta=options["eta"],
            attempts=options["attempts"],
            wilson=options["wilson"],
            seed=options["seed"],
            award=Award(options["award"]),
            enclaves=options["enclaves"],
        )
        with test_set, share_progress(context, "sealing the test set and opening the task") as progress:
            made = await buying.open_task(opened.market, opened.home, opened.stores, test_set, terms, progress)
            view = await opened.market.tasks.get(made.id)
    value = {
        "task": made.id.hex(),
        "transaction": made.committed.transaction_id,
        "block": made.committed.block,
        "dataset": test_set.name,
        "samples": test_set.samples,
        "metric": str(test_set.metric),
        "scale": test_set.scale,
        "budget": made.budget,
        "audit_bond": made.audit_bond,
        "last_offer": view.task.last_offer,
        "last_report": view.task.last_report,
        "enclaves": [one.hex() for one in made.enclaves],
        "simulated": made.simulated,
    }
    lines: list[str | Text] = [
        f"task {made.id.hex()}",
        f"{test_set.name}, {test_set.samples:,} samples, hidden from all but {len(made.enclaves)} enclaves",
        f"scored by {scoring(view.task.spec)}",
        f"locked: {made.budget:,} for {options['slots']} slots, audit bond {made.audit_bond:,}",
        f"offers until {moment(view.task.last_offer)}, reports until {moment(view.task.last_report)}",
        *([SIMULATED] if made.simulated else []),
        f"next: goldengrain model seal MODEL.onnx --task {short(made.id)} --as DEVELOPER",
    ]
    emit(context, value, lines)


@command(task, name="list", example="goldengrain task list --open")
@click.option("--mine", is_flag=True, help="Only those that you opened.")
@click.option("--open", "taking_offers", is_flag=True, help="Only those that take offers.")
async def list_tasks(context: click.Context, mine: bool, taking_offers: bool) -> None:
    """List the tasks of the market."""
    names = account_names(home_of(context))
    async with market_session(context) as opened:
        provider = opened.market.account if mine else None
        found = [one async for one in opened.market.tasks.listing(provider, taking_offers)]
        now = opened.now
    rows = [
        (
            short(one.id),
            names.get(one.task.provider, short(one.task.provider)),
            _stage(one, now),
            f"{one.task.slots} x {one.task.schedule.top_price:,}",
            moment(one.status.last_offer),
            "simulated" if one.simulated else "",
        )
        for one in found
    ]
    columns = ("task", "provider", "state", "budget", "offers until", "")
    emit(context, {"tasks": [_summary(one, now) for one in found]}, [table("Tasks", columns, rows)])


@command(task, example="goldengrain task show 3f0c2a")
@click.argument("task", metavar="TASK")
async def show(context: click.Context, task: str) -> None:
    """Show a task: what it asks of a model, what it pays, its slots, its deadlines."""
    async with market_session(context) as opened:
        view = await opened.market.tasks.get(await opened.task_id(task))
        slots = await opened.market.tasks.slots(view.id)
        now = opened.now
    value = _summary(view, now) | {
        "slots": [{"slot": one.index, "state": str(one.state), "amount": one.amount} for one in slots],
        "terms": view.to_json(),
    }
    emit(context, value, [table(f"Task {short(view.id)}", ("", ""), _described(view, slots, now))])


@command(task, example="goldengrain task leaderboard 3f0c2a")
@click.argument("task", metavar="TASK")
async def leaderboard(context: click.Context, task: str) -> None:
    """List what passed in a task, the highest scores first."""
    names = account_names(home_of(context))
    async with market_session(context) as opened:
        identifier = await opened.task_id(task)
        found = [one async for one in opened.market.tasks.leaderboard(identifier)]
    ranked = [(rank, one, one.lock) for rank, one in enumerate(found, start=1) if one.lock is not None]
    rows = [
        (
            str(rank),
            short(one.id),
            names.get(one.order.developer, short(one.order.developer)),
            f"{lock.score:,}",
            f"{lock.price:,}",
            str(one.state),
            "simulated" if lock.simulated else "",
        )
        for rank, one, lock in ranked
    ]
    value = [
        {
            "rank": rank,
            "offer": one.id.hex(),
            "developer": one.order.developer.hex(),
            "score": lock.score,
            "price": lock.price,
            "state": str(one.state),
            "simulated": lock.simulated,
        }
        for rank, one, lock in ranked
    ]
    columns = ("rank", "offer", "developer", "score ppm", "price", "state", "")
    emit(context, {"task": identifier.hex(), "offers": value}, [table("Leaderboard", columns, rows)])


@command(task, example="goldengrain task evaluate 3f0c2a bought.onnx --classes")
@click.argument("task", metavar="TASK")
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--classes", is_flag=True, help="Also how it does on each class, with bars.")
async def evaluate(context: click.Context, task: str, model: Path, classes: bool) -> None:
    """Evaluate a model on a task's test set, as the enclave does, in a process of its own.

    For the provider in the folder that the task was opened from, for everybody once the test set is open. An enclave
    tells a score and nothing else: results by class are computed here, by who has both model and test set.
    """
    data = read_file(model)
    async with market_session(context) as opened:
        identifier = await opened.task_id(task)
        with share_progress(context, f"evaluating {model.name}") as progress:
            found = await evaluating.evaluate(opened.market, opened.home, opened.stores, identifier, data, progress)
    spec = found.task.spec
    value = {
        "task": identifier.hex(),
        "model": hashlib.sha256(data).hexdigest(),
        "metric": str(spec.metric),
        "wilson": spec.wilson,
        "scale": spec.scale,
        "samples": spec.samples,
        "score_ppm": found.score,
        "exact_ppm": found.exact,
        "loss": found.loss,
        "price": found.price,
        "classes": [one.to_json() for one in found.classes] if classes else None,
    }
    rows: list[tuple[str, object]] = [
        ("score", f"{found.score:,} ppm; {found.exact:,} before it is floored{loss_text(found.loss)}"),
        ("scored by", f"{scoring(spec)}, {spec.samples:,} samples"),
        ("is worth", f"{found.price:,} by the task's schedule"),
    ]
    emit(context, value, [table(model.name, ("", ""), rows), *(_by_class(found) if classes else [])])


SHOWN, BAR = 40, 20
"""Classes that a table shows at most, and the width of a full bar."""


def _by_class(found: evaluating.Evaluated) -> list[Any]:
    """Results by class as a table with bars; of many the weakest."""
    if not found.classes:
        return [f"{found.task.spec.metric} is about values: there are no classes"]
    weakest = sorted(found.classes, key=lambda one: one.score)[:SHOWN]
    rows = [
        (
            one.label,
            f"{one.samples:,}",
            "" if one.right is None else f"{one.right:,}",
            "" if one.predicted is None else f"{one.predicted:,}",
            f"{one.score / 10_000:.2f}",
            "█" * round(BAR * one.score / 1_000_000),
        )
        for one in sorted(weakest, key=lambda one: one.label)
    ]
    columns = ("class", "samples", "right", "predicted", f"{found.task.spec.metric} %", "")
    title = "Results by class" if len(rows) == len(found.classes) else f"The {SHOWN} weakest of {len(found.classes):,}"
    return [table(title, columns, rows)]


@command(task, example="goldengrain task shut 3f0c2a")
@click.argument("task", metavar="TASK")
async def shut(context: click.Context, task: str) -> None:
    """Take no further offers for a task; those that are there go on. For its provider."""
    async with market_session(context) as opened:
        identifier = await opened.task_id(task)
        done = await buying.shut(opened.market, opened.home, identifier)
    value = {"task": identifier.hex(), "transaction": done.transaction_id, "block": done.block}
    emit(context, value, [f"task {short(identifier)} takes no more offers"])


@command(task, name="open-dataset", example="goldengrain task open-dataset 3f0c2a")
@click.argument("task", metavar="TASK")
async def open_dataset(context: click.Context, task: str) -> None:
    """Publish the test set's key, between B + G and A: the audit bond comes back. For its provider."""
    async with market_session(context) as opened:
        identifier = await opened.task_id(task)
        done = await buying.open_dataset(opened.market, opened.home, identifier)
    value = {"task": identifier.hex(), "transaction": done.transaction_id, "block": done.block}
    emit(context, value, [f"the test set of task {short(identifier)} is open to everybody; the audit bond is back"])


def _stage(view: TaskView, now: int) -> str:
    if not view.status.shut and now <= view.status.last_offer:
        return "takes offers"
    return "benchmarks" if now <= view.task.last_report else f"over, test set {view.status.dataset}"


def _summary(view: TaskView, now: int) -> dict[str, Any]:
    return {
        "task": view.id.hex(),
        "provider": view.task.provider.hex(),
        "provider_msp": view.provider_msp,
        "state": _stage(view, now),
        "slots": view.task.slots,
        "schedule": [[score, price] for score, price in view.task.schedule.pairs],
        "last_offer": view.status.last_offer,
        "last_report": view.task.last_report,
        "last_opening": view.task.last_opening,
        "simulated": view.simulated,
        "test": view.task.terms.test,
    }


def _described(view: TaskView, slots: list[SlotView], now: int) -> list[tuple[str, object]]:
    found, spec = view.task, view.task.spec
    states = [str(one.state) for one in slots]
    counted = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
    return [
        ("task", view.id.hex()),
        ("provider", f"{view.provider_msp}, account {found.provider.hex()}"),
        ("state", _stage(view, now)),
        ("metric", f"{scoring(spec)}, {spec.samples:,} samples, multiples of {found.eta:,} ppm"),
        ("input", _tensor(spec.interface.input)),
        ("output", _tensor(spec.interface.output)),
        ("model at most", f"{spec.limits.model_bytes:,} bytes, {spec.limits.operations:,} operations a sample"),
        ("pays", ", ".join(f"{price:,} from {score:,} ppm" for score, price in found.schedule.pairs)),
        ("slots", f"{counted}; in escrow {sum(one.amount for one in slots):,}, audit bond {view.status.audit_bond:,}"),
        ("an offer costs", f"bond from {found.minimum_bond:,}, benchmark fee {found.benchmark_fee:,}"),
        ("offers until", moment(view.status.last_offer)),
        ("reports until", moment(found.last_report)),
        ("reveal within", f"{found.reveal:,} s of the lock"),
        ("test set opened until", moment(found.last_opening)),
        ("held by", f"{len(view.envelopes)} enclaves"),
        ("attestation", "simulated" if view.simulated else "hardware"),
        (
            "clock",
            f"W {found.terms.window} s, G {found.terms.guard} s" + (", a test policy's" if found.terms.test else ""),
        ),
    ]


def _tensor(tensor: Any) -> str:
    sizes = ", ".join(["samples", *map(str, tensor.shape[1:])])
    return f"{tensor.name}: {tensor.type} [{sizes}]".replace("[", r"\[")
