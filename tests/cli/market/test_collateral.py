"""`goldengrain enclave collateral`: on a market, and against a caching service on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.collateral import read_collateral
from goldengrain.enclave.quoting import DevelopmentRoot
from goldengrain.enclave.quoting.development_root import FMSPC
from tests.gateway.collateral.service import Service, serving

from .running import Folder, run


def test_what_enclaves_rest_on_is_shown_and_renewed(market: Folder) -> None:
    shown = market("enclave", "collateral", "status")["collateral"]
    assert [(one["fmspc"], one["tee"], one["simulated"], one["warnings"]) for one in shown] == [
        (FMSPC.hex(), "SGX", True, [])
    ]
    assert shown[0]["newest_evaluation"] == shown[0]["evaluation"]
    assert market("enclave", "collateral", "renew")["renewed"] == []
    renewed = market("enclave", "collateral", "renew", "--all")["renewed"]
    assert [one["expires"] >= shown[0]["expires"] for one in renewed] == [True]
    after = market("enclave", "collateral", "status", "--offline")["collateral"]
    assert after[0]["expires"] == renewed[0]["expires"]
    assert after[0]["newest_evaluation"] is None


def test_registering_tells_how_the_enclaves_collateral_stands(market: Folder) -> None:
    told = market("enclave", "register", "org2", "--as", "operator@org2.example.com")
    assert (told["registered"], told["warnings"], told["simulated"]) == (False, [], True)


@pytest.fixture
def root(tmp_path: Path) -> DevelopmentRoot:
    return DevelopmentRoot.create(tmp_path / "root")


def test_collateral_is_fetched_verified_and_written(root: DevelopmentRoot, tmp_path: Path) -> None:
    import time

    now = int(time.time())
    with serving(Service(root, now, FMSPC)) as service:
        out = tmp_path / "c.json"
        trusted = ("--root", tmp_path / "root" / "root.der", "--output", out, "--json", "--home", tmp_path / "none")
        got = run("enclave", "collateral", "fetch", FMSPC.hex(), "--tee", "TDX", "--pccs", service.url, *trusted)
        assert (got.code, got.value["tee"]) == (0, "TDX")
        assert read_collateral(out.read_text(), root.root_der, now).fmspc == FMSPC
        unknown = run("enclave", "collateral", "fetch", "00" * 6, "--pccs", service.url, *trusted)
        assert (unknown.code, unknown.error) == (1, "PCCS_UNKNOWN_PLATFORM")
        intel = run("enclave", "collateral", "fetch", FMSPC.hex(), "--pccs", service.url, "--json")
        assert (intel.code, intel.error) == (4, "QUOTE_ROOT_UNKNOWN")
    wrong = run("enclave", "collateral", "fetch", "xyz", "--pccs", "https://127.0.0.1:1", "--json")
    assert (wrong.code, wrong.error) == (1, "COMMAND_LINE")
    assert json.loads(out.read_text())["tcb_info"]
