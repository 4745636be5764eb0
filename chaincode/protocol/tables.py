"""The state tables of an offer and of a task (protocol sections 6 and 7), as data.

Each `Rule` is a row: in which states, by whom, when, what comes next and where the money goes. What has no row is
refused: `require_offer` and `require_task` name the refusal. The contract consults the tables, the docs print them, and
a test walks every state with every command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from goldengrain.chaincode.protocol.errors import (
    AuditSlashed,
    ContractError,
    DatasetOpened,
    OfferClosed,
    OfferNotClaimed,
    OfferNotLeading,
    OfferNotLocked,
    OfferNotSettled,
    OfferNotStored,
    OfferStateRefuses,
    TaskShut,
    TooEarly,
    TooLate,
)


class OfferState(StrEnum):
    """States of section 6."""

    OFFERED = "offered"
    STORED = "stored"
    CLAIMED = "claimed"
    LEADING = "leading"
    LOCKED = "locked"
    SETTLED = "settled"
    WITHDRAWN = "withdrawn"
    DECLINED = "declined"
    FAILED = "failed"
    OUTBID = "outbid"
    DISPLACED = "displaced"
    VOID = "void"
    EXPIRED = "expired"
    FORFEITED = "forfeited"


LIVE = frozenset({OfferState.OFFERED, OfferState.STORED, OfferState.CLAIMED})
"""States of which an organisation may have one offer in a task."""


class DatasetState(StrEnum):
    """What became of a task's test set and audit bond."""

    HIDDEN = "hidden"
    OPENED = "opened"
    SLASHED = "slashed"


class SlotState(StrEnum):
    """What became of a slot of a task's budget."""

    FREE = "free"
    RESERVED = "reserved"
    """By a claim, `each`."""
    LEADING = "leading"
    """By an offer that passed, `best`."""
    LOCKED = "locked"
    SPENT = "spent"


class Party(StrEnum):
    """Who may send a command."""

    ANYONE = "anyone"
    PROVIDER = "provider"
    PROVIDER_ORGANIZATION = "provider's organisation"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    CLAIM_OPERATOR = "operator of the claim"


class Deadline(StrEnum):
    """Times that rules refer to."""

    S = "S"
    B = "B"
    A = "A"
    D = "D"
    LEASE = "lease's end"
    EVERY_LEASE = "every open lease's end"


@dataclass(frozen=True)
class Window:
    """When a command may be sent: ts <= each of `until`, and ts > each of `after` + G."""

    until: tuple[Deadline, ...] = ()
    after: tuple[Deadline, ...] = ()

    def __str__(self) -> str:
        parts = [f"ts <= {one}" for one in self.until] + [f"ts > {one} + G" for one in self.after]
        return " and ".join(parts)

    def require(self, at: int, guard: int, deadlines: Mapping[Deadline, int]) -> None:
        """Raise `TooLate` or `TooEarly` unless a time is inside; deadlines that aren't given don't bind."""
        for one in self.until:
            if one in deadlines and at > deadlines[one]:
                raise TooLate(f"{one} was {deadlines[one]}, it is {at}")
        for one in self.after:
            if one in deadlines and at <= deadlines[one] + guard:
                wait = deadlines[one] + guard + 1 - at
                raise TooEarly(f"{one} + G is {deadlines[one] + guard}, it is {at}; send it again in {wait} s")


ALWAYS = Window()


@dataclass(frozen=True)
class Rule:
    """A row of a table. An empty `states` is "not there yet"; several `next` depend on what is in the command."""

    command: str
    states: tuple[OfferState, ...]
    party: Party
    window: Window
    next: tuple[OfferState, ...]
    money: str


S = OfferState

OFFER_RULES: tuple[Rule, ...] = (
    Rule(
        "SubmitOffer",
        (),
        Party.DEVELOPER,
        Window(until=(Deadline.S,)),
        (S.OFFERED,),
        "bond and benchmark fee locked",
    ),
    Rule(
        "WithdrawOffer",
        (S.OFFERED,),
        Party.DEVELOPER,
        ALWAYS,
        (S.WITHDRAWN,),
        "bond and benchmark fee back; attempt spent",
    ),
    Rule("Rewrap", (S.OFFERED, S.STORED), Party.DEVELOPER, ALWAYS, (S.OFFERED, S.STORED), "-"),
    Rule("Receipt", (S.OFFERED,), Party.PROVIDER_ORGANIZATION, ALWAYS, (S.STORED,), "-"),
    Rule("Receipt", (S.OFFERED, S.STORED), Party.ANYONE, ALWAYS, (S.OFFERED, S.STORED), "-"),
    Rule(
        "Claim",
        (S.STORED,),
        Party.OPERATOR,
        Window(until=(Deadline.B,)),
        (S.CLAIMED,),
        "deposit locked; `each`: slot reserved",
    ),
    Rule("Claim", (S.CLAIMED,), Party.OPERATOR, Window(until=(Deadline.B,)), (S.CLAIMED,), "deposit locked"),
    Rule(
        "Lapse",
        (S.CLAIMED,),
        Party.ANYONE,
        Window(after=(Deadline.LEASE,)),
        (S.CLAIMED, S.STORED),
        "that deposit to the developer; in stored the slot is free",
    ),
    Rule(
        "SubmitReport",
        (S.CLAIMED,),
        Party.CLAIM_OPERATOR,
        Window(until=(Deadline.LEASE,)),
        (S.CLAIMED, S.DECLINED, S.FAILED, S.LOCKED, S.LEADING, S.OUTBID, S.VOID),
        "not the last one wanted: held. Declined, failed: bond to the developer, fee shares and deposits to the "
        "operators, slot freed. Pass: fee shares and deposits to the operators; `each`: the slot's surplus over the "
        "price to the provider; `best`: bond of the displaced or outbid offer to its developer. Unusable, or reports "
        "disagree: bond and deposits back, fee to the developer (unusable) or to the treasury (disagree)",
    ),
    Rule(
        "Expire",
        (S.OFFERED, S.STORED, S.CLAIMED),
        Party.ANYONE,
        Window(after=(Deadline.B, Deadline.EVERY_LEASE)),
        (S.EXPIRED,),
        "open claims lapse; who reported gets deposit and share; the rest, bond included, to the developer",
    ),
    Rule(
        "AwardOffer",
        (S.LEADING,),
        Party.ANYONE,
        Window(after=(Deadline.B,)),
        (S.LOCKED,),
        "the slot's surplus to the provider",
    ),
    Rule(
        "Reveal",
        (S.LOCKED,),
        Party.ANYONE,
        Window(until=(Deadline.D,)),
        (S.SETTLED,),
        "price less market fee to the payout owner; bond to the developer; market fee to the treasury",
    ),
    Rule(
        "Forfeit",
        (S.LOCKED,),
        Party.ANYONE,
        Window(after=(Deadline.D,)),
        (S.FORFEITED,),
        "price and half the bond to the provider; the rest to the treasury",
    ),
    Rule("Acknowledge", (S.SETTLED,), Party.PROVIDER, ALWAYS, (S.SETTLED,), "- (r and `locked` deleted)"),
)
"""Section 6. A further offer's report moves a leading one to displaced (`DISPLACEMENTS`)."""

DISPLACEMENTS = MappingProxyType({S.LEADING: S.DISPLACED})
"""What another offer's better report does to the one whose slot it takes."""


@dataclass(frozen=True)
class TaskRule:
    """A row of section 7."""

    command: str
    party: Party
    window: Window
    effect: str
    dataset: frozenset[DatasetState] = frozenset(DatasetState)
    """States of the test set in which the command stands."""
    next_dataset: DatasetState | None = None


TASK_RULES: Mapping[str, TaskRule] = MappingProxyType(
    {
        rule.command: rule
        for rule in (
            TaskRule("OpenTask", Party.PROVIDER, ALWAYS, "slots x top price and audit bond locked"),
            TaskRule("ShutTask", Party.PROVIDER, Window(until=(Deadline.S,)), "S := ts; existing offers go on"),
            TaskRule("RefundSlot", Party.ANYONE, Window(after=(Deadline.B,)), "free slot to the provider"),
            TaskRule(
                "OpenDataset",
                Party.PROVIDER,
                Window(until=(Deadline.A,), after=(Deadline.B,)),
                "key checked against its digest and kept; audit bond back",
                frozenset({DatasetState.HIDDEN}),
                DatasetState.OPENED,
            ),
            TaskRule(
                "SlashAudit",
                Party.ANYONE,
                Window(after=(Deadline.A,)),
                "audit bond to the treasury",
                frozenset({DatasetState.HIDDEN}),
                DatasetState.SLASHED,
            ),
        )
    }
)
"""Section 7."""

OFFER_COMMANDS: tuple[str, ...] = tuple(dict.fromkeys(rule.command for rule in OFFER_RULES if rule.states))
"""Commands that need an offer."""

CLOSED = frozenset(OfferState) - {state for rule in OFFER_RULES for state in rule.states}
"""States in which no command stands any more."""


def offer_rules(command: str, state: OfferState | None) -> tuple[Rule, ...]:
    """Return the rows for a command in a state (None: no offer yet); none where it is refused."""
    return tuple(
        rule
        for rule in OFFER_RULES
        if rule.command == command and (state in rule.states or (state is None and not rule.states))
    )


_WANTED: Mapping[str, tuple[type[ContractError], str]] = MappingProxyType(
    {
        "Claim": (OfferNotStored, "the provider's organisation has to give a receipt first"),
        "Lapse": (OfferNotClaimed, "only a claim lapses"),
        "SubmitReport": (OfferNotClaimed, "claim it first"),
        "AwardOffer": (OfferNotLeading, "only an offer that leads a slot of a `best` task is awarded"),
        "Reveal": (OfferNotLocked, "r is revealed once a price is locked; keep it until then"),
        "Forfeit": (OfferNotLocked, "only a locked offer is forfeited"),
        "Acknowledge": (OfferNotSettled, "the key can be read once r is revealed"),
    }
)


def offer_refusal(command: str, state: OfferState) -> ContractError:
    """Return the refusal of a command that has no row in a state."""
    if state in CLOSED:
        return OfferClosed(f"the offer is {state}; {command} comes too late")
    if command == "Claim" and state is not OfferState.OFFERED:
        return OfferStateRefuses(f"the offer is {state}; it was benchmarked already")
    kind, advice = _WANTED.get(command, (OfferStateRefuses, f"{command} is for {_states(command)}"))
    return kind(f"the offer is {state}; {advice}")


def _states(command: str) -> str:
    states = [str(state) for rule in OFFER_RULES if rule.command == command for state in rule.states]
    return ", ".join(dict.fromkeys(states))


def require_offer(command: str, state: OfferState) -> tuple[Rule, ...]:
    """Return the rows for a command in a state; raises the named refusal where there is none."""
    rules = offer_rules(command, state)
    if not rules:
        raise offer_refusal(command, state)
    return rules


def require_task(command: str, dataset: DatasetState, shut: bool = False) -> TaskRule:
    """Return the row for a command on a task; raises the named refusal where it doesn't stand."""
    rule = TASK_RULES[command]
    if command == "ShutTask" and shut:
        raise TaskShut("the task is shut already")
    if dataset not in rule.dataset:
        if dataset is DatasetState.OPENED:
            raise DatasetOpened(f"the test set is open and the audit bond returned; no {command}")
        raise AuditSlashed(f"the audit bond was slashed; no {command}")
    return rule


def markdown() -> str:
    """Return both tables for the docs."""
    lines = ["| state | command (who; when) | next | money |", "| --- | --- | --- | --- |"]
    for rule in OFFER_RULES:
        when = "; ".join(filter(None, (str(rule.party), str(rule.window))))
        states, after = ", ".join(rule.states) or "-", ", ".join(rule.next)
        lines.append(f"| {states} | {rule.command} ({when}) | {after} | {rule.money} |")
    lines += ["", "| command (who; when) | effect |", "| --- | --- |"]
    for row in TASK_RULES.values():
        when = "; ".join(filter(None, (str(row.party), str(row.window))))
        lines.append(f"| {row.command} ({when}) | {row.effect} |")
    return "\n".join(lines) + "\n"
