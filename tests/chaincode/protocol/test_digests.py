"""The digests against a second way to compute them, written from section 9's text alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.policy import BundleOrganization, TrustBundle

from . import samples


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def text(value: str) -> bytes:
    return sha(value.encode())


def tagged(name: str, *words: bytes) -> bytes:
    return sha(text(f"golden-grain/{name}/v1") + b"".join(words))


def listed(*words: bytes) -> bytes:
    return tagged("list", number(len(words)), *words)


def test_words_are_those_of_section_9() -> None:
    value = samples.word("value")
    assert digests.digest("order", 5, value, "five", b"five", [1, "a"], None, True) == tagged(
        "order", number(5), value, text("five"), sha(b"five"), listed(number(1), text("a")), bytes(32), number(1)
    )


@pytest.mark.parametrize("value", [-1, 2**256])
def test_only_unsigned_integers_have_a_word(value: int) -> None:
    with pytest.raises(ValueError, match="no word"):
        digests.word(value)


@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.binary(max_size=40), max_size=4))
def test_different_lists_of_hashed_bytes_have_different_words(one: list[bytes], other: list[bytes]) -> None:
    same = digests.word([digests.hashed(item) for item in one]) == digests.word([digests.hashed(x) for x in other])
    assert same == (one == other)


def test_bytes_of_varying_length_never_pass_for_a_value() -> None:
    name = b"0" * 32
    assert digests.account("Org1MSP", name, b"issuer") == tagged("account", text("Org1MSP"), sha(name), sha(b"issuer"))


def test_the_short_ones() -> None:
    key, signing = samples.MODEL_KEY, b"\x02" + bytes(32)
    assert digests.key_check(key) == tagged("key-check", key)
    assert digests.secret_hash(samples.SECRET) == sha(samples.SECRET)
    assert digests.enclave_id(signing) == sha(signing)
    assert digests.offer_id(key) == tagged("offer", key)
    assert digests.enclave_binding(signing, b"e" * 1216, key) == tagged("enclave", sha(signing), sha(b"e" * 1216), key)
    assert digests.registration_binding("c", "g", key, key) == tagged("registration", text("c"), text("g"), key, key)
    for call in (digests.key_check, digests.secret_hash, digests.enclave_id):
        with pytest.raises(ValueError, match="bytes"):
            call(b"short")


def independent_spec() -> bytes:
    tensor = listed(text("x"), text("float32"), listed(number(0), number(64)))
    out = listed(text("probabilities"), text("float32"), listed(number(0), number(10)))
    limits = listed(number(1 << 20), number(100), number(10**6), number(1 << 26))
    return tagged("spec", text("accuracy"), number(1), number(1000), listed(tensor, out), limits, number(7), number(0))


def independent_task() -> bytes:
    w, n = samples.word, samples.NOW
    schedule = tagged(
        "schedule",
        listed(number(800_000), number(900_000), number(950_000)),
        listed(number(100), number(200), number(1_000)),
    )
    dataset = tagged("dataset", w("ciphertext"), w("plaintext"), w("key"))
    terms = listed(*(number(value) for value in (5, 250, 1_000, 500, 50, 2, 120, 300, 0)))
    times = [number(value) for value in (n + 1_000, n + 5_000, n + 10_000, 900, 1_000, 3, 1)]
    return tagged(
        "task",
        text("market"),
        text("golden-grain"),
        w("provider"),
        sha(samples.PROVIDER_KEY.public),
        independent_spec(),
        dataset,
        schedule,
        text("each"),
        number(3),
        *times,
        terms,
    )


def independent_order() -> bytes:
    w = samples.word
    return tagged(
        "order",
        text("market"),
        text("golden-grain"),
        independent_task(),
        sha(samples.PROVIDER_KEY.public),
        independent_spec(),
        w("developer"),
        w("payout"),
        number(1),
        w("model ciphertext"),
        number(1_234),
        number(1_024),
        tagged("key-check", samples.MODEL_KEY),
        sha(samples.SECRET),
        number(150),
    )


def independent_ticket() -> bytes:
    w = samples.word
    return tagged(
        "ticket",
        text("market"),
        text("golden-grain"),
        independent_order(),
        tagged("offer", independent_order()),
        number(1),
        samples.ENCLAVE,
        w("bundle"),
        number(samples.NOW + 600),
        number(850_000),
        w("model envelope"),
        w("dataset envelope"),
    )


def independent_report(outcome: str, score: int, locked: bytes, model: bytes) -> bytes:
    w = samples.word
    return tagged(
        "report",
        text("market"),
        text("golden-grain"),
        independent_task(),
        tagged("offer", independent_order()),
        independent_order(),
        w("model ciphertext"),
        tagged("dataset", w("ciphertext"), w("plaintext"), w("key")),
        independent_spec(),
        text(outcome),
        number(score),
        number(1_000),
        locked,
        model,
        independent_ticket(),
        number(1),
        samples.ENCLAVE,
    )


def test_task_order_ticket_and_report_are_those_of_section_9() -> None:
    assert samples.spec().digest() == independent_spec()
    assert samples.task().digest() == samples.task().id == independent_task()
    assert samples.order().digest() == independent_order()
    assert samples.order().offer_id == tagged("offer", independent_order())
    assert samples.ticket().digest() == independent_ticket()
    passed = samples.passed()
    assert samples.report().digest() == independent_report("pass", 934_000, sha(passed.locked), samples.word("model"))
    failed = samples.report(samples.Result(samples.Outcome.FAILED))
    assert failed.digest() == independent_report("failed", 0, bytes(32), bytes(32))


def test_on_the_evm_only_the_words_for_chain_and_contract_differ() -> None:
    evm = replace(samples.report(), channel=31_337, contract=0xCAFE)
    assert evm.digest() != samples.report().digest()


def test_the_bundle_is_bound_whole() -> None:
    org = BundleOrganization("Org1MSP", (b"r" * 100,), (b"i" * 100,), revocation_lists=(b"c" * 100,))
    bundle = TrustBundle("market", "golden-grain", 1, 120, (org,))
    names = listed(*(text(name) for name in ("peer", "client", "admin", "orderer")))
    expected = listed(text("Org1MSP"), listed(sha(b"r" * 100)), listed(sha(b"i" * 100)), names, listed(sha(b"c" * 100)))
    assert bundle.digest() == tagged(
        "bundle", text("market"), text("golden-grain"), number(1), number(120), listed(expected)
    )
    assert replace(bundle, window=60).digest() != bundle.digest()
