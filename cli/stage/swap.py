"""The steps of a swap, each by whom it is up to: open, offer, confirm, benchmark, reveal, open what was bought."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldengrain.chaincode.protocol.task import PriceSchedule
from goldengrain.cli import buying, operating, selling
from goldengrain.cli.evaluating import evaluate
from goldengrain.cli.stage.cast import Actor
from goldengrain.cli.stage.setting import Operation, Stage
from goldengrain.cli.testsets import load_test_set
from goldengrain.enclave.client import JobReport
from goldengrain.gateway.market import Committed
from goldengrain.gateway.market.views import OfferView

SCHEDULE = PriceSchedule.of(
    (500_000, 2_000), (750_000, 6_000), (900_000, 14_000), (960_000, 24_000), (1_000_000, 40_000)
)

OF_VALUES = PriceSchedule.of(
    (100_000, 2_000), (250_000, 6_000), (300_000, 14_000), (350_000, 24_000), (500_000, 40_000)
)
"""What is not noise in people's illnesses is hard to predict: 1 - RMSE / scale ends far below 1."""


def schedule_for(dataset: str) -> PriceSchedule:
    """The schedule of a dataset's task."""
    return OF_VALUES if dataset == "diabetes" else SCHEDULE


@dataclass
class Sale:
    """A developer's offer on its way."""

    developer: Actor
    offer: bytes
    model: Path
    claimed: operating.Claimed | None = None
    transaction: str = ""
    """Id of the latest transaction that moved it."""


async def open_task(stage: Stage, dataset: str, schedule: PriceSchedule | None = None, slots: int = 3) -> bytes:
    """The provider hides the test set, seals its key to the enclaves and locks its budget; returns the task's id."""
    provider, schedule = stage.cast.provider, schedule or schedule_for(dataset)
    terms = buying.TaskTerms(schedule=schedule, slots=slots, offers=3_600, reports=7_200)
    with load_test_set(dataset) as test_set:
        opened = await buying.open_task(provider.market, stage.home, stage.stores, test_set, terms)
    await stage.keep(opened.committed)
    return opened.id


async def offer(stage: Stage, task: bytes, developer: Actor, model: Path) -> Sale:
    """A developer seals a model and offers it."""
    sealed = await selling.seal_model(developer.market, stage.home, stage.stores, task, model)
    sale = Sale(developer, sealed.id, model)
    await keep(stage, sale, await selling.submit(developer.market, stage.home, sealed.id))
    return sale


async def keep(stage: Stage, sale: Sale, committed: Committed) -> dict[str, Any]:
    """Remember a transaction that moved a sale; returns its answer."""
    sale.transaction = committed.transaction_id
    return await stage.keep(committed)


async def receipt(stage: Stage, sale: Sale) -> None:
    """The provider fetches the ciphertext and confirms that it holds it."""
    receipted = await buying.receipt(stage.cast.provider.market, stage.stores, sale.offer)
    await keep(stage, sale, receipted.committed)


async def claim(stage: Stage, sale: Sale, operation: Operation | None = None) -> Operation:
    """An operator claims the job for its enclave."""
    operation = operation or stage.operation_for(sale.developer)
    sale.claimed = await operating.claim(operation.operator.market, stage.home, operation.host.id, sale.offer)
    await keep(stage, sale, sale.claimed.committed)
    return operation


async def benchmark(stage: Stage, sale: Sale, operation: Operation) -> JobReport:
    """The enclave checks the job ticket, decrypts, evaluates and signs; nothing is handed in yet."""
    async with operation.host.client() as enclave:
        return await operating.run(
            operation.operator.market, stage.stores, enclave, operation.host.exchange, claimed_of(sale)
        )


async def report(stage: Stage, sale: Sale, operation: Operation, signed: JobReport) -> str:
    """The operator hands the report in; returns the offer's new state."""
    committed = await operating.submit(operation.operator.market, stage.home, claimed_of(sale), signed)
    return str((await keep(stage, sale, committed))["state"])


async def reveal(stage: Stage, sale: Sale) -> None:
    """The developer publishes r; the money moves in the same transaction."""
    await keep(stage, sale, await selling.reveal(sale.developer.market, stage.home, sale.offer))


async def buy(stage: Stage, task: bytes, sale: Sale) -> int:
    """The provider unlocks the key, decrypts the model, measures it (ppm) and acknowledges."""
    provider = stage.cast.provider
    path = stage.home.path / "bought" / f"{sale.offer.hex()}.onnx"
    await buying.unlock(provider.market, stage.home, stage.stores, sale.offer, path)
    measured = await evaluate(provider.market, stage.home, stage.stores, task, path.read_bytes())
    await stage.keep(await buying.acknowledge(provider.market, stage.home, sale.offer))
    return measured.score


async def view(stage: Stage, sale: Sale) -> OfferView:
    """The offer as it stands on the ledger."""
    return await stage.cast.provider.market.offers.get(sale.offer)


def claimed_of(sale: Sale) -> operating.Claimed:
    """The sale's claim; an assertion of the play that there is one."""
    if sale.claimed is None:
        raise AssertionError("claim comes first")
    return sale.claimed
