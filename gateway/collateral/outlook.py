"""How long collateral is good for, whether it is time to renew it, and whether a TCB recovery has begun.

Renewal is due when two thirds of its time are over; a warning comes when a fifth is left, or three days, whichever is
more. A TCB recovery shows in a higher evaluation number: Intel has rated platforms anew, and one that was up to date
may no longer be. Enclaves keep what they were registered with until it expires; then it is the new rating that
counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from goldengrain.chaincode.protocol.collateral import Collateral

DAY = 86_400
RENEW_AFTER = 2 / 3
WARN_LEFT = 1 / 5
WARN_DAYS = 3


class Warned(StrEnum):
    """What somebody has to be told."""

    EXPIRED = "expired"
    EXPIRES_SOON = "expires-soon"
    TCB_RECOVERY = "tcb-recovery"


@dataclass(frozen=True)
class Outlook:
    """Seconds that are left, whether renewal is due, what to warn of."""

    left: int
    due: bool
    warnings: tuple[Warned, ...]


def outlook(collateral: Collateral, at: int, newest: Collateral | None = None) -> Outlook:
    """Tell how collateral stands at a time; `newest` is what the service gives now, where that is known."""
    left, life = collateral.expires - at, max(1, collateral.expires - collateral.issued)
    warnings = []
    if left < 0:
        warnings.append(Warned.EXPIRED)
    elif left <= max(WARN_DAYS * DAY, int(life * WARN_LEFT)):
        warnings.append(Warned.EXPIRES_SOON)
    recovery = newest is not None and _rated_anew(collateral, newest)
    if recovery:
        warnings.append(Warned.TCB_RECOVERY)
    return Outlook(left, recovery or at - collateral.issued >= life * RENEW_AFTER, tuple(warnings))


def _rated_anew(old: Collateral, new: Collateral) -> bool:
    return (new.tcb_evaluation, new.qe_evaluation) > (old.tcb_evaluation, old.qe_evaluation)
