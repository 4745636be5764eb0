from __future__ import annotations

from dataclasses import fields, replace

import pytest

from goldengrain.chaincode.protocol import signatures
from goldengrain.chaincode.protocol.errors import (
    ReportBelowThreshold,
    ReportMalformed,
    ReportScoreRefused,
    ReportSignatureInvalid,
)
from goldengrain.chaincode.protocol.report import Outcome, Result, agreed, check_score

from . import samples


def test_a_signed_report_stands() -> None:
    report = samples.report()
    report.verify(report.sign(samples.SIGNING_KEY))


def test_nothing_in_a_report_can_be_changed() -> None:
    report = samples.report()
    signature = report.sign(samples.SIGNING_KEY)
    for field in fields(report):
        value = getattr(report, field.name)
        if field.name == "result":
            other: object = samples.passed(935_000)
        elif isinstance(value, bytes):
            other = samples.word("other")
        else:
            other = value + 1 if isinstance(value, int) else value + "x"
        with pytest.raises(ReportSignatureInvalid):
            replace(report, **{field.name: other}).verify(signature)


def test_another_enclaves_or_malformed_signature_is_refused() -> None:
    report = samples.report()
    for signature in (report.sign(signatures.generate_key()), b"", bytes(65)):
        with pytest.raises(ReportSignatureInvalid):
            report.verify(signature)


@pytest.mark.parametrize(
    "values",
    [
        (Outcome.PASS, 5, b"", None),
        (Outcome.PASS, 5, b"l" * 1_184, None),
        (Outcome.PASS, 5, b"l" * 1_183, bytes(32)),
        (Outcome.PASS, 5, b"l" * 1_184, bytes(31)),
        (Outcome.PASS, 10**6 + 1, b"l" * 1_184, bytes(32)),
        (Outcome.PASS, True, b"l" * 1_184, bytes(32)),
        (Outcome.DECLINED, 5, b"", None),
        (Outcome.FAILED, 0, b"x", None),
        (Outcome.UNUSABLE, 0, b"", bytes(32)),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(values: tuple[Outcome, int, bytes, bytes | None]) -> None:
    with pytest.raises(ReportMalformed):
        Result(*values)


def test_a_passing_score_is_a_multiple_of_eta_and_reaches_the_threshold() -> None:
    check_score(samples.passed(850_000), 1_000, 850_000)
    check_score(Result(Outcome.DECLINED), 1_000, 850_000)
    with pytest.raises(ReportScoreRefused):
        check_score(samples.passed(850_001), 1_000, 850_000)
    with pytest.raises(ReportBelowThreshold):
        check_score(samples.passed(849_000), 1_000, 850_000)


def test_enclaves_agree_within_eta_and_the_lowest_counts() -> None:
    low, high, higher = (samples.passed(score) for score in (850_000, 851_000, 852_000))
    assert agreed([high, low], 1_000) == low
    assert agreed([low, higher], 1_000) is None
    assert agreed([low, Result(Outcome.DECLINED)], 1_000) is None
    assert agreed([Result(Outcome.DECLINED), Result(Outcome.FAILED)], 1_000) is None
    assert agreed([Result(Outcome.FAILED)] * 2, 1) == Result(Outcome.FAILED)
