"""The simulated quoting enclave against the verification that real quotes take."""

from __future__ import annotations

import stat
from pathlib import Path

import dcap_qvl
import pytest

from goldengrain.enclave.errors import QuotingUnavailable
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform

AT = 1_900_000_000
DATA, MEASUREMENT = bytes(range(64)), bytes([7]) * 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentRoot:
    return DevelopmentRoot.create(tmp_path_factory.mktemp("root"), at=AT)


@pytest.fixture(scope="module")
def platform(root: DevelopmentRoot) -> SimulatedPlatform:
    return SimulatedPlatform(root, name="machine")


def verify(quote: bytes, collateral: str, root: DevelopmentRoot, at: int = AT) -> str:
    parsed = dcap_qvl.QuoteCollateralV3.from_json(collateral)
    return str(dcap_qvl.verify_with_root_ca(quote, parsed, root.root_der, at).status)


def test_quote_is_up_to_date_and_passes_the_strict_policy(root: DevelopmentRoot, platform: SimulatedPlatform) -> None:
    quote, collateral = platform.quote(DATA, MEASUREMENT), platform.collateral(at=AT)
    assert verify(quote, collateral, root) == "UpToDate"
    parsed = dcap_qvl.QuoteCollateralV3.from_json(collateral)
    dcap_qvl.QuoteVerifier(root.root_der).verify_with_policy(quote, parsed, AT, dcap_qvl.QuotePolicy.strict(AT))
    report = dcap_qvl.parse_quote(quote).report
    assert (bytes(report.report_data), bytes(report.mr_enclave)) == (DATA, MEASUREMENT)
    assert report.attributes[0] & 2 == 0


@pytest.mark.parametrize("status", ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate"])
def test_platform_can_be_at_another_tcb_status(status: str, root: DevelopmentRoot, platform: SimulatedPlatform) -> None:
    assert verify(platform.quote(DATA, MEASUREMENT, tcb=status), platform.collateral(at=AT), root) == status


@pytest.mark.parametrize(
    ("quote", "collateral", "later", "reason"),
    [
        ({"tcb": "Revoked"}, {}, 0, "Revoked"),
        ({"debug": True}, {}, 0, "Debug"),
        ({}, {"revoked": True}, 0, "CertRevoked"),
        ({}, {}, 31 * 86_400, "CrlExpired"),
        ({}, {}, -7_200, "future"),
    ],
)
def test_refusals_are_dcap_qvls_own(
    quote: dict[str, object],
    collateral: dict[str, object],
    later: int,
    reason: str,
    root: DevelopmentRoot,
    platform: SimulatedPlatform,
) -> None:
    made = platform.quote(DATA, MEASUREMENT, **quote), platform.collateral(at=AT, **collateral)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=reason):
        verify(*made, root, AT + later)


def test_another_root_refuses(platform: SimulatedPlatform, tmp_path: Path) -> None:
    other = DevelopmentRoot.create(tmp_path, at=AT)
    with pytest.raises(ValueError, match="InvalidCrlSignature"):
        verify(platform.quote(DATA, MEASUREMENT), platform.collateral(at=AT), other)


def test_machines_share_collateral_but_not_keys(root: DevelopmentRoot, platform: SimulatedPlatform) -> None:
    other = SimulatedPlatform(root, name="another")
    assert verify(other.quote(DATA, MEASUREMENT), platform.collateral(at=AT), root) == "UpToDate"
    assert other.pck_certificate.public_key() != platform.pck_certificate.public_key()


def test_loaded_root_issues_under_the_same_authorities(tmp_path: Path) -> None:
    made = DevelopmentRoot.create(tmp_path, at=AT)
    loaded = DevelopmentRoot.load(tmp_path)
    quote = SimulatedPlatform(made).quote(DATA, MEASUREMENT)
    assert verify(quote, SimulatedPlatform(loaded).collateral(at=AT), loaded) == "UpToDate"


def test_roots_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    DevelopmentRoot.create(tmp_path)
    assert stat.S_IMODE((tmp_path / "root.key").stat().st_mode) == 0o600


def test_missing_damaged_or_second_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuotingUnavailable):
        DevelopmentRoot.load(tmp_path)
    DevelopmentRoot.create(tmp_path)
    with pytest.raises(QuotingUnavailable, match="already"):
        DevelopmentRoot.create(tmp_path)
    (tmp_path / "root.der").write_bytes(b"no certificate")
    with pytest.raises(QuotingUnavailable):
        DevelopmentRoot.load(tmp_path)


def test_numbers_of_collateral_only_rise_with_time(root: DevelopmentRoot) -> None:
    from goldengrain.chaincode.protocol.collateral import read_collateral

    early, late = (root.collateral(at=at) for at in (AT, AT + 3 * 86_400))
    first, second = read_collateral(early, root.root_der, AT), read_collateral(late, root.root_der, AT + 3 * 86_400)
    second.require_newer(first.numbers)


@pytest.mark.parametrize(("data", "measurement"), [(bytes(63), bytes(32)), (bytes(64), bytes(31))])
def test_wrong_sizes_are_refused(data: bytes, measurement: bytes, platform: SimulatedPlatform) -> None:
    with pytest.raises(ValueError, match="64"):
        platform.quote(data, measurement)


def test_unknown_status_is_refused(platform: SimulatedPlatform) -> None:
    with pytest.raises(ValueError, match="no simulated TCB level"):
        platform.at_tcb("Splendid")
