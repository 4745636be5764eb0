from __future__ import annotations

from typing import Any

import pytest

from goldengrain.chaincode.protocol import errors
from goldengrain.chaincode.protocol.task import Award, Metric, PriceSchedule, Tensor, TensorType

from . import samples

NOW = samples.NOW


def test_a_task_is_admitted() -> None:
    samples.task().validate(samples.policy(), NOW)


IMPOSSIBLE: list[tuple[type[errors.ContractError], dict[str, Any]]] = [
    (errors.DeadlinesRefused, {"last_offer": NOW + 5_000}),
    (errors.DeadlinesRefused, {"last_opening": NOW + 5_600}),
    (errors.DeadlinesRefused, {"reveal": 600}),
    (errors.SlotsRefused, {"award": Award.BEST, "slots": 17}),
    (errors.MalformedInput, {"slots": 257}),
    (errors.MalformedInput, {"slots": 0}),
    (errors.MalformedInput, {"eta": 0}),
    (errors.MalformedInput, {"enclaves": 0}),
    (errors.MalformedInput, {"attempts": 0}),
]


@pytest.mark.parametrize(("refusal", "changes"), IMPOSSIBLE)
def test_a_task_that_contradicts_itself_is_refused(
    refusal: type[errors.ContractError], changes: dict[str, Any]
) -> None:
    with pytest.raises(refusal):
        samples.task(**changes)


AGAINST_POLICY: list[tuple[type[errors.ContractError], dict[str, Any], int]] = [
    (errors.DeadlinesRefused, {}, NOW + 1_000),
    (errors.DeadlinesRefused, {"reveal": 86_401}, NOW),
    (errors.AttemptsRefused, {"attempts": 6}, NOW),
    (errors.EnclaveCountRefused, {"enclaves": 3}, NOW),
]


@pytest.mark.parametrize(("refusal", "changes", "at"), AGAINST_POLICY)
def test_a_task_that_the_policy_does_not_admit_is_refused(
    refusal: type[errors.ContractError], changes: dict[str, Any], at: int
) -> None:
    with pytest.raises(refusal):
        samples.task(**changes).validate(samples.policy(), at)


@pytest.mark.parametrize(
    "points",
    [
        ((900_000, 100), (800_000, 200)),
        ((800_000, 100), (800_000, 200)),
        ((800_000, 200), (900_000, 100)),
        ((800_000, 0), (900_000, 0)),
    ],
)
def test_a_schedule_out_of_order_is_refused(points: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(errors.ScheduleRefused):
        PriceSchedule.of(*points)


def test_a_spec_that_no_enclave_can_run_is_refused() -> None:
    for changes in ({"scale": 5}, {"metric": Metric.RMSE}, {"metric": Metric.RMSE, "wilson": False}):
        with pytest.raises(errors.SpecRefused):
            samples.spec(**changes)
    assert samples.spec(metric=Metric.RMSE, wilson=False, scale=1).scale == 1
    for shape in ((1, 2), (0, 0)):
        with pytest.raises(errors.SpecRefused):
            Tensor("x", TensorType.UINT8, shape)


def test_the_price_is_the_schedules() -> None:
    schedule = samples.task().schedule
    assert [schedule.price(score) for score in (0, 799_999, 800_000, 850_000, 925_000, 10**6)] == [
        0, 0, 100, 150, 600, 1_000,
    ]  # fmt: skip
