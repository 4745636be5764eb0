"""Collateral from a caching service: what it gives, how it fails, what is kept, when it is due."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.collateral import examine, read_collateral
from goldengrain.chaincode.protocol.errors import CollateralExpired, CollateralUntrusted, GoldenGrainError
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.quotes import inspect_quote
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform
from goldengrain.enclave.quoting.development_root import FMSPC
from goldengrain.gateway import errors
from goldengrain.gateway.collateral import Cache, Pccs, Warned, outlook
from goldengrain.gateway.collateral.pccs import revocation_list, signed_part

from .service import Service, serving

AT = 1_900_000_000
DAY = 86_400


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentRoot:
    return DevelopmentRoot.create(tmp_path_factory.mktemp("root"), at=AT)


@pytest.fixture
def service(root: DevelopmentRoot) -> Iterator[Service]:
    with serving(Service(root, AT, FMSPC)) as made:
        yield made


@pytest.mark.parametrize("hex_lists", [True, False])
@pytest.mark.parametrize("tee", Tee)
def test_what_it_gives_verifies_a_quote(tee: Tee, hex_lists: bool, service: Service, root: DevelopmentRoot) -> None:
    service.hex_lists = hex_lists
    text = Pccs(f"{service.url}/sgx/certification/v4/").fetch(FMSPC, tee)
    quote = SimulatedPlatform(root, tee=tee).quote(bytes(64), bytes(32))
    assert inspect_quote(quote, text, root.root_der, AT).tee is tee
    assert service.requests == [f"{tee.lower()}/tcb", f"{tee.lower()}/qe/identity", "sgx/pckcrl", "sgx/rootcacrl"]


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"tcb": (500, b"")}, errors.PccsRefused),
        ({"tcb": (404, b"")}, errors.PccsUnknownPlatform),
        ({"tcb": (200, b"<html>")}, errors.PccsMalformed),
        ({"tcb": (200, b'{"tcbInfo": 5, "signature": "00"}')}, errors.PccsMalformed),
        ({"tcb": (200, b'{"tcbInfo": {}}')}, errors.PccsMalformed),
        ({"qe": (200, b"[" * 100_000)}, errors.PccsMalformed),
        ({"pckcrl": (200, b"no list")}, errors.PccsMalformed),
        ({"rootcacrl": (200, bytes(200_000))}, errors.PccsMalformed),
        ({"rootcacrl": (429, b"")}, errors.PccsRefused),
    ],
)
def test_each_failure_has_a_name(
    wrong: dict[str, tuple[int, bytes]], refusal: type[GoldenGrainError], service: Service
) -> None:
    service.wrong = wrong
    with pytest.raises(refusal) as caught:
        Pccs(service.url).fetch(FMSPC, Tee.SGX)
    assert type(caught.value) is refusal


def test_a_missing_header_is_named(service: Service) -> None:
    service.without = {"SGX-PCK-CRL-Issuer-Chain"}
    with pytest.raises(errors.PccsMalformed, match="SGX-PCK-CRL-Issuer-Chain"):
        Pccs(service.url).fetch(FMSPC, Tee.SGX)


def test_nobody_there_and_nobody_answering_are_unreachable() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(errors.PccsUnreachable):
            Pccs(url, timeout=2).fetch(FMSPC, Tee.SGX)
        listening.listen()
        with pytest.raises(errors.PccsUnreachable):
            Pccs(url, timeout=0.2).fetch(FMSPC, Tee.SGX)


@pytest.mark.parametrize("url", ["http://pccs.example.com", "ftp://127.0.0.1", "", "https://", "file:///etc/passwd"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(errors.PccsRefused):
        Pccs(url)


def test_the_signed_text_is_taken_as_it_stands() -> None:
    odd = '{ "b": 1.50, "a": "\\u00e9}" ,"c":[ ]}'
    assert signed_part(f' {{"x":[1], "tcbInfo" : {odd}  ,"signature":"00"}}'.encode(), "tcbInfo") == (odd, "00")
    assert revocation_list(b"3003020101\n") == revocation_list(bytes.fromhex("3003020101"))


# --- kept on disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(service: Service, tmp_path: Path) -> Cache:
    return Cache(tmp_path / "kept", Pccs(service.url).fetch)


def get(cache: Cache, root: DevelopmentRoot, at: int = AT, **options: bool) -> int:
    return cache.get(FMSPC, Tee.SGX, root.root_der, at, **options).tcb_evaluation


def test_it_asks_once_until_it_is_due(cache: Cache, service: Service, root: DevelopmentRoot) -> None:
    assert get(cache, root) == get(cache, root, AT + 15 * DAY) == 17
    assert len(service.requests) == 4
    service.at, service.evaluation = AT + 21 * DAY, 18
    assert get(cache, root, AT + 21 * DAY) == 18
    assert len(service.requests) == 8
    assert get(cache, root, AT + 21 * DAY, anew=True) == 18
    assert len(service.requests) == 12


def test_while_what_is_kept_is_good_a_failure_is_only_told(
    cache: Cache, service: Service, root: DevelopmentRoot
) -> None:
    get(cache, root)
    service.wrong = {"tcb": (503, b"")}
    assert get(cache, root, AT + 25 * DAY) == 17
    assert isinstance(cache.failure, errors.PccsRefused)
    with pytest.raises(errors.PccsRefused):
        get(cache, root, AT + 31 * DAY)


def test_what_does_not_verify_is_never_kept(
    cache: Cache, service: Service, root: DevelopmentRoot, tmp_path: Path
) -> None:
    service.root = DevelopmentRoot.create(tmp_path / "other", at=AT)
    with pytest.raises(CollateralUntrusted):
        get(cache, root)
    assert not cache.folder.exists()
    service.root, service.at = root, AT - 60 * DAY
    with pytest.raises(CollateralExpired):
        get(cache, root)


def test_older_numbers_do_not_replace_newer_ones(cache: Cache, service: Service, root: DevelopmentRoot) -> None:
    service.evaluation = 18
    get(cache, root)
    service.evaluation = 17
    assert get(cache, root, anew=True) == 18
    assert cache.failure is not None
    assert cache.failure.code == "COLLATERAL_ROLLBACK"


def test_collateral_of_another_platform_is_refused(cache: Cache, service: Service, root: DevelopmentRoot) -> None:
    other = root.collateral(at=AT, fmspc=b"\1" * 6)
    with pytest.raises(errors.PccsMalformed, match="010101"):
        Cache(cache.folder, lambda *_: other).get(FMSPC, Tee.SGX, root.root_der, AT)


def test_a_damaged_file_is_fetched_anew(cache: Cache, root: DevelopmentRoot) -> None:
    get(cache, root)
    (path,) = cache.folder.iterdir()
    path.write_text("damaged")
    assert get(cache, root) == 17


# --- when it is due --------------------------------------------------------------------------------------------------


def test_renewal_and_warning_come_in_good_time(root: DevelopmentRoot) -> None:
    good = read_collateral(root.collateral(at=AT), root.root_der, AT)
    assert (outlook(good, AT).due, outlook(good, AT).warnings) == (False, ())
    assert (outlook(good, AT + 20 * DAY).due, outlook(good, AT + 20 * DAY).warnings) == (True, ())
    assert outlook(good, AT + 25 * DAY).warnings == (Warned.EXPIRES_SOON,)
    assert outlook(good, good.expires + 1).warnings == (Warned.EXPIRED,)
    assert examine(good.text, root.root_der).expires == good.expires


def test_a_tcb_recovery_is_told_and_makes_renewal_due(root: DevelopmentRoot) -> None:
    good = read_collateral(root.collateral(at=AT), root.root_der, AT)
    newer = read_collateral(root.collateral(at=AT, evaluation=18), root.root_der, AT)
    assert outlook(good, AT, newer).warnings == (Warned.TCB_RECOVERY,)
    assert outlook(good, AT, newer).due
    assert outlook(good, AT, replace(newer, tcb_evaluation=17, qe_evaluation=17)).warnings == ()
