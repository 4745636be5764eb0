"""What can go wrong where models are trained."""

from __future__ import annotations

from goldengrain.enclave.errors import EnclaveError


class DataMissing(EnclaveError):
    """A dataset or a kind of model that isn't there."""

    code = "DATA_MISSING"


class SourceRefused(EnclaveError):
    """A file or folder that no test set can be read from."""

    code = "SOURCE_REFUSED"


class ExportFailed(EnclaveError):
    """A model that can't be exported as an enclave takes it."""

    code = "EXPORT_FAILED"
