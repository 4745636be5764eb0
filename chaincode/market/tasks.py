"""Tasks: opening one, shutting it, and what becomes of its slots and its test set (protocol sections 5 and 7).

A task is written once. What changes of it, S and the audit bond, has a key of its own, and each slot of its budget has
one, so that swaps in the same task don't get into each other's way.
"""

from __future__ import annotations

from collections.abc import Iterable

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.credits import Till, coin_keys
from goldengrain.chaincode.market.enclaves import require_fit_enclaves
from goldengrain.chaincode.market.guards import (
    require,
    require_client,
    require_member,
    require_policy,
    require_unpaused,
)
from goldengrain.chaincode.market.records import IndexRecord, SlotRecord, TaskRecord, TaskStatusRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Rule
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.protocol import digests, sealing
from goldengrain.chaincode.protocol.accounts import Duty
from goldengrain.chaincode.protocol.commands import OpenDataset, OpenTask, RefundSlot, ShutTask, SlashAudit
from goldengrain.chaincode.protocol.errors import (
    DatasetKeyMismatch,
    OperatorsTooFew,
    ProviderRequired,
    SlotNotFound,
    SlotNotFree,
    TaskExists,
    TaskNotFound,
)
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.tables import DatasetState, Deadline, SlotState, TaskRule, require_task
from goldengrain.chaincode.protocol.task import Task

MIN_OPERATORS = 2
"""Operators to whose enclaves a test set's key is sealed, where the policy names so many."""


def open_task(command: OpenTask, tx: Context) -> Rule:
    """Lock slots x top price and the audit bond; the caller is the provider."""
    require_client(tx.caller, Duty.PROVIDER)
    sealed_to = [one.enclave for one in command.dataset_envelopes]
    found = yield Get(
        [keys.POLICY, *coin_keys(tx.caller.account, command.coins), *(keys.enclave(one) for one in sealed_to)]
    )
    policy = require_policy(found)
    require_unpaused(policy)
    require_member(tx.caller, policy)
    task = command.task(tx.channel, tx.contract, tx.caller.account, policy)
    task.validate(policy, tx.timestamp)
    sealing.require_public_key(task.provider_key)
    _require_operators(found, sealed_to, policy, tx)
    task_id = task.id
    before = yield Get([keys.task(task_id)])
    if before.get(keys.task(task_id)) is not None:
        raise TaskExists("this very task is open; change its seed or a deadline")
    effects = Effects(tx, policy.window)
    _write_task(effects, command, task, policy)
    till = Till(effects)
    till.take(found, tx.caller.account, command.coins, task.budget + task.audit_bond)
    till.close()
    effects.tell(task=task_id.hex(), provider=tx.caller.account.hex(), slots=task.slots, top=task.schedule.top_price)
    effects.result = {"task": task_id.hex()}
    return effects


def shut_task(command: ShutTask, tx: Context) -> Rule:
    """Take no more offers: S moves to now."""
    found = yield Get([keys.task(command.task), keys.task_status(command.task)])
    record, status = require_task_records(found, command.task)
    _require_provider(tx, record)
    row = require_task("ShutTask", status.dataset, status.shut)
    row.window.require(tx.timestamp, record.task.terms.guard, {Deadline.S: status.last_offer})
    effects = Effects(tx, record.task.terms.window)
    effects.put(keys.task_status(command.task), replace(status, last_offer=tx.timestamp, shut=True))
    effects.tell(task=command.task.hex(), last_offer=tx.timestamp)
    return effects


def refund_slot(command: RefundSlot, tx: Context) -> Rule:
    """Return a free slot's amount to the provider."""
    slot_key = keys.slot(command.task, command.slot)
    found = yield Get([keys.task(command.task), slot_key])
    record = require(found, keys.task(command.task), TaskNotFound, f"there is no task {command.task.hex()}")
    slot = require(found, slot_key, SlotNotFound, f"the task has slots 0 to {record.task.slots - 1}")
    _require_window(require_task("RefundSlot", DatasetState.HIDDEN), tx, record.task)
    if slot.state is not SlotState.FREE:
        raise SlotNotFree(f"the slot is {slot.state}; only a free one is refunded")
    effects = Effects(tx, record.task.terms.window)
    effects.put(slot_key, replace(slot, state=SlotState.SPENT, amount=0))
    _pay(effects, record.task.provider, slot.amount)
    effects.tell(task=command.task.hex(), slot=command.slot)
    return effects


def open_dataset(command: OpenDataset, tx: Context) -> Rule:
    """Publish the test set's key and return the audit bond."""
    found = yield Get([keys.task(command.task), keys.task_status(command.task)])
    record, status = require_task_records(found, command.task)
    _require_provider(tx, record)
    row = require_task("OpenDataset", status.dataset)
    _require_window(row, tx, record.task)
    if digests.sha256(command.key) != record.task.dataset.key:
        raise DatasetKeyMismatch("this is not the key whose digest the task fixed")
    effects = Effects(tx, record.task.terms.window)
    opened = replace(status, audit_bond=0, dataset=DatasetState.OPENED, dataset_key=command.key)
    effects.put(keys.task_status(command.task), opened)
    _pay(effects, record.task.provider, status.audit_bond)
    effects.tell(task=command.task.hex(), key=command.key.hex())
    return effects


def slash_audit(command: SlashAudit, tx: Context) -> Rule:
    """Send the audit bond of a test set that was not opened in time to the treasury."""
    found = yield Get([keys.task(command.task), keys.task_status(command.task)])
    record, status = require_task_records(found, command.task)
    row = require_task("SlashAudit", status.dataset)
    _require_window(row, tx, record.task)
    effects = Effects(tx, record.task.terms.window)
    effects.put(keys.task_status(command.task), replace(status, audit_bond=0, dataset=DatasetState.SLASHED))
    _pay(effects, digests.TREASURY, status.audit_bond)
    effects.tell(task=command.task.hex())
    return effects


def require_task_records(found: Found, task: bytes) -> tuple[TaskRecord, TaskStatusRecord]:
    """Return a task and what has changed of it; raises `TaskNotFound`."""
    missing = f"there is no task {task.hex()}"
    return (
        require(found, keys.task(task), TaskNotFound, missing),
        require(found, keys.task_status(task), TaskNotFound, missing),
    )


def _require_operators(found: Found, sealed_to: Iterable[bytes], policy: Policy, tx: Context) -> None:
    enclaves = require_fit_enclaves(found, sealed_to, policy, tx.timestamp)
    operators = {one.operator: one for one in enclaves}
    if len(operators) < min(MIN_OPERATORS, len(policy.operators)):
        raise OperatorsTooFew("seal the test set's key to enclaves of at least two operators")


def _write_task(effects: Effects, command: OpenTask, task: Task, policy: Policy) -> None:
    tx = effects.tx
    task_id = task.id
    record = TaskRecord(
        task=task,
        provider_msp=tx.caller.msp_id,
        opened=tx.timestamp,
        envelopes=command.dataset_envelopes,
        policy_number=policy.number,
        simulated=policy.simulated,
        transaction=tx.tx_id,
    )
    effects.put(keys.task(task_id), record)
    effects.put(keys.task_by(task.provider, task_id), IndexRecord(task_id))
    status = TaskStatusRecord(last_offer=task.last_offer, shut=False, audit_bond=task.audit_bond)
    effects.put(keys.task_status(task_id), status)
    for index in range(task.slots):
        slot = SlotRecord(task_id, index, SlotState.FREE, task.schedule.top_price)
        effects.put(keys.slot(task_id, index), slot)


def _require_provider(tx: Context, record: TaskRecord) -> None:
    if tx.caller.account != record.task.provider:
        raise ProviderRequired("only the task's provider may do this")


def _require_window(row: TaskRule, tx: Context, task: Task) -> None:
    deadlines = {Deadline.B: task.last_report, Deadline.A: task.last_opening}
    row.window.require(tx.timestamp, task.terms.guard, deadlines)


def _pay(effects: Effects, owner: bytes, amount: int) -> None:
    till = Till(effects)
    till.pay(owner, amount)
    till.close()
