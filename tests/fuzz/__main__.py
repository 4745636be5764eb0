"""Fuzz a target: `python -m tests.fuzz TARGET [libFuzzer's options] [FOLDER …]`, as `make fuzz` does.

Finds are written as `crash-…` into the working folder; the one that is mended goes into `tests/fuzz/corpus/TARGET`.
"""

from __future__ import annotations

import sys

import atheris

INSTRUMENTED = [
    "goldengrain.chaincode.protocol",
    "goldengrain.chaincode.market",
    "goldengrain.enclave",
    "goldengrain.gateway",
    "goldengrain.network",
    "goldengrain.wire",
    "goldengrain.cli.agents.watch",
    "goldengrain.cli.contract_process",
    "goldengrain.cli.enclave_config",
    "goldengrain.cli.stores",
]


def main() -> None:
    """Run until told to stop, or until something is found."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz import targets
    targets.moments()
    atheris.Setup(sys.argv, targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
