from __future__ import annotations

import contextlib
import typing
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import canonical, commands, queries
from goldengrain.chaincode.protocol.codecs import Bytes, Codec, Flag, Integer, ManyOf, Nullable, Text
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.errors import ContractError, MalformedInput, ReportMalformed, UnknownCommand
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.records import Choice, Nested, schema
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.requests import Request

from . import samples

W = samples.word("any")
EXAMPLES: dict[str, Any] = {
    "Bootstrap": {"policy": samples.policy()},
    "Propose": {"action": commands.Action.MINT, "mint": (Output(W, 5),), "policy": None, "burn": (), "revoke": None},
    "OpenTask": {field.name: getattr(samples.open_task(), field.name) for field in fields(samples.open_task())},
    "SubmitReport": {"outcome": Outcome.PASS, "score": 5, "locked": b"l" * 1184, "model": W},
}


def example(codec: Codec) -> Any:
    """A value that a codec allows."""
    if isinstance(codec, Integer):
        return max(codec.low, 1)
    if isinstance(codec, Text):
        return {None: "x" * codec.low}.get(codec.pattern, samples.COIN[: codec.high])
    if isinstance(codec, Bytes):
        return b"\x05" * codec.low
    if isinstance(codec, ManyOf):
        return (example(codec.inner),)
    if isinstance(codec, Nested):
        return codec.kind(**{name: example(inner) for name, inner in schema(codec.kind).items()})
    if isinstance(codec, Nullable):
        return example(codec.inner)
    if isinstance(codec, Choice):
        return next(iter(typing.cast("type[StrEnum]", codec.kind)))
    assert isinstance(codec, Flag)
    return True


def build(kind: type[Request]) -> Request:
    given = EXAMPLES.get(kind.__name__, {})
    return kind(**given, **{name: example(codec) for name, codec in schema(kind).items() if name not in given})


@pytest.mark.parametrize("name", commands.FUNCTIONS)
def test_every_call_travels_as_arguments(name: str) -> None:
    request = build(commands.FUNCTIONS[name])
    args = request.to_args()
    assert args[0] == name.encode()
    assert commands.parse(args) == request
    if name != "JobTicket":
        assert len(args) == 2
        assert canonical.dumps(canonical.loads(args[1])) == args[1]


@pytest.mark.parametrize("name", commands.FUNCTIONS)
def test_every_call_refuses_an_unknown_field_and_a_second_argument(name: str) -> None:
    args = build(commands.FUNCTIONS[name]).to_args()
    with pytest.raises(MalformedInput):
        commands.parse([*args, b"{}"])
    if name != "JobTicket":
        with pytest.raises(MalformedInput, match="surprise"):
            commands.parse([args[0], canonical.dumps({**canonical.loads(args[1]), "surprise": 1})])


@given(st.sampled_from(sorted(commands.FUNCTIONS)), st.lists(st.binary(max_size=60), max_size=5))
def test_whatever_is_sent_is_read_or_refused_by_name(name: str, rest: list[bytes]) -> None:
    with contextlib.suppress(ContractError):
        assert commands.parse([name.encode(), *rest]).function() == name


@pytest.mark.parametrize("args", [[], [b""], [b"Steal"], [b"\xff\xfe"], [b"getpolicy"]])
def test_an_unknown_function_is_refused(args: list[bytes]) -> None:
    with pytest.raises(UnknownCommand):
        commands.parse(args)


def test_a_job_ticket_takes_five_texts() -> None:
    ask = queries.JobTicket(W, 12, W, W)
    assert ask.to_args() == [b"JobTicket", W.hex().encode(), b"12", W.hex().encode(), W.hex().encode()]
    good = ask.to_args()
    for index, wrong in (
        (1, b"AB" * 32),
        (2, b"012"),
        (2, b"+12"),
        (2, b"1_2"),
        (2, b" 12"),
        (2, b"x"),
        (3, b""),
        (4, b"\xff"),
    ):
        bad = list(good)
        bad[index] = wrong
        with pytest.raises(MalformedInput):
            commands.parse(bad)


def test_every_function_of_the_plan_is_there() -> None:
    assert set(commands.COMMANDS) | set(queries.QUERIES) == set(commands.FUNCTIONS)
    assert set(commands.COMMANDS) >= commands.PAUSABLE
    assert all(commands.FUNCTIONS[name].__doc__ for name in commands.FUNCTIONS)


def test_a_proposal_proposes_one_thing() -> None:
    mint = (Output(W, 1),)
    with pytest.raises(MalformedInput):
        commands.Propose(commands.Action.POLICY)
    with pytest.raises(MalformedInput):
        commands.Propose(commands.Action.MINT, mint=mint, burn=(samples.COIN,))
    assert commands.Propose(commands.Action.BURN, burn=(samples.COIN,)).mint == ()


def test_two_envelopes_to_one_enclave_are_refused() -> None:
    twice = (EnvelopeDigest(W, W), EnvelopeDigest(W, samples.word("other")))
    for make in (
        lambda: samples.open_task(dataset_envelopes=twice),
        lambda: samples.submit_offer(envelopes=twice),
        lambda: commands.Rewrap(W, twice),
    ):
        with pytest.raises(MalformedInput, match="one envelope per enclave"):
            make()


def test_a_report_that_contradicts_itself_is_refused() -> None:
    signature = bytes(65)
    with pytest.raises(ReportMalformed):
        commands.SubmitReport(W, 1, Outcome.DECLINED, signature, score=5)
    with pytest.raises(ReportMalformed):
        commands.SubmitReport(W, 1, Outcome.PASS, signature, score=5)
    assert commands.SubmitReport(W, 1, Outcome.FAILED, signature).result().score == 0


def test_a_command_says_what_it_opens_and_orders() -> None:
    task = samples.task()
    assert (task.budget, task.audit_bond, task.minimum_bond, task.benchmark_fee) == (3_000, 150, 100, 5)
    assert task.market_fee(999) == 24
    order = samples.order()
    assert order.task == task.id
    assert replace(order, developer=W).offer_id != order.offer_id
