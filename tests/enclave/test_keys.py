from __future__ import annotations

import stat
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol import digests
from goldengrain.enclave.errors import KeysRefused
from goldengrain.enclave.keys import EPOCH, EnclaveKeys
from goldengrain.enclave.measurement import measure, measured_files, simulated_measurement

NOW = 1_900_000_000
MEASUREMENT, BUNDLE = bytes([1]) * 32, bytes([2]) * 32


def test_keys_survive_a_restart(tmp_path: Path) -> None:
    first = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    again = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW + EPOCH - 1)
    assert again == first
    assert again.enclave == digests.sha256(again.signing_public)


@pytest.mark.parametrize(("measurement", "bundle"), [(bytes(32), BUNDLE), (MEASUREMENT, bytes(32))])
def test_another_measurement_or_bundle_means_other_keys(tmp_path: Path, measurement: bytes, bundle: bytes) -> None:
    first = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    other = EnclaveKeys.unseal_or_make(tmp_path, measurement, bundle, NOW)
    assert other.enclave != first.enclave
    assert other.encryption.public != first.encryption.public
    assert EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW) == first


def test_new_epoch_means_new_keys_and_the_old_are_gone(tmp_path: Path) -> None:
    first = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    second = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW + EPOCH)
    assert second.enclave != first.enclave
    assert EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW) == second
    assert len(list(tmp_path.glob("*.sealed"))) == 1


@pytest.mark.parametrize("position", [0, 20, -1])
def test_changed_file_is_refused(tmp_path: Path, position: int) -> None:
    EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    (path,) = tmp_path.glob("*.sealed")
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(KeysRefused):
        EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)


def test_another_machines_file_is_refused(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    EnclaveKeys.unseal_or_make(here, MEASUREMENT, BUNDLE, NOW)
    EnclaveKeys.unseal_or_make(there, MEASUREMENT, BUNDLE, NOW)
    (sealed,) = here.glob("*.sealed")
    (there / sealed.name).write_bytes(sealed.read_bytes())
    with pytest.raises(KeysRefused):
        EnclaveKeys.unseal_or_make(there, MEASUREMENT, BUNDLE, NOW)


def test_files_are_private_and_hold_no_key_in_the_open(tmp_path: Path) -> None:
    keys = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        data = path.read_bytes()
        for secret in (keys.signing, keys.encryption.secret):
            assert secret not in data
            assert secret.hex().encode() not in data
    assert keys.signing.hex() not in repr(keys)


def test_report_data_binds_keys_bundle_and_registration() -> None:
    keys = EnclaveKeys.make(NOW)
    data = keys.report_data(BUNDLE, "market", "golden-grain", bytes(32), bytes([3]) * 32)
    assert data[:32] == digests.enclave_binding(keys.signing_public, keys.encryption.public, BUNDLE)
    assert data[32:] == digests.registration_binding("market", "golden-grain", bytes(32), bytes([3]) * 32)


def test_measurement_is_of_every_file_and_name(tmp_path: Path) -> None:
    files = {"a.py": tmp_path / "a", "b.py": tmp_path / "b"}
    for name, path in files.items():
        path.write_text(name)
    first = measure(files)
    assert first == measure(dict(reversed(files.items())))
    (tmp_path / "b").write_text("changed")
    assert measure(files) != first
    assert measure({"a.py": tmp_path / "a", "c.py": tmp_path / "b"}) != measure(files)


def test_measured_are_enclave_and_protocol_without_models() -> None:
    names = measured_files()
    assert "goldengrain.enclave/ticket.py" in names
    assert "goldengrain.enclave/onnx_rules/check.py" in names
    assert "goldengrain.chaincode.protocol/sealing.py" in names
    assert not any("models" in name or "market" in name for name in names)
    assert len(simulated_measurement()) == 32


def test_keys_of_another_bundle_are_erased_when_their_epoch_is_over(tmp_path: Path) -> None:
    EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, bytes(32), NOW + EPOCH - 1)
    assert len(list(tmp_path.glob("*.sealed"))) == 2
    EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, bytes(32), NOW + EPOCH)
    assert len(list(tmp_path.glob("*.sealed"))) == 1


def test_what_is_erased_is_overwritten_first(tmp_path: Path) -> None:
    EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    (path,) = tmp_path.glob("*.sealed")
    old = path.read_bytes()
    with path.open("rb") as kept:  # the file as it lies on disk, whatever becomes of its name
        EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW + EPOCH)
        left = kept.read()
    assert len(left) == len(old)
    assert left == bytes(len(old))


def test_a_sealed_file_that_was_renamed_to_last_longer_is_as_old_as_before(tmp_path: Path) -> None:
    first = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW)
    (path,) = tmp_path.glob("*.sealed")
    path.rename(path.with_name(path.name.replace(str(first.expires), str(first.expires + EPOCH))))
    second = EnclaveKeys.unseal_or_make(tmp_path, MEASUREMENT, BUNDLE, NOW + EPOCH)
    assert second.enclave != first.enclave
