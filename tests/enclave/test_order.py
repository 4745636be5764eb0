"""The order of section 8's sixteen checks: of two defects in one job, whichever two, the earlier check's is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import pytest
from fabric_protos.ledger.rwset import rwset_pb2 as rwset
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2 as kvrwset

from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave import errors
from goldengrain.enclave.errors import TicketRefused
from goldengrain.enclave.job import Bench
from goldengrain.enclave.runner import Runner

from .fabric import NOW, Consortium, Forge, Parts, Signed
from .hostile.jobs import CHANGES
from .market import Deal

Expected = tuple[type[errors.EnclaveError], Outcome | None]


@dataclass(frozen=True)
class Defect:
    """What is wrong with a job, and who names it; each part of a job is changed where it is made."""

    refusal: type[errors.EnclaveError]
    deal: Callable[[Deal], Deal] = lambda deal: deal
    payload: Callable[[JobTicketPayload], JobTicketPayload] = lambda payload: payload
    before: Callable[[Parts, Consortium], object] = lambda parts, consortium: None
    after: Callable[[Signed], object] = lambda signed: None
    own_nonce: bool = True
    outcome: Outcome | None = None


def _unknown_field(signed: Signed) -> None:
    signed.payload.header.channel_header += b"\xfa\x3f\x01x"


def _foreign_namespace(parts: Parts, _: Consortium) -> None:
    parts.sets.append((rwset.NsReadWriteSet(namespace="lscc"), kvrwset.KVRWSet()))


def _client(parts: Parts, consortium: Consortium) -> None:
    parts.endorsers[0] = consortium.client


def _one_organisation(parts: Parts, consortium: Consortium) -> None:
    parts.endorsers[1] = consortium.peers["Org1MSP"]


def _space(parts: Parts, _: Consortium) -> None:
    parts.action.response.payload += b" "


DEFECTS: dict[int, Defect] = {
    1: Defect(errors.TicketMalformed, after=_unknown_field),
    2: Defect(errors.TicketChannelMismatch, before=lambda p, _: setattr(p.header, "channel_id", "other")),
    3: Defect(errors.TicketInputMismatch, before=lambda p, _: p.proposal_payload.TransientMap.update({"x": b"y"})),
    4: Defect(errors.TicketNonceUnknown, own_nonce=False),
    5: Defect(errors.TicketProposalHashMismatch, before=lambda p, _: setattr(p, "proposal_hash", bytes(range(32)))),
    6: Defect(errors.TicketActionRefused, before=lambda p, _: setattr(p.action.response, "status", 500)),
    7: Defect(errors.TicketReadWriteSetRefused, before=_foreign_namespace),
    8: Defect(errors.TicketEndorsementsDiffer, before=lambda p, _: setattr(p, "extra_actions", 1)),
    9: Defect(errors.TicketEndorserRefused, before=_client),
    10: Defect(errors.TicketTooFewOrganizations, before=_one_organisation),
    11: Defect(errors.TicketPayloadMismatch, before=_space),
    12: Defect(errors.TicketTimeRefused, before=lambda p, _: setattr(p.header.timestamp, "seconds", NOW + 601)),
    13: Defect(errors.TicketDigestMismatch, payload=lambda p: replace(p, order=replace(p.order, reserve=1))),
    14: Defect(errors.ModelEnvelopeWrong, deal=CHANGES["an envelope of noise"][0], outcome=Outcome.FAILED),
    15: Defect(
        errors.DatasetEnvelopeWrong, deal=CHANGES["a test set's envelope of noise"][0], outcome=Outcome.UNUSABLE
    ),
    16: Defect(errors.ModelCiphertextWrong, deal=CHANGES["a model with a changed bit"][0], outcome=Outcome.FAILED),
}
"""One defect for each check. Any of them can be in one job together: no two exclude each other."""


async def named(forge: Forge, deal: Deal, defects: list[Defect]) -> Expected | None:
    """Who names a job's defects, and what is signed; None for a pass."""
    for one in reversed(defects):  # what is made of a file comes after the file
        deal = one.deal(deal)
    payload = deal.payload()
    for one in defects:
        payload = one.payload(payload)

    def before(parts: Parts) -> None:
        for one in defects:
            one.before(parts, forge.consortium)

    def after(signed: Signed) -> None:
        for one in defects:
            one.after(signed)

    async with Runner(spares=0) as workers:
        bench = Bench(deal.keys, deal.bundle, workers)
        nonce = bench.tickets.nonces.make() if all(one.own_nonce for one in defects) else os.urandom(32)
        try:
            signed = await bench.run(forge.ticket(payload, nonce, before, after), deal.files())
        except errors.EnclaveError as error:
            return type(error), None
    return (errors.ERRORS[signed.reason], signed.result.outcome) if signed.reason else None


@pytest.mark.parametrize("check", DEFECTS)
async def test_each_defect_alone_is_named_by_its_own_check(check: int, forge: Forge, deal: Deal) -> None:
    defect = DEFECTS[check]
    assert await named(forge, deal, [defect]) == (defect.refusal, defect.outcome)
    if issubclass(defect.refusal, TicketRefused):
        assert defect.refusal.check == check


@pytest.mark.parametrize(("first", "second"), list(combinations(DEFECTS, 2)))
async def test_of_two_defects_the_earlier_check_s_is_named(first: int, second: int, forge: Forge, deal: Deal) -> None:
    defect = DEFECTS[first]
    assert await named(forge, deal, [defect, DEFECTS[second]]) == (defect.refusal, defect.outcome)


@pytest.mark.parametrize("first", DEFECTS)
async def test_of_all_defects_from_a_check_on_the_first_is_named(first: int, forge: Forge, deal: Deal) -> None:
    defects = [defect for check, defect in DEFECTS.items() if check >= first]
    assert await named(forge, deal, defects) == (defects[0].refusal, defects[0].outcome)


def test_there_is_a_defect_for_each_of_the_sixteen_checks() -> None:
    assert list(DEFECTS) == list(range(1, 17))
