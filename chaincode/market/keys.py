"""Keys of the ledger: which key holds what.

    policy                              the policy in force                    PolicyRecord
    policy-history/NUMBER               each version                           PolicyRecord
    proposal/TX                         what is voted on                       ProposalRecord
    coin/OWNER/ID                       one per coin                           CoinRecord
    collateral/ROOT/FMSPC[/tdx]         one per root, kind of platform, TEE    CollateralRecord
    challenge/TX                        one per challenge                      ChallengeRecord
    enclave/ENCLAVE                     one per enclave                        EnclaveRecord
    task/TASK                           one per task, never changed            TaskRecord
    task-status/TASK                    what changes of a task                 TaskStatusRecord
    slot/TASK/INDEX                     one per slot                           SlotRecord
    seller/TASK/MSP                     one per task and organisation          SellerRecord
    attempt/TASK/NUMBER/MSP             one per attempt                        AttemptRecord
    offer/OFFER                         one per offer                          OfferRecord
    claim/OFFER/NUMBER                  one per claim                          ClaimRecord
    job/OFFER                           while the offer waits for enclaves     IndexRecord
    offer-of/TASK/OFFER                 index of a task's offers               IndexRecord
    offer-by/ACCOUNT/OFFER              index of a developer's offers          IndexRecord
    task-by/ACCOUNT/TASK                index of a provider's tasks            IndexRecord
    passed/TASK/RANK/OFFER              index of what passed, best first       IndexRecord

No command that settles a swap touches a key that another swap writes, and there is no counter: independent swaps never
conflict. Ids are lowercase hex, numbers have leading zeros so that they sort, and an MSP id, which may hold any
character, stands last.
"""

from __future__ import annotations

from typing import Any

from goldengrain.chaincode.market.records import (
    AttemptRecord,
    ChallengeRecord,
    ClaimRecord,
    CoinRecord,
    CollateralRecord,
    EnclaveRecord,
    IndexRecord,
    OfferRecord,
    PolicyRecord,
    ProposalRecord,
    SellerRecord,
    SlotRecord,
    TaskRecord,
    TaskStatusRecord,
)
from goldengrain.chaincode.market.rules import Key, RecordT, Scan
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.records import MAX_SCORE

POLICY = Key("policy", PolicyRecord)


def policy_version(number: int) -> Key[PolicyRecord]:
    """Return the key of one version of the policy."""
    return Key(f"policy-history/{number:010}", PolicyRecord)


def proposal(transaction: str) -> Key[ProposalRecord]:
    """Return the key of a proposal."""
    return Key(f"proposal/{transaction}", ProposalRecord)


def coin(owner: bytes, coin_id: str) -> Key[CoinRecord]:
    """Return the key of a coin."""
    transaction, _, index = coin_id.partition(":")
    return Key(f"coin/{owner.hex()}/{transaction}:{int(index):02}", CoinRecord)


def collateral(root: bytes, fmspc: bytes, tee: Tee) -> Key[CollateralRecord]:
    """Return the key of a platform kind's collateral under a root; a kind may have both TEEs, each with its own."""
    suffix = "" if tee is Tee.SGX else f"/{tee.lower()}"
    return Key(f"collateral/{root.hex()}/{fmspc.hex()}{suffix}", CollateralRecord)


def challenge(transaction: str) -> Key[ChallengeRecord]:
    """Return the key of a challenge."""
    return Key(f"challenge/{transaction}", ChallengeRecord)


def enclave(enclave_id: bytes) -> Key[EnclaveRecord]:
    """Return the key of an enclave."""
    return Key(f"enclave/{enclave_id.hex()}", EnclaveRecord)


def task(task_id: bytes) -> Key[TaskRecord]:
    """Return the key of a task."""
    return Key(f"task/{task_id.hex()}", TaskRecord)


def task_status(task_id: bytes) -> Key[TaskStatusRecord]:
    """Return the key of what changes of a task."""
    return Key(f"task-status/{task_id.hex()}", TaskStatusRecord)


def slot(task_id: bytes, index: int) -> Key[SlotRecord]:
    """Return the key of a task's slot."""
    return Key(f"slot/{task_id.hex()}/{index:03}", SlotRecord)


def seller(task_id: bytes, msp_id: str) -> Key[SellerRecord]:
    """Return the key of what an organisation sells in a task."""
    return Key(f"seller/{task_id.hex()}/{msp_id}", SellerRecord)


def attempt(task_id: bytes, msp_id: str, number: int) -> Key[AttemptRecord]:
    """Return the key of an organisation's attempt in a task."""
    return Key(f"attempt/{task_id.hex()}/{number:010}/{msp_id}", AttemptRecord)


def offer(offer_id: bytes) -> Key[OfferRecord]:
    """Return the key of an offer."""
    return Key(f"offer/{offer_id.hex()}", OfferRecord)


def claim(offer_id: bytes, number: int) -> Key[ClaimRecord]:
    """Return the key of an offer's claim."""
    return Key(f"claim/{offer_id.hex()}/{number:010}", ClaimRecord)


def job(offer_id: bytes) -> Key[IndexRecord]:
    """Return the key that stands while an offer waits for enclaves."""
    return Key(f"job/{offer_id.hex()}", IndexRecord)


def offer_of(task_id: bytes, offer_id: bytes) -> Key[IndexRecord]:
    """Return the key of a task's offer in its index."""
    return Key(f"offer-of/{task_id.hex()}/{offer_id.hex()}", IndexRecord)


def offer_by(developer: bytes, offer_id: bytes) -> Key[IndexRecord]:
    """Return the key of a developer's offer in its index."""
    return Key(f"offer-by/{developer.hex()}/{offer_id.hex()}", IndexRecord)


def task_by(provider: bytes, task_id: bytes) -> Key[IndexRecord]:
    """Return the key of a provider's task in its index."""
    return Key(f"task-by/{provider.hex()}/{task_id.hex()}", IndexRecord)


def passed(task_id: bytes, score: int, offer_id: bytes) -> Key[IndexRecord]:
    """Return the key of an offer that passed: in the order of keys the highest scores (ppm) come first."""
    return Key(f"passed/{task_id.hex()}/{MAX_SCORE - score:07}/{offer_id.hex()}", IndexRecord)


def under(prefix: str, record: type[RecordT], size: int, bookmark: str = "") -> Scan[RecordT]:
    """Return a page of the keys under a prefix that ends with a slash."""
    return Scan(prefix, prefix[:-1] + chr(ord("/") + 1), record, size, bookmark)


KINDS: dict[str, type[Any]] = {
    "policy": PolicyRecord,
    "policy-history": PolicyRecord,
    "proposal": ProposalRecord,
    "coin": CoinRecord,
    "collateral": CollateralRecord,
    "challenge": ChallengeRecord,
    "enclave": EnclaveRecord,
    "task": TaskRecord,
    "task-status": TaskStatusRecord,
    "slot": SlotRecord,
    "seller": SellerRecord,
    "attempt": AttemptRecord,
    "offer": OfferRecord,
    "claim": ClaimRecord,
    "job": IndexRecord,
    "offer-of": IndexRecord,
    "offer-by": IndexRecord,
    "task-by": IndexRecord,
    "passed": IndexRecord,
}
"""Kinds of records by the first part of their keys."""
