"""Blocks of real Fabric networks (Raft, SmartBFT) verify as they are and fail with anything changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import transaction_pb2

from goldengrain.gateway.audit import audit
from goldengrain.gateway.blocks import header_hash, transactions
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import BlockError
from goldengrain.gateway.network import Network
from goldengrain.gateway.trust import ChannelTrust
from goldengrain.gateway.verifier import BlockVerifier
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import ServerDouble
from tests.recordings.blocks import blocks, codes, fresh


def test_the_recorded_chain_verifies() -> None:
    verifier = BlockVerifier.from_genesis(blocks()[0])
    for block in blocks()[1:]:
        found = verifier.verify(block)
        expected = codes()[block.header.number]
        assert tuple((one.transaction_id, one.kind, one.code_name) for one in found) == expected


def test_what_a_transaction_says() -> None:
    (one,) = transactions(blocks()[26])
    assert one.valid
    assert one.channel == "market"
    assert one.creator_msp_id == "Org1MSP"
    assert one.call is not None
    assert one.call.chaincode == "vec"
    assert one.call.function == "script"
    assert one.call.event is not None
    assert (one.call.event.name, one.call.event.payload, one.call.event.block) == ("created", b"m1", 26)
    assert one.call.event.transaction_id == one.transaction_id
    assert {read.namespace for read in one.call.reads} >= {"_lifecycle"}
    assert all(write.namespace == "vec" for write in one.call.writes)
    assert len({end.msp_id for end in one.call.endorsements}) >= 2
    assert one.timestamp_ns > 10**18


def filled(number: int) -> common_pb2.Block:
    """A SmartBFT block as a peer would deliver it: orderers leave the validation codes out."""
    block = fresh(number, "bft")
    block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] = b"\xff" * len(block.data.data)
    return block


def test_a_bft_chain_wants_a_quorum() -> None:
    trust = ChannelTrust.from_config_block(blocks("bft")[0])
    assert (len(trust.consenters), trust.quorum) == (4, 3)
    verifier = BlockVerifier(trust, blocks("bft")[0])
    block = filled(1)
    few = filled(1)
    metadata = common_pb2.Metadata.FromString(few.metadata.metadata[common_pb2.SIGNATURES])
    del metadata.signatures[1:]
    few.metadata.metadata[common_pb2.SIGNATURES] = metadata.SerializeToString()
    with pytest.raises(BlockError, match="1 orderers signed it, 3 have to"):
        verifier.verify(few)
    metadata.signatures.extend([metadata.signatures[0]] * 3)
    few.metadata.metadata[common_pb2.SIGNATURES] = metadata.SerializeToString()
    with pytest.raises(BlockError, match="1 orderers signed it"):
        verifier.verify(few)
    assert verifier.verify(block)


def tampered_data(block: common_pb2.Block) -> None:
    block.data.data[0] = block.data.data[0][:-1] + b"\x00"


def tampered_previous(block: common_pb2.Block) -> None:
    block.header.previous_hash = bytes(32)


def tampered_number(block: common_pb2.Block) -> None:
    block.header.number += 1


def no_codes(block: common_pb2.Block) -> None:
    block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] = b""


def no_signature(block: common_pb2.Block) -> None:
    block.metadata.metadata[common_pb2.SIGNATURES] = b""


def garbage_signature(block: common_pb2.Block) -> None:
    block.metadata.metadata[common_pb2.SIGNATURES] = b"\xff"


def signature_of_another_block(block: common_pb2.Block) -> None:
    other = blocks()[block.header.number - 1]
    block.metadata.metadata[common_pb2.SIGNATURES] = other.metadata.metadata[common_pb2.SIGNATURES]


TAMPERED: list[tuple[Callable[[common_pb2.Block], None], str]] = [
    (tampered_data, "data hash"),
    (tampered_previous, "previous hash"),
    (tampered_number, "should come next"),
    (no_codes, "validation codes"),
    (no_signature, "0 orderers signed it"),
    (garbage_signature, "signatures are malformed"),
    (signature_of_another_block, "does not verify"),
]


@pytest.mark.parametrize(("tamper", "reason"), TAMPERED, ids=[row[0].__name__ for row in TAMPERED])
def test_a_changed_block_is_refused(tamper: Callable[[common_pb2.Block], None], reason: str) -> None:
    verifier = BlockVerifier.from_genesis(blocks()[0])
    for block in blocks()[1:26]:
        verifier.verify(block)
    changed = fresh(26)
    tamper(changed)
    with pytest.raises(BlockError, match=reason):
        verifier.verify(changed)
    assert verifier.verify(blocks()[26])


@pytest.mark.parametrize(
    "code", ["BAD_PROPOSAL_TXID", "ENDORSEMENT_POLICY_FAILURE", "INVALID_ENDORSER_TRANSACTION", "DUPLICATE_TXID"]
)
def test_a_peer_that_calls_an_invalid_transaction_valid_is_found_out(code: str) -> None:
    """As far as signatures tell: a policy's failure need not be visible in them."""
    found = []
    verifier = BlockVerifier.from_genesis(blocks()[0])
    for number in range(1, len(blocks())):
        marked = [index for index, row in enumerate(codes()[number]) if row[2] == code]
        for index in marked:
            lying = fresh(number)
            flags = bytearray(lying.metadata.metadata[common_pb2.TRANSACTIONS_FILTER])
            flags[index] = transaction_pb2.VALID
            lying.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] = bytes(flags)
            try:
                BlockVerifier.verify(_fork(verifier), lying)
            except BlockError as error:
                found.append(str(error))
        verifier.verify(blocks()[number])
    assert found


def _fork(verifier: BlockVerifier) -> BlockVerifier:
    copy = BlockVerifier(verifier.trust)
    copy.__dict__.update({**verifier.__dict__, "_seen": set(verifier._seen)})
    return copy


def test_a_verifier_may_start_anywhere_with_trust_in_hand() -> None:
    verifier = BlockVerifier(ChannelTrust.from_config_block(blocks()[0]))
    assert verifier.verify(blocks()[40])
    assert verifier.verify(blocks()[41])


def test_a_block_that_is_no_config_gives_no_trust() -> None:
    with pytest.raises(BlockError, match="not a config block"):
        ChannelTrust.from_config_block(blocks()[26])
    with pytest.raises(BlockError, match="holds no configuration"):
        ChannelTrust.from_config_block(common_pb2.Block())


def test_an_orderer_of_another_network_is_refused() -> None:
    verifier = BlockVerifier(ChannelTrust.from_config_block(blocks("bft")[0]))
    with pytest.raises(BlockError):
        verifier.verify(blocks()[26])


def test_the_header_hash_is_the_next_blocks_previous_hash() -> None:
    for before, after in zip(blocks(), blocks()[1:], strict=False):
        assert header_hash(before.header) == after.header.previous_hash


async def test_a_clients_own_transactions_verify_through_deliver(network: Network, contract: Contract) -> None:
    sent = [(await contract.submit("append", "k", "v")).transaction_id for _ in range(3)]
    assert network.channel == CHANNEL
    height = await network.height()
    fetched = [block async for block in network.fetch_blocks(0, height - 1)]
    verifier = BlockVerifier.from_genesis(fetched[0])
    found = [one for block in fetched[1:] for one in verifier.verify(block)]
    assert [one.transaction_id for one in found] == sent
    assert {one.call.chaincode for one in found if one.call} == {CHAINCODE}


async def test_an_audit_fetches_and_checks_everything(
    network: Network, contract: Contract, server: ServerDouble
) -> None:
    sent = (await contract.submit("append", "k", "v")).transaction_id
    found = await audit(network, server.ledger.blocks[0])
    assert (found.height, found.last_hash) == (2, header_hash(server.ledger.blocks[1].header))
    assert found.outcome(sent).code_name == "VALID"
    assert await audit(network) == found
    with pytest.raises(BlockError, match="in none of the 2 blocks"):
        found.outcome("0" * 64)
    with pytest.raises(BlockError, match="another channel"):
        await audit(network, blocks()[0])
    server.ledger.blocks[1].data.data[0] += b"x"
    with pytest.raises(BlockError, match="data hash"):
        await audit(network)


def test_a_genesis_block_has_to_be_one() -> None:
    for forged in (fresh(1), fresh(0)):
        forged.data.data.append(b"more")
        with pytest.raises(BlockError, match="not a genesis block"):
            BlockVerifier.from_genesis(forged)
