"""`enclave.json`: where an enclave's quotes come from and what it has to prove; what is wrong in it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.digests import sha256
from goldengrain.chaincode.protocol.policy import INTEL_ROOT
from goldengrain.cli import enclave_config
from goldengrain.cli.errors import FileRefused
from goldengrain.cli.founding import development_root
from goldengrain.enclave.quoting import SourceKind
from goldengrain.network.home import Home

RECORDED = Path(__file__).parents[1] / "enclave" / "recorded"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "enclaves" / "e1"
    made.mkdir(parents=True)
    return made


def test_without_a_file_an_enclave_is_simulated_and_has_to_be_this_code(folder: Path, tmp_path: Path) -> None:
    home = Home(tmp_path)
    root = development_root(home)
    config = enclave_config.load(folder)
    assert config.quotes is SourceKind.SIMULATED
    reach = config.reach(home)
    assert (reach.address, reach.trust.roots, reach.collateral) == (folder / "socket", (root.root_der,), None)
    assert "one of 1 measurements" in reach.trust.rules.describe()


def test_a_choice_is_remembered_and_the_rest_of_the_file_stays(folder: Path) -> None:
    (folder / enclave_config.FILE).write_text(json.dumps({"address": "tcp://127.0.0.1:7400"}))
    enclave_config.save(folder, SourceKind.SIMULATED_TDX)
    config = enclave_config.load(folder)
    assert (config.quotes, config.socket) == (SourceKind.SIMULATED_TDX, "tcp://127.0.0.1:7400")


def test_an_enclave_of_real_hardware_is_held_to_intels_root(folder: Path, tmp_path: Path) -> None:
    (folder / "c.json").write_text((RECORDED / "intel_sgx_v3.collateral.json").read_text())
    document = {"quotes": "gramine", "measurements": ["ab" * 32], "statuses": ["UpToDate"], "collateral": "c.json"}
    (folder / enclave_config.FILE).write_text(json.dumps(document))
    reach = enclave_config.load(folder).reach(Home(tmp_path))
    assert [sha256(root) for root in reach.trust.roots] == [INTEL_ROOT]
    assert reach.collateral is not None
    (folder / "c.json").write_text("{}")
    with pytest.raises(FileRefused, match=r"c\.json"):
        enclave_config.load(folder).reach(Home(tmp_path))


@pytest.mark.parametrize(
    "document",
    ["", "[]", '{"quote": "tdx"}', '{"quotes": "sev"}', '{"measurements": "ab"}', '{"measurements": [1]}', "[" * 9_999],
)
def test_what_configures_no_enclave_is_refused(document: str, folder: Path) -> None:
    (folder / enclave_config.FILE).write_text(document)
    with pytest.raises(FileRefused, match="configures no enclave"):
        enclave_config.load(folder)


def test_real_quotes_without_measurements_or_collateral_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / enclave_config.FILE).write_text('{"quotes": "tdx"}')
    with pytest.raises(FileRefused, match="needs both"):
        enclave_config.load(folder).reach(Home(tmp_path))
