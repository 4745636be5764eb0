"""Where a transaction ended."""

from __future__ import annotations

from dataclasses import dataclass

from fabric_protos.peer import transaction_pb2

from goldengrain.gateway.errors import CommitError


@dataclass(frozen=True, slots=True)
class Status:
    """Where a transaction ended: Fabric's validation code, its name (``VALID``), the number of its block."""

    transaction_id: str
    code: int
    code_name: str
    block: int

    @property
    def successful(self) -> bool:
        """Whether the transaction changed the ledger."""
        return self.code == transaction_pb2.VALID

    def check(self) -> Status:
        """Return the status itself if it is successful. Raises CommitError otherwise."""
        if not self.successful:
            raise CommitError(self.transaction_id, self.code, self.code_name, self.block)
        return self


def code_name(code: int) -> str:
    """Fabric's name of a validation code; the number itself where it has none."""
    try:
        return transaction_pb2.TxValidationCode.Name(code)  # type: ignore[arg-type]
    except ValueError:
        return str(code)
