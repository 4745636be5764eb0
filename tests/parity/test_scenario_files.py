"""What scenario files may say, and what all of them together say of the tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from goldengrain.chaincode.protocol.tables import OFFER_RULES, TASK_RULES, Deadline, Window
from tests.chaincode.market.test_random import cells
from tests.parity import differences, scenario
from tests.parity.compare import Cast
from tests.parity.differential import Tally
from tests.parity.ledger import ARGUMENTS, POLICY, Step
from tests.parity.memory import MemoryLedger
from tests.parity.scenario import Scenario, ScenarioError, parse, scenarios
from tests.parity.scenario_play import Disappointed, play, scenario_of

MISTAKES: dict[str, tuple[type[ScenarioError], str]] = {
    "title: [": (scenario.ScenarioUnreadable, "not YAML"),
    "steps: []": (scenario.ScenarioUnreadable, "a title and a list of steps"),
    "{title: t, steps: []}": (scenario.ScenarioUnreadable, "without steps"),
    "{title: t, steps: [Reveal]}": (scenario.ScenarioUnreadable, "a step is a mapping"),
    "{title: t, steps: [{does: Reveal, offer: A}]}": (scenario.FieldMissing, "say 'who'"),
    "{title: t, steps: [{who: developer, offer: A}]}": (scenario.FieldMissing, "say 'does'"),
    "{title: t, steps: [{who: developer, does: Reveal}]}": (scenario.FieldMissing, "Reveal needs 'offer'"),
    "{title: t, steps: [{who: developer, does: Transfer}]}": (scenario.CommandUnknown, "'Transfer'"),
    "{title: t, steps: [{who: nobody, does: Reveal, offer: A}]}": (scenario.AccountUnknown, "'nobody'"),
    "{title: t, steps: [{who: treasury, does: Reveal, offer: A}]}": (scenario.AccountUnknown, "'treasury'"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, r: 1}]}": (scenario.FieldUnknown, "no 'r'"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, refused: LATE}]}": (scenario.CodeUnknown, "'LATE'"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, at: T1.S}]}": (scenario.TimeUnreadable, "'T1.S'"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, at: 5 * 5}]}": (scenario.TimeUnreadable, "'5 * 5'"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, at: true}]}": (scenario.TimeUnreadable, "True"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, at: now - 1}]}": (scenario.TimeGoesBack, "'now - 1'"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: 1}]}": (scenario.ValueRefused, "offer is a name"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, secret: r}]}": (scenario.ValueRefused, "secret"),
    "{title: t, steps: [{who: provider, does: OpenTask, task: T1, slots: -1}]}": (scenario.ValueRefused, "slots"),
    "{title: t, steps: [{who: provider, does: OpenTask, task: T1, award: first}]}": (scenario.ValueRefused, "award"),
    "{title: t, steps: [{who: provider, does: OpenTask, task: T1, schedule: [1]}]}": (scenario.ValueRefused, "pairs"),
    "{title: t, steps: [{who: provider, does: OpenTask, task: T1, sealed_to: [E9]}]}": (scenario.ValueRefused, "E9"),
    "{title: t, steps: [{who: admin1, does: Propose, proposal: P, policy: {k: 1}}]}": (scenario.ValueRefused, "policy"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, then: [A]}]}": (scenario.ValueRefused, "a mapping"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, then: {sum: 1}}]}": (scenario.FieldUnknown, "'sum'"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, then: {held: -1}}]}": (scenario.ValueRefused, "held"),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, then: {state: {A: sold}}}]}": (
        scenario.ValueRefused,
        "'sold'",
    ),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, then: {slot: {T1: free}}}]}": (
        scenario.ValueRefused,
        "T1/0",
    ),
    "{title: t, steps: [{who: developer, does: Reveal, offer: A, then: {owns: {me: 1}}}]}": (
        scenario.AccountUnknown,
        "'me'",
    ),
}

NO_STEP_MEETS = {
    "ALREADY_BOOTSTRAPPED": "the setting is founded",
    "POLICY_NOT_FOUND": "the setting is founded",
    "MALFORMED_INPUT": "steps are well-formed",
    "REPORT_MALFORMED": "steps are well-formed",
    "SPEC_REFUSED": "all tasks have one well-formed spec",
    "COINS_REFUSED": "steps pay what is due",
    "RULE_REFUSED": "there are fewer enclaves than an offer may have envelopes",
    "ENCLAVE_EXISTS": "an enclave is registered by its own operator",
    "ENCLAVE_UNFIT": "a branch on one side, a double check on the other",
    "ENCLAVE_BUNDLE_RETIRED": "all enclaves have the policy's bundle, which no step changes",
    "POLICY_BUNDLE": "no step changes the policy's bundle",
    "POLICY_BLOCKABLE": "no step changes organisations and k",
    "POLICY_SATISFIABLE_ALONE": "no step changes organisations and k",
    "POLICY_COLLUSION": "no step changes organisations and k",
    "POLICY_UNMARKED_TEST": "no step changes G",
}
"""Refusals that both ledgers have and steps can't meet."""


@pytest.mark.parametrize("text", MISTAKES)
def test_what_a_file_gets_wrong_has_a_name_and_a_place(text: str) -> None:
    kind, words = MISTAKES[text]
    with pytest.raises(kind, match=r"^mistake(, step 1)?: ") as caught:
        parse("mistake", text)
    assert words in str(caught.value)


def test_every_kind_of_mistake_is_tried() -> None:
    assert {kind for kind, _ in MISTAKES.values()} == set(ScenarioError.__subclasses__())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("refused: TOO_LATE", "accepted, expected TOO_LATE"),
        ("then: {state: {A: stored}}", "state A is offered, expected stored"),
        ("then: {price: {A: 1}}", "price A is None, expected 1"),
        ("then: {slot: {T1/0: locked}}", "slot T1/0 is free, expected locked"),
        ("then: {dataset: {T1: opened}}", "dataset T1 is hidden, expected opened"),
        ("then: {owns: {developer: 0}}", "owns developer is -512, expected 0"),
        ("then: {held: 0}", "5764 held, expected 0"),
    ],
)
def test_a_ledger_that_does_something_else_disappoints(line: str, words: str) -> None:
    text = (
        "{title: t, steps: [{who: provider, does: OpenTask, task: T1, slots: 1}, "
        "{who: developer, does: SubmitOffer, task: T1, offer: A, " + line + "}]}"
    )
    with pytest.raises(Disappointed, match="step 2") as caught:
        list(play(parse("wrong", text), MemoryLedger()))
    assert words in str(caught.value)


def test_a_refusal_that_is_not_told_disappoints() -> None:
    text = "{title: t, steps: [{who: developer, does: Reveal, offer: A}]}"
    with pytest.raises(Disappointed, match="OFFER_NOT_FOUND, expected accepted"):
        list(play(parse("wrong", text), MemoryLedger()))


def test_steps_are_written_as_a_scenario_that_says_what_the_ledger_did() -> None:
    found = next(one for one in scenarios() if one.name == "27-reveal-until-d")
    steps = [step for step, _ in found.steps]
    written = parse("written", scenario_of(MemoryLedger(), steps, found.title))
    assert [step for step, _ in written.steps] == [
        Step(one.command, one.sender, one.at, dict(one.arguments)) for one in steps
    ]
    assert [expected.refused for _, expected in written.steps] == [expected.refused for _, expected in found.steps]
    assert len(list(play(written, MemoryLedger()))) == len(steps)


# what all files say together


@dataclass
class Together:
    """What happens when all files are played: tally, commands sent, refusals met, and edges of times stood on."""

    tally: Tally = field(default_factory=Tally)
    sent: set[str] = field(default_factory=set)
    edges: set[tuple[str, Deadline, str]] = field(default_factory=set)

    def add(self, one: Scenario) -> None:
        """Play one file."""
        ledger, cast, before = MemoryLedger(), Cast(), dict[str, str | None]()
        for step, _ in one.steps:
            times = deadlines(ledger, step)
            outcome = ledger.run(step)
            self.sent.add(step.command)
            self.edges |= edges_of(step, outcome.code, times)
            if outcome.accepted:
                cast.add(step)
            after = {offer: ledger.state(offer) for offer in cast.offers}
            self.tally.add(step, outcome, before, after)
            before = after


@pytest.fixture(scope="module")
def together() -> Together:
    found = Together()
    for one in scenarios():
        found.add(one)
    return found


def test_there_are_many_and_each_has_a_title_of_its_own() -> None:
    some = scenarios()
    assert len(some) >= 40
    assert len({one.title for one in some}) == len(some)


def test_together_they_reach_every_accepting_cell_of_the_tables(together: Together) -> None:
    assert set(cells()) - set(together.tally.cells) == set()


def test_together_they_send_every_command_and_meet_every_refusal_that_both_ledgers_have(together: Together) -> None:
    assert together.sent == set(ARGUMENTS)
    common = differences.codes() - set(differences.CODES)
    assert common - set(together.tally.refusals) == set(NO_STEP_MEETS)


def edges(command: str, window: Window) -> set[tuple[str, Deadline, str]]:
    """Both edges of every time of a row: the last second in which it stands, the first in which it does."""
    until = {(command, one, edge) for one in window.until for edge in ("stands at", "refused after")}
    after = {(command, one, edge) for one in window.after for edge in ("refused at + G", "stands after + G")}
    return until | after


def edges_of(step: Step, refused: str | None, times: dict[Deadline, int]) -> set[tuple[str, Deadline, str]]:
    """Which edges a step stands on."""
    found = set()
    for deadline, moment in times.items():
        late, guarded = step.at - moment, step.at - moment - POLICY["guard"]
        if late == 0 and refused is None:
            found.add((step.command, deadline, "stands at"))
        if late == 1 and refused in ("TOO_LATE", "LEASE_REFUSED", "TASK_SHUT"):
            found.add((step.command, deadline, "refused after"))
        if guarded == 0 and refused == "TOO_EARLY":
            found.add((step.command, deadline, "refused at + G"))
        if guarded == 1 and refused is None:
            found.add((step.command, deadline, "stands after + G"))
    return found


def test_together_they_stand_on_both_edges_of_every_time_of_the_tables(together: Together) -> None:
    wanted: set[tuple[str, Deadline, str]] = set()
    for rule in OFFER_RULES:
        wanted |= edges(rule.command, rule.window)
    for row in TASK_RULES.values():
        wanted |= edges(row.command, row.window)
    assert wanted - together.edges == set()


def deadlines(ledger: MemoryLedger, step: Step) -> dict[Deadline, int]:
    """The times that a step is about, in seconds after the start. A claim's is B less its lease."""
    found: dict[Deadline, int] = {}
    name, order = step.arguments.get("task"), ledger.names.orders.get(str(step.arguments.get("offer")))
    task = ledger.names.tasks.get(name) if name else ledger.names.task_of(order) if order else None
    if task is not None:
        base = ledger.base
        found = {
            Deadline.S: task.last_offer - base,
            Deadline.B: task.last_report - base,
            Deadline.A: task.last_opening - base,
        }
        if step.command == "Claim":
            found[Deadline.B] -= step["lease"]
    if order is not None:
        record = ledger.offer_record(order.offer_id)
        if record is not None and record.lock is not None and record.lock.deadline is not None:
            found[Deadline.D] = record.lock.deadline - ledger.base
        numbers = record.open_claims if record is not None else ()
        ends = {one: made.claim.lease_end for one in numbers if (made := ledger.claim_record(order.offer_id, one))}
        if ends:
            found[Deadline.EVERY_LEASE] = max(ends.values()) - ledger.base
        if step.command in ("Lapse", "SubmitReport") and step["claim"] in ends:
            found[Deadline.LEASE] = ends[step["claim"]] - ledger.base
    return found
