"""The contract of a next version, for the test of upgrades: every offer has one more field, and version 3.

A real next version writes the field into its class; here the class of today gets it before the contract starts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from goldengrain.chaincode.market.__main__ import main
from goldengrain.chaincode.market.records import OfferRecord

GENERATED = ("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__match_args__")


def add_field() -> None:
    """Give `OfferRecord` the field `revision`, 7 unless an offer says otherwise, and the next version."""
    for name in GENERATED:
        if name in OfferRecord.__dict__:
            delattr(OfferRecord, name)
    OfferRecord.__annotations__["revision"] = "Count"
    OfferRecord.revision = 7  # type: ignore[attr-defined]  # the field is added here
    OfferRecord.VERSION = 3
    dataclass(frozen=True)(OfferRecord)


if __name__ == "__main__":
    add_field()
    sys.exit(main())
