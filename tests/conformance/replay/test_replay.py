"""Every recorded case is played; what differs is listed with its reason; the committed page says the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.replay import comparing
from tests.conformance.replay.comparing import Got
from tests.conformance.replay.known import known, surprises
from tests.conformance.replay.page import PAGE, Outcome, page, results
from tests.conformance.replay.timeline import timeline
from tests.recordings.calls import cases

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[dict[str, list[str]], list[Outcome]]]:
    yield await results(tmp_path_factory.mktemp("played"))


@pytest.mark.check
@pytest.mark.timeout(300)
async def test_every_case_goes_as_recorded_or_is_listed(played: tuple[dict[str, list[str]], list[Outcome]]) -> None:
    found = surprises(played[0])
    assert not found, json.dumps(found, indent=1)


@pytest.mark.check
async def test_the_page_is_what_the_run_writes(played: tuple[dict[str, list[str]], list[Outcome]]) -> None:
    assert page(*played) == PAGE.read_text(), "write it anew: python -m tests.conformance.replay.page"


async def test_the_timeline_holds_every_recorded_case() -> None:
    names = [entry.name for entry in timeline()]
    assert len(names) == len(set(names))
    for part in ("lifecycle", "gateway"):
        called = {f"{part}/{name}" for name, case in cases(part).items() if case.steps}
        assert called == {name for name in names if name.startswith(f"{part}/")}
    assert known().keys() <= set(names)
    assert [entry.time for entry in timeline()] == sorted(entry.time for entry in timeline())


async def test_an_answer_is_compared_in_code_message_details_and_bytes() -> None:
    (step,) = cases()["evaluate_cc_error"].steps
    same = Got(step.code, step.message, step.details)
    assert comparing.differences(step, same) == []
    assert comparing.differences(step, Got(5, step.message, step.details))
    assert comparing.differences(step, Got(step.code, "something else", step.details))
    assert comparing.differences(step, Got(step.code, step.message))
    assert comparing.differences(step, Got(step.code, step.message, step.details, [b""]))
    ((address, msp_id, message),) = step.details
    assert comparing.differences(step, Got(step.code, step.message, (("127.0.0.1:1", msp_id, message),))) == []
    assert comparing.differences(step, Got(step.code, step.message, ((address, msp_id, message + "!"),)))


@pytest.mark.parametrize(
    ("name", "place"),
    [("evaluate_ok", -3), ("endorse_ok", 900), ("endorse_ok", -9), ("commit_status_other_org_user", -1)],
)
async def test_a_changed_answer_is_a_difference(name: str, place: int) -> None:
    (step,) = cases()[name].steps
    answer = step.answers[0]
    changed = answer[:place] + bytes([answer[place] ^ 1]) + answer[place:][1:]
    assert comparing.differences(step, Got(step.code, answers=[answer])) == []
    assert comparing.differences(step, Got(step.code, answers=[changed]))
