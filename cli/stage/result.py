"""What a play ends with: the ledger checked again, offers, balances, the sum of all money, durations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from goldengrain.cli.errors import CheckFailed
from goldengrain.cli.session import connect, endpoint_for
from goldengrain.cli.stage import swap
from goldengrain.cli.stage.audit import LedgerTransaction, check_acknowledged, verified_transactions
from goldengrain.cli.stage.setting import Stage
from goldengrain.cli.stage.swap import Sale
from goldengrain.cli.testsets import scoring
from goldengrain.gateway.market.views import OfferView
from goldengrain.gateway.wallet import Wallet


async def result(stage: Stage, dataset: str, sales: Sequence[tuple[Sale, int | None]]) -> dict[str, Any]:
    """Check everything and return the object that ``--json`` prints, but for the durations.

    ``sales``: each with what the provider measured on the opened model (ppm), None where none was bought.

    Raises:
        CheckFailed: where blocks, codes, money or scores do not agree.

    """
    ledger = await _ledger(stage)
    check_acknowledged(ledger, [(one.transaction_id, one.block, one.code) for one in stage.acknowledged])
    invalid = [one for one in ledger if one.code != "VALID"]
    if invalid:
        raise CheckFailed(f"{len(invalid)} transactions are invalid, the first: {invalid[0]}")
    supply = await stage.cast.provider.market.supply()
    if not supply.conserved:
        raise CheckFailed(f"money is not conserved: {supply.minted:,} minted, {supply.held:,} held")
    offers = [_offer(sale, await swap.view(stage, sale), measured) for sale, measured in sales]
    spec = (await stage.cast.provider.market.tasks.get((await swap.view(stage, sales[0][0])).order.task)).task.spec
    simulated = all(operation.host.simulated for operation in stage.operations)
    state = stage.home.load_state()
    return {
        "dataset": dataset,
        "scoring": scoring(spec),
        "runtime": state.runtime,
        "attestation": "simulated" if simulated else "hardware",
        "organizations": [one.msp_id for one in state.organizations],
        "offers": offers,
        "balances": await _balances(stage),
        "supply": {"minted": supply.minted, "held": supply.held},
        "transactions": [one.to_json() for one in ledger],
    }


async def _ledger(stage: Stage) -> list[LedgerTransaction]:
    """The verified transactions, as every organisation's peer delivers them."""
    home, topology = stage.home, stage.home.load_topology()
    async with AsyncExitStack() as stack:
        networks = []
        for organization in topology.organizations:
            user = Wallet(home.wallet).get(f"User1@{organization.domain}")
            endpoint = endpoint_for(home, organization.msp_id, organization.name)
            gateway = await stack.enter_async_context(connect(home, user, endpoint))
            networks.append(gateway.network(topology.channel.name))
        return await verified_transactions(networks)


def _offer(sale: Sale, view: OfferView, measured: int | None) -> dict[str, Any]:
    lock = view.lock
    if measured is not None and (lock is None or measured != lock.score):
        raise CheckFailed(
            f"the provider measured {measured} ppm on the model that it opened, the enclave reported "
            f"{lock.score if lock else None}"
        )
    return {
        "offer": view.id.hex(),
        "developer": sale.developer.label,
        "state": str(view.state),
        "score_ppm": lock.score if lock else None,
        "price": lock.price if lock else None,
        "bought_model_score_ppm": measured,
    }


async def _balances(stage: Stage) -> dict[str, int]:
    market = stage.cast.provider.market
    held = {one.label: await market.credits.balance(one.account) for one in stage.cast.everybody()}
    return held | {"treasury": await market.credits.treasury()}
