"""Recorded blocks."""

from __future__ import annotations

from functools import cache

from fabric_protos.common import common_pb2

from tests.recordings.archive import files, parsed


@cache
def blocks(name: str = "market") -> tuple[common_pb2.Block, ...]:
    """The blocks of a channel from genesis on; `bft` as one of its orderers delivered them, `bft7060` as another."""
    part, prefix = ("blocks", "") if name == "market" else ("bft", f"bft_blocks_{name.removeprefix('bft') or '7050'}.")
    found = [path for path in files(part) if path.startswith(prefix) and path.endswith(".pb") and "/" not in path]
    return tuple(common_pb2.Block.FromString(files(part)[path]) for path in found)


@cache
def ordered() -> dict[int, common_pb2.Block]:
    """Some blocks of `market` by number, as the orderer delivered them."""
    found = {}
    for path, content in files("blocks").items():
        if path.startswith("orderer/"):
            block = common_pb2.Block.FromString(content)
            found[block.header.number] = block
    return found


def fresh(number: int, name: str = "market") -> common_pb2.Block:
    """A copy of a block, to be tampered with."""
    copy = common_pb2.Block()
    copy.CopyFrom(blocks(name)[number])
    return copy


@cache
def codes() -> tuple[tuple[tuple[str, str, str], ...], ...]:
    """Per block and transaction: transaction id, header type, validation code."""
    listed = parsed("blocks", "codes.json")[: len(blocks())]
    return tuple(tuple((one[0], str(one[1]), one[2]) for one in block["txs"]) for block in listed)
