"""Registering an enclave: the nine checks of section 4, each with its own refusal, and what an enclave may do later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol import quotes
from goldengrain.chaincode.protocol.errors import (
    ChallengeNotFound,
    ChallengeStale,
    ChallengeUsed,
    ClientRequired,
    CollateralExpired,
    CollateralMalformed,
    CollateralNotFound,
    CollateralOfTheFuture,
    CollateralRollback,
    CollateralUntrusted,
    ContractError,
    EnclaveBundleRetired,
    EnclaveExists,
    EnclaveExpired,
    EnclaveMeasurementRetired,
    EnclaveStatusRetired,
    ForeignOrganizationRequired,
    OperatorNotVotedIn,
    QuoteBundleRefused,
    QuoteDebug,
    QuoteKeysMismatch,
    QuoteMeasurementRefused,
    QuoteRegistrationMismatch,
    QuoteRootUnknown,
    QuoteStatusRefused,
    QuoteTooLarge,
    QuoteUnverified,
    SignatureMalformed,
    VerifierMismatch,
)
from goldengrain.chaincode.protocol.policy import AttestationRoot
from tests.chaincode.market.world import (
    DEVELOPER,
    MEASUREMENT,
    OPERATOR2,
    OPERATOR3,
    OTHER_DEVELOPER,
    PEER,
    PROVIDER,
    START,
    World,
    enclave,
    enclave2,
    enclave3,
    platform,
    root_id,
    word,
)


def _fresh(name: str = "a new enclave"):  # type: ignore[no-untyped-def]
    return enclave(name, OPERATOR3)


def _used(world: World) -> c.RegisterEnclave:
    challenge = world.challenge(OPERATOR3)
    world.send(OPERATOR3, world.registration(_fresh("one"), challenge))
    return world.registration(_fresh("another"), challenge)


def _flipped(world: World) -> c.RegisterEnclave:
    wanted = world.registration(_fresh())
    quote = bytearray(wanted.quote)
    quote[48 + 100] ^= 1
    return replace(wanted, quote=bytes(quote))


def _stale(world: World) -> c.RegisterEnclave:
    wanted = world.registration(_fresh())
    world.at(world.now + 601)
    return wanted


CHECKS: list[tuple[str, Callable[[World], c.RegisterEnclave], type[ContractError]]] = [
    ("1 quote", lambda w: replace(w.registration(_fresh()), quote=b"short"), QuoteTooLarge),
    ("1 key", lambda w: replace(w.registration(_fresh()), signing_key=bytes(33)), SignatureMalformed),
    ("2 unknown", lambda w: replace(w.registration(_fresh()), challenge="ab" * 32), ChallengeNotFound),
    ("2 used", _used, ChallengeUsed),
    ("2 another's", lambda w: w.registration(_fresh(), w.challenge(OPERATOR2)), QuoteRegistrationMismatch),
    ("2 stale", _stale, ChallengeStale),
    ("3 root", lambda w: replace(w.registration(_fresh()), root=word("another root")), QuoteRootUnknown),
    ("3 collateral", lambda w: replace(w.registration(_fresh()), fmspc=b"\x01" * 6), CollateralNotFound),
    ("3 signature", _flipped, QuoteUnverified),
    ("4 status", lambda w: w.registration(_fresh(), tcb="OutOfDate"), QuoteStatusRefused),
    ("5 debug", lambda w: w.registration(_fresh(), debug=True), QuoteDebug),
    ("6 measurement", lambda w: w.registration(_fresh(), measurement=word("other")), QuoteMeasurementRefused),
    (
        "7 keys",
        lambda w: replace(w.registration(_fresh()), encryption_key=enclave2().encryption),
        QuoteKeysMismatch,
    ),
    ("7 bundle", lambda w: replace(w.registration(_fresh()), bundle=word("other")), QuoteKeysMismatch),
    (
        "8 challenge",
        lambda w: replace(w.registration(_fresh()), challenge=w.challenge(OPERATOR3)),
        QuoteRegistrationMismatch,
    ),
    ("9 bundle", lambda w: w.registration(_fresh(), bundle=word("another bundle")), QuoteBundleRefused),
]


@pytest.mark.parametrize(("make", "error"), [row[1:] for row in CHECKS], ids=[row[0] for row in CHECKS])
def test_each_check_has_its_own_refusal(
    world: World, make: Callable[[World], c.RegisterEnclave], error: type[ContractError]
) -> None:
    wanted = make(world)
    before = dict(world.ledger.state)
    with pytest.raises(error) as refusal:
        world.send(OPERATOR3, wanted)
    assert type(refusal.value) is error
    assert world.ledger.state == before


def test_the_first_check_that_fails_names_the_refusal(world: World) -> None:
    """Everything is wrong at once; mending it check by check brings up the next one.

    dcap-qvl itself refuses a debug enclave, with check 3 and so before its status is looked at.
    """
    other = _fresh()
    wrong = {"debug": True, "measurement": word("other"), "tcb": "OutOfDate", "bundle": word("other")}
    expected = [QuoteDebug, QuoteStatusRefused, QuoteMeasurementRefused, QuoteBundleRefused]
    for mended, error in zip(("debug", "tcb", "measurement", "bundle"), expected, strict=True):
        with pytest.raises(error):
            world.send(OPERATOR3, world.registration(other, **wrong))  # type: ignore[arg-type]
        del wrong[mended]
    world.register(other)


def test_who_may_challenge_and_register(world: World) -> None:
    with pytest.raises(ClientRequired):
        world.challenge(OPERATOR3, by=PEER)
    own = world.challenge(OPERATOR3, by=OTHER_DEVELOPER)
    with pytest.raises(ForeignOrganizationRequired):
        world.send(OPERATOR3, world.registration(_fresh(), own))
    with pytest.raises(OperatorNotVotedIn):
        world.register(enclave("a developer's", DEVELOPER))
    with pytest.raises(EnclaveExists):
        world.send(OPERATOR2, world.registration(replace(enclave3(), operator=OPERATOR2)))


def test_a_registration_keeps_what_the_quote_says_and_can_be_renewed(world: World) -> None:
    record = world.ask(q.GetEnclave(enclave3().id))
    assert (record["measurement"], record["status"], record["simulated"]) == (MEASUREMENT.hex(), "UpToDate", True)
    assert record["expires"] == START + 7 * 86_400
    world.at(START + 86_400).register(enclave3())
    assert world.ask(q.GetEnclave(enclave3().id))["expires"] == START + 8 * 86_400


def test_a_registration_ends_with_its_collateral(world: World) -> None:
    world.put_collateral(days=2, evaluation=1_000)
    world.register(enclave3())
    assert world.ask(q.GetEnclave(enclave3().id))["expires"] < START + 2 * 86_400


def test_collateral_only_rises(world: World) -> None:
    world.put_collateral(evaluation=1_000, crl_number=START + 10)
    with pytest.raises(CollateralRollback):
        world.put_collateral(evaluation=999, crl_number=START + 10)
    with pytest.raises(CollateralRollback):
        world.put_collateral(evaluation=1_000, crl_number=START + 9)
    world.at(START + 60).put_collateral(evaluation=1_000, crl_number=START + 10)


def test_collateral_is_verified_before_it_is_stored(world: World) -> None:
    good = json.loads(platform().collateral(at=world.now))
    forged = {**good, "tcb_info": good["tcb_info"].replace('"version":3', '"version":4')}
    for text, error in (
        (json.dumps(forged), CollateralUntrusted),
        ("[]", CollateralMalformed),
        (platform().collateral(at=world.now + 2 * 86_400), CollateralOfTheFuture),
        (platform().collateral(at=world.now - 10 * 86_400, days=5), CollateralExpired),
    ):
        with pytest.raises(error):
            world.send(PROVIDER, c.PutCollateral(root_id(), text))
    with pytest.raises(QuoteRootUnknown):
        world.send(PROVIDER, c.PutCollateral(word("another root"), json.dumps(good)))


RETIRED: list[tuple[dict[str, object], type[ContractError]]] = [
    ({"measurements": (word("new"),)}, EnclaveMeasurementRetired),
    ({"statuses": ("SWHardeningNeeded",)}, EnclaveStatusRetired),
    ({"roots": (AttestationRoot(bytes(100)),)}, EnclaveStatusRetired),
    ({"bundle": word("new bundle")}, EnclaveBundleRetired),
]


@pytest.mark.parametrize(("changes", "error"), RETIRED, ids=["measurement", "status", "root", "bundle"])
def test_claim_and_report_look_at_the_enclave_again(
    world: World, task: bytes, changes: dict[str, object], error: type[ContractError]
) -> None:
    running = world.claimed(task)
    waiting = world.stored(task, OTHER_DEVELOPER)
    report, claim = world.report(running), world.claiming(waiting, enclave2(), slot=1)
    world.change_policy(**changes)
    with pytest.raises(error):
        world.send(OPERATOR3, report)
    with pytest.raises(error):
        world.send(OPERATOR2, claim)


def test_an_old_bundle_works_until_its_sunset(world: World, task: bytes) -> None:
    offer = world.stored(task)
    sunset = world.now + 100
    world.change_policy(bundle=word("new"), previous_bundle=world.policy.bundle, previous_bundle_sunset=sunset)
    with pytest.raises(EnclaveBundleRetired):
        world.fork().at(sunset + 1).claim(offer)
    world.at(sunset).claim(offer)


def test_an_expired_enclave_neither_claims_nor_reports(world: World) -> None:
    expires = world.ask(q.GetEnclave(enclave3().id))["expires"]
    world.at(expires - 100)
    task = world.open_task()
    running = world.claimed(task)
    waiting = world.stored(task, OTHER_DEVELOPER)
    report, claim = world.report(running), world.claiming(waiting, enclave2(), slot=1)
    world.fork().at(expires).send(OPERATOR3, report)
    world.at(expires + 1)
    with pytest.raises(EnclaveExpired):
        world.send(OPERATOR3, report)
    with pytest.raises(EnclaveExpired):
        world.send(OPERATOR2, claim)


def test_a_policy_with_another_root_refuses_the_simulated_quote(world: World) -> None:
    wanted = world.registration(_fresh())
    world.change_policy(roots=(AttestationRoot(bytes(100)),))
    with pytest.raises(QuoteRootUnknown):
        world.send(OPERATOR3, wanted)


def test_an_endorser_with_another_verification_than_voted_refuses(world: World) -> None:
    world.change_policy(verifier=quotes.VERIFIER + 1)
    wanted = world.registration(enclave3())
    before = dict(world.ledger.state)
    with pytest.raises(VerifierMismatch, match=f"version {quotes.VERIFIER + 1}"):
        world.send(OPERATOR3, wanted)
    with pytest.raises(VerifierMismatch):
        world.put_collateral()
    assert world.ledger.state == before
