"""Sources of quotes on stand-in trees: what is written and read, and what is said where there is nothing to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.quotes import inspect_quote
from goldengrain.enclave.errors import QuotingUnavailable
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform, SourceKind, open_source
from goldengrain.enclave.quoting.gramine import Gramine
from goldengrain.enclave.quoting.tdx_guest import TdxGuest

from .standins import TsmTree, gramine_tree

AT = 1_900_000_000
DATA, CODE = bytes(range(64)), bytes([7]) * 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentRoot:
    return DevelopmentRoot.create(tmp_path_factory.mktemp("root"), at=AT)


def machine(root: DevelopmentRoot, tee: Tee) -> tuple[SimulatedPlatform, Callable[[bytes], bytes]]:
    platform = SimulatedPlatform(root, name=f"a {tee} machine", tee=tee)
    return platform, lambda data: platform.quote(data, CODE)


def test_gramines_files_give_a_quote_of_this_enclave(root: DevelopmentRoot, tmp_path: Path) -> None:
    platform, quote = machine(root, Tee.SGX)
    with gramine_tree(tmp_path / "attestation", quote) as folder:
        source = open_source(SourceKind.GRAMINE, root=None, name="e1", code=bytes(32), folder=folder)
        made = source.quote(DATA)
    assert (source.tee, source.measurement, source.attestation, source.collateral(AT)) == (Tee.SGX, CODE, "SGX", None)
    verdict = inspect_quote(made, platform.collateral(at=AT), root.root_der, AT)
    assert (verdict.report_data, verdict.measurement) == (DATA, CODE)


def test_a_guests_kernel_gives_a_quote_of_this_guest(
    root: DevelopmentRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, quote = machine(root, Tee.TDX)
    tree = TsmTree(tmp_path / "report", quote, monkeypatch)
    source = open_source(SourceKind.TDX, root=None, name="e1", code=bytes(32), folder=tree.folder)
    verdict = inspect_quote(source.quote(DATA), platform.collateral(at=AT), root.root_der, AT)
    assert (verdict.tee, verdict.report_data, verdict.measurement) == (Tee.TDX, DATA, source.measurement)
    assert (source.attestation, source.collateral(AT)) == ("TDX", None)
    assert len(set(tree.made)) == 2
    assert list(tree.folder.iterdir()) == []


@pytest.mark.parametrize("kind", [SourceKind.SIMULATED, SourceKind.SIMULATED_TDX])
def test_simulated_sources_say_so_and_bring_their_collateral(kind: SourceKind, tmp_path: Path) -> None:
    root = DevelopmentRoot.create(tmp_path, at=AT)
    source = open_source(kind, root=tmp_path, name="e1", code=CODE)
    assert source.attestation == "simulated"
    collateral = source.collateral(AT)
    assert collateral is not None
    assert inspect_quote(source.quote(DATA), collateral, root.root_der, AT).measurement == source.measurement


def test_gramine_that_attests_otherwise_is_refused(root: DevelopmentRoot, tmp_path: Path) -> None:
    _, quote = machine(root, Tee.SGX)
    with (
        gramine_tree(tmp_path / "attestation", quote, b"none") as folder,
        pytest.raises(QuotingUnavailable, match="'none'"),
    ):
        Gramine(folder)


@pytest.mark.parametrize("kind", SourceKind)
def test_a_machine_without_that_source_says_what_is_missing(kind: SourceKind, tmp_path: Path) -> None:
    with pytest.raises(QuotingUnavailable) as caught:
        open_source(kind, root=None, name="e1", code=CODE, folder=tmp_path / "absent")
    words = {"gramine": "inside Gramine", "tdx": "TDX guest"}
    assert words.get(kind.value, "--root-dir") in str(caught.value)


@pytest.mark.parametrize("made", [b"", b"noise" * 900])
def test_what_is_no_quote_is_not_passed_on(made: bytes, tmp_path: Path) -> None:
    with (
        gramine_tree(tmp_path / "attestation", lambda _: made) as folder,
        pytest.raises(QuotingUnavailable, match="no quote"),
    ):
        open_source(SourceKind.GRAMINE, root=None, name="e1", code=CODE, folder=folder)


def test_a_quote_of_other_data_is_not_passed_on(root: DevelopmentRoot, tmp_path: Path) -> None:
    platform, _ = machine(root, Tee.SGX)
    with gramine_tree(tmp_path / "attestation", lambda _: platform.quote(bytes(64), CODE)) as folder:
        source = open_source(SourceKind.GRAMINE, root=None, name="e1", code=CODE, folder=folder)
        with pytest.raises(QuotingUnavailable, match="other data"):
            source.quote(DATA)


def test_a_kernel_of_another_tee_is_refused_and_the_request_removed(
    root: DevelopmentRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = TsmTree(tmp_path / "report", machine(root, Tee.TDX)[1], monkeypatch)
    tree.provider = "sev_guest\n"
    with pytest.raises(QuotingUnavailable, match="sev_guest"):
        TdxGuest(tree.folder).quote(DATA)
    assert list(tree.folder.iterdir()) == []


def test_a_request_that_somebody_else_wrote_to_is_given_up(
    root: DevelopmentRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = TsmTree(tmp_path / "report", machine(root, Tee.TDX)[1], monkeypatch)
    tree.strange_writes = 1
    with pytest.raises(QuotingUnavailable, match="somebody else"):
        TdxGuest(tree.folder).quote(DATA)
