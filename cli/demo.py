"""`goldengrain demo`: a whole market, played on a network of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from goldengrain.cli.command import Command
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.cli.stage import swap
from goldengrain.cli.stage.acts import Acts
from goldengrain.cli.stage.page import page
from goldengrain.cli.stage.result import result
from goldengrain.cli.stage.scenarios import SCENARIOS, Play
from goldengrain.cli.stage.setting import Operation, Stage, set_stage
from goldengrain.cli.stage.swap import Sale, schedule_for
from goldengrain.cli.stage.training import TrainedModel, Training
from goldengrain.network.home import Home, write_atomically
from goldengrain.network.runtime import RUNTIMES

DATASETS = ("digits", "breast-cancer", "wine", "diabetes", "fashion-mnist")


@click.command(cls=Command, example="goldengrain demo --scenario no-reveal")
@click.option(
    "--dataset",
    type=click.Choice(DATASETS),
    default="digits",
    show_default=True,
    help="What models learn: images (digits, fashion-mnist), tables (breast-cancer, wine), values (diabetes).",
)
@click.option("--scenario", type=click.Choice(list(SCENARIOS)), help="Play what goes wrong instead of the main job.")
@click.option(
    "--runtime",
    "kind",
    type=click.Choice(RUNTIMES),
    default="embedded",
    show_default=True,
    help="What the network consists of: one process, or Fabric's own programs.",
)
@click.option("--keep", is_flag=True, help="Leave the folder of the demonstration's network behind.")
@click.pass_context
def demo(context: click.Context, dataset: str, scenario: str | None, kind: str, keep: bool) -> None:
    """Play a whole market: three developers sell models through the benchmark, the provider opens what it bought.

    It brings up a network of its own, and stops all that it started. Attestation is simulated.

    \b
    Scenarios:
      no-reveal        a developer stops after the lock: forfeited
      tampered-report  the host changes the score: refused, then the true report settles
      wrong-model      the stored ciphertext is not the one offered: no receipt, expired
      oracle-abuse     a host asks the enclave without a valid ticket: nothing is signed
      below-threshold  too low a score is declined and stands nowhere
      copied-offer     another developer sends the offer as its own: failed
    """  # noqa: D301 - click wants the backspace character itself
    folder = home_of(context).path
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder, prefix="demo-"))
    try:
        played = asyncio.run(_play(Home(work / "home"), Acts(console(context)), dataset, scenario, kind))
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
    report = folder / "demo.html"
    schedule = (SCENARIOS[scenario].schedule if scenario else None) or schedule_for(dataset)
    write_atomically(report, page(played.value, schedule).encode())
    emit(context, played.value, _people(played, report, scenario))


@dataclass(frozen=True)
class Played:
    """What a play ends with: the object that ``--json`` prints, and the last transaction of each of its offers."""

    value: dict[str, Any]
    transactions: Sequence[str]


async def _play(home: Home, acts: Acts, dataset: str, scenario: str | None, kind: str) -> Played:
    training = Training(dataset, 3 if scenario is None else 1, home.path.parent / "models")
    models = asyncio.create_task(training.run())
    try:
        async with set_stage(home, acts, kind) as stage:
            if scenario is None:
                sales = await _main_job(stage, dataset, models)
            else:
                with acts.act("a model is trained"):
                    (model,) = await models
                sales = await SCENARIOS[scenario].play(Play(stage, dataset, model.path))
            with acts.act("every transaction is fetched again and checked: hashes, signatures, codes, money"):
                played = await result(stage, dataset, sales)
    finally:
        models.cancel()
        await asyncio.gather(models, return_exceptions=True)
    timings = {
        "network_up": acts.seconds.get("network_up", 0.0),
        "train": training.seconds,
        "benchmark": acts.seconds.get("benchmark", 0.0),
        "total": acts.total,
    }
    rounded = {name: round(seconds, 3) for name, seconds in timings.items()}
    return Played(played | {"timings_s": rounded}, [sale.transaction for sale, _ in sales])


async def _main_job(
    stage: Stage, dataset: str, models: asyncio.Task[list[TrainedModel]]
) -> Sequence[tuple[Sale, int | None]]:
    acts, developers = stage.acts, stage.cast.developers
    with acts.act(f"task: {dataset}, the test set hidden and encrypted, the budget locked"):
        task = await swap.open_task(stage, dataset)
    with acts.act("developers: three models, trained and exported to ONNX"):
        trained = await models
    with acts.act("offers: sealed, bonds and fees locked; the provider confirms that it holds them"):
        pairs = zip(developers, trained, strict=True)
        sales = await asyncio.gather(*(swap.offer(stage, task, one, model.path) for one, model in pairs))
        await asyncio.gather(*(swap.receipt(stage, sale) for sale in sales))
    with acts.act("benchmark: claimed, tickets checked, decrypted, evaluated, signed; prices locked", "benchmark"):
        # One claim after the other: two at once may pick the same slot, and one of them would be sent anew.
        operations = [await swap.claim(stage, sale) for sale in sales]
        await asyncio.gather(*(_benchmarked(stage, *job) for job in zip(sales, operations, strict=True)))
    with acts.act("reveal: each developer publishes r and is paid in the same transaction"):
        await asyncio.gather(*(swap.reveal(stage, sale) for sale in sales))
    with acts.act("the provider unlocks, decrypts and measures what it bought"):
        measured = [await swap.buy(stage, task, sale) for sale in sales]
    return list(zip(sales, measured, strict=True))


async def _benchmarked(stage: Stage, sale: Sale, operation: Operation) -> None:
    await swap.report(stage, sale, operation, await swap.benchmark(stage, sale, operation))


def _seconds(played: dict[str, Any]) -> str:
    return f"{played['timings_s']['total']:.1f} s"


def _people(ended: Played, report: Path, scenario: str | None) -> list[Any]:
    played = ended.value
    offers = [
        (
            one["developer"].partition(".")[0],
            "-" if one["score_ppm"] is None else f"{one['score_ppm'] / 10_000:.2f} %",
            "-" if one["price"] is None else f"{one['price']:,}",
            one["state"],
            "-" if one["bought_model_score_ppm"] is None else f"{one['bought_model_score_ppm'] / 10_000:.2f} %",
            transaction[:12],
        )
        for one, transaction in zip(played["offers"], ended.transactions, strict=True)
    ]
    supply = played["supply"]
    count, last = len(played["transactions"]), played["transactions"][-1]
    columns = ("developer", "score", "price", "state", "measured", "transaction")
    lines: list[Any] = [
        "",
        table(f"Offers ({played['scoring']}; {played['attestation']} attestation, test network)", columns, offers),
        table("Balances", ("account", "credits"), [(name, f"{held:,}") for name, held in played["balances"].items()]),
        f"supply: minted {supply['minted']:,} = held {supply['held']:,}: nothing was made or lost",
        f"{count} transactions in {last['block'] + 1} blocks, all VALID and verified, in {_seconds(played)}",
        f"report: {report}",
        "",
    ]
    if scenario is None:
        lines.append("next: somebody cheats: goldengrain demo --scenario tampered-report")
    lines.append("next: a market of your own: goldengrain network up --market")
    return lines
