"""What rules ask before they act: who is calling, is it there, is it time."""

from __future__ import annotations

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.records import PolicyRecord
from goldengrain.chaincode.market.rules import Caller, Context, Found, Key, RecordT
from goldengrain.chaincode.protocol.accounts import ROLES_ATTRIBUTE, Duty, Role
from goldengrain.chaincode.protocol.errors import (
    AdminRequired,
    ClientRequired,
    DutyRefused,
    MarketPaused,
    NotAMember,
    NotFound,
    OperatorNotVotedIn,
    OperatorRequired,
    PolicyNotFound,
    TooLate,
)
from goldengrain.chaincode.protocol.policy import Policy


def require(found: Found, key: Key[RecordT], missing: type[NotFound], what: str) -> RecordT:
    """Return the record under a key; raises the named error where there is none."""
    record = found.get(key)
    if record is None:
        raise missing(what)
    return record


def require_policy(found: Found) -> Policy:
    """Return the policy in force; raises `PolicyNotFound` before the market is founded."""
    return require_policy_record(found).policy


def require_policy_record(found: Found) -> PolicyRecord:
    """Return the policy in force with its date; raises `PolicyNotFound`."""
    return require(found, keys.POLICY, PolicyNotFound, "the market is not founded yet; an admin sends `Bootstrap`")


def require_client(caller: Caller, duty: Duty | None = None) -> None:
    """Refuse peers, orderers and certificates without a role, and those narrowed to other duties than the one asked."""
    if caller.role not in (Role.CLIENT, Role.ADMIN):
        raise ClientRequired("sign with a client's or an admin's certificate; others hold no account in the market")
    if duty is not None and duty not in caller.duties:
        mine = ", ".join(caller.duties) or "nothing"
        raise DutyRefused(
            f"your certificate is for {mine} (its attribute {ROLES_ATTRIBUTE}), not for what a {duty} does; "
            "sign with another one"
        )


def require_admin(caller: Caller) -> None:
    """Refuse everybody but admins."""
    if caller.role is not Role.ADMIN:
        raise AdminRequired("sign with an admin's certificate of your organisation (NodeOU `admin`)")
    require_client(caller, Duty.ADMIN)


def require_member(caller: Caller, policy: Policy) -> None:
    """Refuse callers whose organisation the policy doesn't name."""
    if caller.msp_id not in policy.organizations:
        raise NotAMember(f"{caller.msp_id} is none of the market's organisations; have it voted in")


def require_unpaused(policy: Policy) -> None:
    """Refuse while the policy pauses new business."""
    if policy.paused:
        raise MarketPaused("the consortium has paused new tasks, offers and claims; what runs goes on")


def not_after(tx: Context, deadline: int, what: str) -> None:
    """Refuse when ts > deadline."""
    if tx.timestamp > deadline:
        raise TooLate(f"{what} ended at {deadline}, the transaction's time is {tx.timestamp}")


def require_operator(tx: Context, operator: bytes, policy: Policy) -> None:
    """Refuse everybody but an enclave's operator, and an operator that is no longer voted in."""
    if tx.caller.account != operator:
        raise OperatorRequired("only the enclave's operator may do this; sign as the account that registered it")
    require_voted_in(tx.caller, policy)


def require_voted_in(caller: Caller, policy: Policy) -> None:
    """Refuse accounts that the policy doesn't name as operators."""
    if caller.account not in policy.operators:
        raise OperatorNotVotedIn(f"{caller.account.hex()} is no operator; have a policy voted that names it")
