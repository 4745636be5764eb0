"""The contract's refusals, raised again under their own names.

A peer passes a refusal on as text: ``chaincode response 409, OFFER_NOT_STORED: the provider's …``. The protocol's error
tree has a class for each code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from goldengrain.chaincode.protocol.errors import GoldenGrainError, error_from_code
from goldengrain.gateway.errors import TransactionError

_REFUSAL = re.compile(r"([A-Z][A-Z0-9_]*): (.*)", re.DOTALL)


def refusal_of(error: TransactionError) -> GoldenGrainError | None:
    """Return the contract's refusal behind a failed step, or None where something else went wrong."""
    answer = error.chaincode_response
    found = _REFUSAL.fullmatch(answer[1]) if answer else None
    return error_from_code(found[1], found[2]) if found else None


@contextmanager
def named_refusals() -> Iterator[None]:
    """Raise a refusal of the contract as itself, chained to the gateway's error."""
    try:
        yield
    except TransactionError as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        raise refusal from error
