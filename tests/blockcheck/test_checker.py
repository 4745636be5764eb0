"""Recorded blocks pass the checker; whatever is changed in one is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import transaction_pb2

from tests.blockcheck.checker import Checker, check_chain
from tests.blockcheck.encoding import commit_hash, digest
from tests.recordings.blocks import blocks, codes

CALLS_ANOTHER, CONFLICT, CONFIGURATION = 46, 60, 94


@cache
def raw(name: str = "market") -> list[bytes]:
    return [block.SerializeToString() for block in blocks(name)]


def before(number: int) -> Checker:
    """A checker that has seen every block before that one."""
    checker = Checker(raw()[0])
    for block in raw()[1:number]:
        assert checker.check(block) == []
    return checker


def flipped(block: bytes, step: int) -> Iterator[bytes]:
    """A block with one bit changed, in each `step`th byte another one."""
    for place in range(0, len(block), step):
        yield block[:place] + bytes([block[place] ^ 1 << place // step % 8]) + block[place + 1 :]


def test_every_recorded_block_passes() -> None:
    assert check_chain(raw()) == {}
    met = {code for block in codes() for _, _, code in block}
    assert len(met) >= 8


@pytest.mark.parametrize("orderer", ["bft", "bft7060", "bft7070", "bft7080"])
def test_smartbft_blocks_pass_as_each_orderer_delivers_them(orderer: str) -> None:
    assert len(raw(orderer)) == 4
    assert check_chain(raw(orderer), ordered_only=True) == {}


def test_too_few_consenters_signatures_are_found() -> None:
    block = common_pb2.Block.FromString(raw("bft")[1])
    metadata = common_pb2.Metadata.FromString(block.metadata.metadata[0])
    del metadata.signatures[2]
    block.metadata.metadata[0] = metadata.SerializeToString()
    checker = Checker(raw("bft")[0])
    assert checker.check(block.SerializeToString(), ordered_only=True) == [
        "the orderers' signatures don't satisfy the policy for blocks"
    ]
    metadata.signatures.add().CopyFrom(metadata.signatures[0])
    block.metadata.metadata[0] = metadata.SerializeToString()
    assert checker.check(block.SerializeToString(), ordered_only=True)


def test_one_flipped_bit_is_found() -> None:
    checker = before(CALLS_ANOTHER)
    for block in flipped(raw()[CALLS_ANOTHER], 7):
        assert checker.check(block)
    assert checker.check(raw()[CALLS_ANOTHER]) == []


@pytest.mark.check
@pytest.mark.parametrize("number", [1, 2, CALLS_ANOTHER, CONFLICT, CONFIGURATION])
def test_one_flipped_bit_in_any_byte_is_found(number: int) -> None:
    checker = before(number)
    for block in flipped(raw()[number], 1):
        assert checker.check(block)
    assert checker.check(raw()[number]) == []


@pytest.mark.check
def test_a_flipped_bit_in_a_smartbft_block_is_found() -> None:
    checker = Checker(raw("bft")[0])
    for block in flipped(raw("bft")[1], 1):
        assert checker.check(block, ordered_only=True)


Change = Callable[[common_pb2.Block], None]


def claim(code: str, place: int) -> Change:
    """State another validation code, and a commit hash that fits it."""

    def change(block: common_pb2.Block) -> None:
        flags = bytearray(block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER])
        flags[place] = transaction_pb2.TxValidationCode.Value(code)
        previous = common_pb2.Metadata.FromString(raw_commit_hash(block.header.number - 1)).value
        block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] = bytes(flags)
        stated = commit_hash(bytes(flags), b"", previous)
        block.metadata.metadata[common_pb2.COMMIT_HASH] = common_pb2.Metadata(value=stated).SerializeToString()

    return change


def raw_commit_hash(number: int) -> bytes:
    slot: bytes = blocks()[number].metadata.metadata[common_pb2.COMMIT_HASH]
    return slot


def drop_transaction(block: common_pb2.Block) -> None:
    del block.data.data[-1]
    block.header.data_hash = digest(*block.data.data)


def signed_for_another_block(block: common_pb2.Block) -> None:
    block.metadata.metadata[0] = blocks()[block.header.number - 1].metadata.metadata[0]


def more_slots(block: common_pb2.Block) -> None:
    block.metadata.metadata.append(b"")


def former_slot(block: common_pb2.Block) -> None:
    block.metadata.metadata[3] = b"\x01"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (claim("VALID", 1), "validation codes ['VALID', 'VALID'] where the transactions call for"),
        (claim("MVCC_READ_CONFLICT", 0), "validation codes ['MVCC_READ_CONFLICT', 'MVCC_READ_CONFLICT'] where"),
        (drop_transaction, "the orderers' signatures"),
        (signed_for_another_block, "the orderers' signatures"),
        (more_slots, "6 metadata slots"),
        (former_slot, "something in the slot of former orderers"),
    ],
    ids=["conflict called valid", "valid called conflict", "dropped", "signed for another", "slots", "former slot"],
)
def test_a_block_that_states_something_else_is_found(change: Change, problem: str) -> None:
    block = common_pb2.Block.FromString(raw()[CONFLICT])
    change(block)
    found = before(CONFLICT).check(block.SerializeToString())
    assert any(text.startswith(problem) for text in found), found


def test_a_block_left_out_or_repeated_is_found() -> None:
    checker = before(CONFLICT)
    assert checker.check(raw()[CONFLICT + 1])
    assert checker.check(raw()[CONFLICT - 1])
    assert checker.check(raw()[CONFLICT]) == []


def test_codes_are_recomputed_not_read() -> None:
    """Each block, with every code blotted out, is told what it should have said."""
    checker = Checker(raw()[0])
    for number in range(1, len(codes())):
        block = common_pb2.Block.FromString(raw()[number])
        block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] = b"\x63" * len(block.data.data)
        expected = [code for _, _, code in codes()[number]]
        found = checker.check(block.SerializeToString())
        assert found[0] == f"validation codes {['?'] * len(expected)} where the transactions call for {expected}"
        assert checker.check(raw()[number]) == []
