"""What a bought model rests on, collected into one file: the very transactions, as peers endorsed them.

Which transactions those are follows from the ledger: the task's, the offer's, each report with its claim and the
registration of its enclave (with challenge, collateral and policy), the award where there was one, the reveal. The file
is checked offline by `goldengrain.enclave.provenance`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fabric_protos.peer import transaction_pb2

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.gateway.blocks import Call, processed
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.market.client import Market
from goldengrain.gateway.market.views import OfferView

KIND = "golden-grain provenance"
VERSION = 1


class ProvenanceIncomplete(GatewayError):
    """An offer without a settled swap, or of a contract that kept too little: there is nothing to export yet."""

    code = "PROVENANCE_INCOMPLETE"


async def collect(market: Market, offer: bytes, bundle: Json) -> bytes:
    """Return the file of a settled offer: canonical JSON. `bundle` is the trust bundle as JSON, put in for information.

    Raises ProvenanceIncomplete before `reveal`, the contract's refusals, and EvaluateError.
    """
    view = await market.offers.get(offer)
    if view.lock is None or view.lock.revealed is None:
        raise ProvenanceIncomplete(f"the offer is {view.state}; its provenance is whole once r is revealed")
    task = await market.tasks.get(view.order.task)
    found: dict[str, bytes] = {}
    for one in dict.fromkeys([task.transaction, *_of_offer(view)]):
        found[one] = await _fetch(market, one)
    policies = {task.policy_number}
    for one in [claim.registration for claim in view.claims if claim.registration is not None]:
        record = _written(_call(found[one]), "enclave/")
        policies.add(record["policy_number"])
        challenge = canonical.loads(_call(found[one]).arguments[1])["challenge"]
        for further in (challenge, record["collateral"]):
            if further is not None and further not in found:
                found[further] = await _fetch(market, further)
    for number in sorted(policies):
        adopted = (await market.consortium.policy(number)).transaction
        found[adopted] = found.get(adopted) or await _fetch(market, adopted)
    document = {
        "v": VERSION,
        "kind": KIND,
        "offer": offer.hex(),
        "bundle": bundle,
        "transactions": [_envelope(raw) for raw in found.values()],
    }
    return canonical.dumps(document)


def _of_offer(view: OfferView) -> Iterator[str]:
    yield view.transaction
    for claim in view.claims:
        if claim.report is not None and claim.registration is not None:
            yield from (claim.transaction, claim.report, claim.registration)
    if view.lock is not None:
        yield from (one for one in (view.lock.awarded, view.lock.revealed) if one is not None)


async def _fetch(market: Market, transaction: str) -> bytes:
    network = market.network
    return await network.contract("qscc").evaluate("GetTransactionByID", network.channel, transaction)


def _envelope(raw: bytes) -> str:
    return transaction_pb2.ProcessedTransaction.FromString(raw).transactionEnvelope.SerializeToString().hex()


def _written(call: Call, prefix: str) -> dict[str, Json]:
    """Return the record that a transaction wrote under a prefix."""
    for write in call.writes:
        if write.key.startswith(prefix) and write.value is not None:
            document = canonical.loads(write.value)
            if isinstance(document, dict):
                return document
    raise ProvenanceIncomplete(f"a transaction wrote nothing under {prefix}, which its offer rests on")


def _call(raw: bytes) -> Call:
    call = processed(raw).call
    if call is None:
        raise ProvenanceIncomplete("a transaction that the offer rests on is no call of the contract")
    return call
