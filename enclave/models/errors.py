"""What can go wrong where models are trained."""

# ruff: noqa: N818 - a refusal is named for what was wrong

from __future__ import annotations

from goldengrain.enclave.errors import EnclaveError


class DataMissing(EnclaveError):
    """A dataset or a kind of model that isn't there."""

    code = "DATA_MISSING"
