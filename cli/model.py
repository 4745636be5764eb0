"""`goldengrain model`: seal a model for a task, open a bought one, look into a file."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.offer import DEFAULT_CHUNK, MAX_CHUNK, MIN_CHUNK
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric
from goldengrain.cli import buying, evaluating, packing, secret_files, selling
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CheckFailed, ExtraMissing, FileRefused
from goldengrain.cli.files import read_file, require_free
from goldengrain.cli.founding import bundle_of
from goldengrain.cli.inspection import Inspected, inspect_model
from goldengrain.cli.market_session import MarketSession, account_from, market_session, short
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.progress import byte_progress, share_progress
from goldengrain.cli.session import home_of
from goldengrain.cli.task import SIMULATED
from goldengrain.cli.testsets import INPUT, TestSet, load_test_set, loss_text
from goldengrain.enclave.provenance import Provenance
from goldengrain.enclave.provenance import verify as check_provenance
from goldengrain.gateway.market.provenance import collect
from goldengrain.gateway.market.views import TaskView
from goldengrain.network.home import write_atomically

AMOUNT = click.IntRange(0, 2**63 - 1)
MODEL_FILE = click.Path(path_type=Path, dir_okay=False)
ARCHITECTURES = ("mlp", "lenet", "resnet-8", "resnet-18")


@click.group(cls=Group)
def model() -> None:
    """Seal models for a task, open bought ones, look into files."""


@command(model, example="goldengrain model seal model.onnx --task 3f0c2a1b --as User1@org2.example.com")
@click.argument("file", type=MODEL_FILE)
@click.option("--task", "task", required=True, metavar="TASK", help="The task that it is for.")
@click.option("--reserve", default=0, show_default=True, type=AMOUNT, help="Sell for no less.")
@click.option("--bond", type=AMOUNT, help="What is lost if r is not revealed.  [default: the task's least]")
@click.option("--payout", metavar="ACCOUNT", help="Who is paid: wallet label or account.  [default: who acts]")
@click.option("--attempt", type=click.IntRange(1), help="Attempt number.  [default: your organisation's next]")
@click.option("--provider-may-operate", is_flag=True, help="Let enclaves of the provider's organisation run it.")
@click.option("--chunk-size", default=DEFAULT_CHUNK, show_default=True, type=click.IntRange(MIN_CHUNK, MAX_CHUNK))
@click.option("--unchecked", is_flag=True, help="Seal even what an enclave would refuse.")
async def seal(
    context: click.Context,
    file: Path,
    task: str,
    reserve: int,
    bond: int | None,
    payout: str | None,
    attempt: int | None,
    provider_may_operate: bool,
    chunk_size: int,
    unchecked: bool,
) -> None:
    """Encrypt an ONNX model for a task under a fresh key, and seal the key to the enclaves that may run it.

    The ciphertext goes into your organisation's content store; nothing is sent to the ledger. Key and secret are kept
    under `secrets/offers` of the home folder: without them you are not paid.
    """
    data = read_file(file)
    home = home_of(context)
    paid = account_from(home, payout) if payout else None
    terms = selling.SealTerms(reserve, bond, paid, attempt, chunk_size, provider_may_operate)
    async with market_session(context) as opened:
        view = await opened.market.tasks.get(await opened.task_id(task))
        checked = not unchecked and _would_run(data, view.task.spec)
        with byte_progress(context, f"sealing {file.name}", len(data)) as progress:
            sealed = await selling.seal_model(opened.market, home, opened.stores, view.id, file, terms, progress)
    value = {
        "offer": sealed.id.hex(),
        "task": view.id.hex(),
        "attempt": sealed.command.attempt,
        "ciphertext": sealed.command.ciphertext.hex(),
        "size": sealed.command.size,
        "model": sealed.model.hex(),
        "bond": sealed.command.bond,
        "benchmark_fee": view.task.benchmark_fee,
        "enclaves": [one.enclave.hex() for one in sealed.command.envelopes],
        "checked": checked,
        "simulated": sealed.simulated,
    }
    lines: list[str | Text] = [
        f"offer {sealed.id.hex()}",
        f"sealed to {len(sealed.command.envelopes)} enclaves; {sealed.command.size:,} bytes in the store",
        f"it will lock a bond of {sealed.command.bond:,} and cost a benchmark fee of {view.task.benchmark_fee:,}",
        f"key and secret: {secret_files.path_of(home, selling.KIND, sealed.id)}",
        *([] if checked else ["not checked whether an enclave would take it"]),
        *([SIMULATED] if sealed.simulated else []),
        f"next: goldengrain offer submit {short(sealed.id)}",
    ]
    emit(context, value, lines)


@command(model, name="open", example="goldengrain model open 9ad31c --out bought.onnx --as User1@org1.example.com")
@click.argument("offer", metavar="OFFER")
@click.option("--out", required=True, type=MODEL_FILE, help="File to write the model to.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--evaluate", is_flag=True, help="Also score it on your hidden test set, as the enclave did.")
@click.option("--keep-on-ledger", is_flag=True, help="Don't acknowledge: r and the locked key stay in the state.")
async def open_model(
    context: click.Context, offer: str, out: Path, force: bool, evaluate: bool, keep_on_ledger: bool
) -> None:
    """Unlock a settled offer's key, decrypt the model, check it against the enclave's report, acknowledge.

    For the task's provider, in the home folder from which the task was opened.
    """
    require_free(out, force)
    async with market_session(context) as opened:
        identifier = await opened.offer_id(offer)
        with share_progress(context, "unlocking and decrypting") as progress:
            bought = await buying.unlock(opened.market, opened.home, opened.stores, identifier, out, progress)
        score = await _evaluated(context, opened, identifier, out, bought.score) if evaluate else None
        done = None if keep_on_ledger else await _acknowledge(opened, identifier)
    value = {
        "offer": identifier.hex(),
        "file": str(out),
        "model": bought.digest.hex(),
        "size": bought.size,
        "score_ppm": bought.score,
        "price": bought.price,
        "bought_model_score_ppm": score,
        "acknowledged": done,
        "simulated": bought.simulated,
    }
    lines: list[str | Text] = [
        f"{out}: {bought.size:,} bytes, SHA-256 {bought.digest.hex()}, as the enclave attested",
        f"score {bought.score:,} ppm, paid {bought.price:,}",
        *([f"on your own test set: {score:,} ppm"] if score is not None else []),
        *([SIMULATED] if bought.simulated else []),
    ]
    emit(context, value, lines)


@command(model, example="goldengrain model pack train:classifier --data rows.csv --out model.onnx")
@click.argument("source", metavar="MODULE:NAME|FILE")
@click.option("--out", type=MODEL_FILE, required=True, help="The file to write.")
@click.option("--data", metavar="DATA", help="Data of your own to estimate the score on: as `dataset pack` takes it.")
@click.option("--task", "task", metavar="TASK", help="Pack for this task: its interface, limits and metric.")
@click.option(
    "--metric",
    type=click.Choice([str(one) for one in Metric]),
    help="What is estimated.  [default: the task's, a named dataset's own, else accuracy]",
)
@click.option("--scale", type=click.IntRange(1), help="For losses: the loss, in millionths, that scores 0.")
@click.option("--wilson", is_flag=True, help="Estimate the lower end of Wilson's interval.")
@click.option("--architecture", type=click.Choice(ARCHITECTURES), help="Weights: for this built-in architecture.")
@click.option("--image", metavar="SIZES", help="What the network sees, for instance 1x28x28 or 64.")
@click.option("--outputs", type=click.IntRange(1), help="Weights: how many outputs the network has.")
@click.option("--hidden", metavar="SIZES", help="An mlp's hidden layers, for instance 128x64.")
@click.option("--no-softmax", is_flag=True, help="Weights: the last layer's outputs as they are.")
@click.option("--weights", is_flag=True, help="Keep weights for the torch engine instead of writing them as ONNX.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
async def pack(context: click.Context, source: str, out: Path, task: str | None, **options: Any) -> None:
    """Turn a trained model into a file that an enclave takes, check it, and estimate its score on your own data.

    MODULE:NAME is a fitted scikit-learn estimator or a torch module, or a function that makes one, imported from this
    folder: nothing is unpickled. FILE is .onnx, or .safetensors with weights for --architecture.
    """
    require_free(out, options["force"])
    spec = await _spec(context, task)
    shape = packing.Shape(
        options["architecture"],
        _sizes(options["image"], "--image"),
        options["outputs"],
        _sizes(options["hidden"], "--hidden"),
        not options["no_softmax"],
    )
    metric = spec.metric if spec else Metric(options["metric"]) if options["metric"] else None
    with (
        _own_data(options["data"], metric, spec, options["scale"], shape) as own,
        share_progress(context, f"packing {source}") as progress,
    ):
        made = await asyncio.to_thread(
            packing.pack,
            *(source, shape, own, spec),
            weights=options["weights"],
            wilson=options["wilson"],
            progress=progress,
        )
        write_atomically(out, made.data)
    value = {
        "file": str(out),
        "bytes": len(made.data),
        "sha256": hashlib.sha256(made.data).hexdigest(),
        "kind": made.kind,
        "interface": made.interface.to_json(),
        "operations": made.operations,
        "memory_bytes": made.memory,
        "metric": str(own.metric) if own else None,
        "estimate_ppm": made.score,
        "loss": made.loss,
        "samples": made.samples,
    }
    rows: list[tuple[str, object]] = [
        ("file", f"{out}: {len(made.data):,} bytes"),
        ("kind", made.kind),
        ("operations a sample", f"{made.operations:,}"),
        ("memory", f"{made.memory:,} bytes"),
        ("an enclave would take it", "yes"),
        (
            "estimate",
            "give --data for one"
            if made.score is None
            else f"{made.score:,} ppm {own.metric if own else ''}{loss_text(made.loss)} on {options['data']}",
        ),
    ]
    emit(context, value, [table(out.name, ("", ""), rows), f"next: goldengrain model seal {out} --task TASK"])


async def _spec(context: click.Context, task: str | None) -> BenchmarkSpec | None:
    if task is None:
        return None
    async with market_session(context) as opened:
        return (await opened.market.tasks.get(await opened.task_id(task))).task.spec


def _sizes(text: str | None, option: str) -> tuple[int, ...]:
    parts = text.split("x") if text else []
    if not all(part.isdigit() and 0 < int(part) < 2**31 for part in parts):
        raise click.BadParameter("sizes are numbers with an x between them, for instance 1x28x28", param_hint=option)
    return tuple(int(part) for part in parts)


def _own_data(
    source: str | None, metric: Metric | None, spec: BenchmarkSpec | None, scale: int | None, shape: packing.Shape
) -> AbstractContextManager[TestSet | None]:
    if source is None:
        return nullcontext()
    classes = spec.interface.output.shape[-1] if spec else shape.outputs
    names = (spec.interface.input.name, spec.interface.output.name) if spec else (INPUT, None)
    scale = spec.scale if spec else scale or 0
    return load_test_set(source, metric=metric, scale=scale, classes=classes, input_name=names[0], output_name=names[1])


@command(model, example="goldengrain model inspect model.onnx")
@click.argument("file", type=MODEL_FILE)
@click.option(
    "--task", "task", metavar="TASK", help="Judge it by this task; without it, by its own interface, offline."
)
async def inspect(context: click.Context, file: Path, task: str | None) -> int:
    """Show a model's operators, versions and counted operations, and whether an enclave would take it.

    Works offline without --task. Exit code 1 if an enclave would refuse it.
    """
    data = read_file(file)
    view: TaskView | None = None
    if task is not None:
        async with market_session(context) as opened:
            view = await opened.market.tasks.get(await opened.task_id(task))
    found = inspect_model(data, view.task.spec if view else None)
    value: dict[str, Any] = {
        "file": str(file),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "ir_version": found.ir_version,
        "operator_sets": found.operator_sets,
        "operators": found.operators,
        "inputs": found.inputs,
        "outputs": found.outputs,
        "operations": found.operations,
        "memory_bytes": found.memory,
        "task": view.id.hex() if view else None,
        "accepted": found.accepted,
        "refusal": {"code": found.refusal.code, "message": str(found.refusal)} if found.refusal else None,
    }
    emit(context, value, [table(file.name, ("", ""), _rows(value, found))])
    return 0 if found.accepted else 1


@command(model, name="provenance", example="goldengrain model provenance 9ad31c --out model.provenance")
@click.argument("offer", metavar="OFFER")
@click.option("--out", type=MODEL_FILE, required=True, help="The file to write.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
async def provenance(context: click.Context, offer: str, out: Path, force: bool) -> None:
    """Write everything that a bought model rests on into one file, for anybody to check offline."""
    require_free(out, force)
    async with market_session(context) as opened:
        identifier = await opened.offer_id(offer)
        with console(context).status("collecting transactions"):
            path = bundle_of(opened.home, await _believed(opened, identifier))
            data = await collect(opened.market, identifier, _bundle(path).to_json())
    write_atomically(out, data)
    value = {"offer": identifier.hex(), "file": str(out), "bytes": len(data)}
    emit(context, value, [f"{out}: {len(data):,} bytes", f"next: goldengrain model verify {out} --model FILE"])


async def _believed(opened: MarketSession, offer: bytes) -> bytes:
    """The trust bundle that the enclave of an offer believed."""
    claims = (await opened.market.offers.get(offer)).claims
    if not claims:
        return b""
    return (await opened.market.enclaves.get(claims[-1].claim.enclave)).bundle


@command(model, name="verify", example="goldengrain model verify model.provenance --model bought.onnx")
@click.argument("file", type=MODEL_FILE)
@click.option("--model", "bought", type=MODEL_FILE, help="The bought model: is it the one that was benchmarked?")
@click.option("--trust", type=MODEL_FILE, help="The trust bundle that you believe.  [default: the file's own]")
async def verify(context: click.Context, file: Path, bought: Path | None, trust: Path | None) -> None:
    """Check a bought model's provenance offline: no network, no ledger, only this file and whom you trust."""
    found = check_provenance(read_file(file), _bundle(trust) if trust else None, read_file(bought) if bought else None)
    value = {
        "accepted": True,
        "offer": found.offer.hex(),
        "task": found.task.id.hex(),
        "score": found.score,
        "price": found.price,
        "market_fee": found.market_fee,
        "model": found.model.hex(),
        "model_checked": found.model_checked,
        "policy": found.policy.number,
        "test": found.policy.test,
        "simulated": found.simulated,
        "trust_bundle": found.bundle.hex(),
        "trusted": found.trusted,
        "enclaves": [
            {
                "enclave": one.enclave.hex(),
                "operator": one.operator_msp,
                "measurement": one.measurement.hex(),
                "tcb_status": one.status,
                "advisories": list(one.advisories),
                "simulated": one.simulated,
            }
            for one in found.enclaves
        ],
        "transactions": [
            {"id": one.id, "command": one.arguments[0].decode(), "endorsed_by": list(one.endorsed_by)}
            for one in found.transactions
        ],
    }
    emit(context, value, _proven(found))


def _proven(found: Provenance) -> list[Any]:
    rows: list[tuple[str, object]] = [
        ("offer", found.offer.hex()),
        ("task", found.task.id.hex()),
        ("model", f"SHA-256 {found.model.hex()}{', as the file given' if found.model_checked else ', no file given'}"),
        ("score", f"{found.score:,} ppm over {found.task.spec.samples:,} samples"),
        ("price", f"{found.price:,}, of it market fee {found.market_fee:,}"),
        ("policy", f"number {found.policy.number}{', a test policy' if found.policy.test else ''}"),
    ]
    for one in found.enclaves:
        kind = "simulated" if one.simulated else "hardware"
        rows.append(("enclave", f"{short(one.enclave)} of {one.operator_msp}: {kind}, TCB {one.status}"))
        rows.append(("measurement", one.measurement.hex()))
    rows.append(("transactions", f"{len(found.transactions)}, each endorsed by organisations of the trust bundle"))
    trust = "as you gave it" if found.trusted else "the file's own: compare it with your consortium's, or use --trust"
    rows.append(("trust bundle", f"{found.bundle.hex()}, {trust}"))
    return [table("Accepted", ("", ""), rows), *([SIMULATED] if found.simulated else [])]


def _bundle(file: Path) -> TrustBundle:
    try:
        return TrustBundle.from_bytes(read_file(file))
    except MalformedInput as error:
        raise FileRefused(f"{file} is no trust bundle: {error}") from error


def _rows(value: dict[str, Any], found: Inspected) -> list[tuple[str, object]]:
    verdict = "yes" if found.accepted else f"no: {found.refusal.code if found.refusal else ''}: {found.refusal}"
    return [
        ("bytes", f"{value['bytes']:,}"),
        ("SHA-256", value["sha256"]),
        ("IR version", found.ir_version or ""),
        ("operator sets", ", ".join(f"{domain} {version}" for domain, version in found.operator_sets.items())),
        ("operators", ", ".join(f"{count} {name}" for name, count in found.operators.items())),
        ("input", ", ".join(found.inputs)),
        ("output", ", ".join(found.outputs)),
        ("operations a sample", "" if found.operations is None else f"{found.operations:,}"),
        ("memory", "" if found.memory is None else f"{found.memory:,} bytes"),
        ("would an enclave take it", verdict),
    ]


def _would_run(data: bytes, spec: BenchmarkSpec) -> bool:
    """Raise what an enclave would refuse a model with; False where it cannot be told here."""
    try:
        found = inspect_model(data, spec)
    except ExtraMissing:
        return False
    if found.refusal is not None:
        raise found.refusal
    return True


async def _evaluated(context: click.Context, opened: MarketSession, offer: bytes, out: Path, attested: int) -> int:
    task = (await opened.market.offers.get(offer)).order.task
    with share_progress(context, f"evaluating {out.name}") as progress:
        found = await evaluating.evaluate(opened.market, opened.home, opened.stores, task, read_file(out), progress)
    score = found.score
    if score != attested:
        raise CheckFailed(
            f"{out} scores {score:,} ppm on the test set here, the enclave reported {attested:,}; "
            "another kind of machine may differ by rounding"
        )
    return score


async def _acknowledge(opened: MarketSession, offer: bytes) -> str | None:
    """Acknowledge unless that was done; returns the transaction's id."""
    lock = (await opened.market.offers.get(offer)).lock
    if lock is None or lock.acknowledged:
        return None
    return (await buying.acknowledge(opened.market, opened.home, offer)).transaction_id
