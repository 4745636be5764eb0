"""Write the cases down: `python -m tests.enclave.hostile.build`. A folder per case, as README.md says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from goldengrain.enclave import errors
from goldengrain.enclave.dataset import pack

from .containers import MALFORMED, MISMATCHED, SPEC
from .jobs import CHANGES, HOST, WORKERS
from .onnx_models import MODELS
from .weights_files import WEIGHTS

CASES = Path(__file__).parent / "cases"
LARGE = 12_000
"""Bytes from which a file is made when it is needed, not kept."""


def outcome_of(code: str) -> str:
    """What an enclave signs for a refusal of this code."""
    kind = errors.ERRORS[code]
    if issubclass(kind, errors.ModelRefused):
        return "failed"
    return "unusable" if issubclass(kind, errors.DatasetRefused) else "nothing"


def main() -> None:
    """Write every case anew."""
    shutil.rmtree(CASES, ignore_errors=True)
    for name, (make, code) in MODELS.items():
        write("models", name, code, make())
    for name, (make, code) in WEIGHTS.items():
        write("weights", name, code, make())
    for name, malformed in MALFORMED.items():
        write("datasets", name, "DATASET_MALFORMED", malformed())
    for name, (inputs, labels, spec) in MISMATCHED.items():
        own, usual = spec.to_json(), SPEC.to_json()
        changed = {key: value for key, value in own.items() if value != usual[key]}
        more = {"spec": changed} if changed else {}
        write("datasets", name, "DATASET_MISMATCH", pack(inputs, labels, name="x"), **more)
    for name, (_, code) in CHANGES.items():
        write("jobs", name, code)
    for name in HOST:
        write("hosts", name, "HOST_BYTES_REFUSED")
    for name, (_, code) in WORKERS.items():
        write("workers", name, code)


def write(group: str, name: str, code: str, data: bytes | None = None, **more: Any) -> None:
    """Write one case."""
    folder = CASES / group / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    folder.mkdir(parents=True)
    case = {"defect": name, "code": code, "outcome": outcome_of(code), **more}
    if data is not None and len(data) < LARGE:
        (folder / "file").write_bytes(data)
    (folder / "case.yaml").write_text(yaml.safe_dump(case, sort_keys=False, allow_unicode=True))


if __name__ == "__main__":
    main()
