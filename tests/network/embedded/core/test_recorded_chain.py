"""The chain that real Fabric peers recorded, validated and committed again by this code."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import transaction_pb2

from goldengrain.network.embedded import blocks as tools
from goldengrain.network.embedded import rwset
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import BlockRefusedError
from goldengrain.network.embedded.policies import SignedData
from tests.recordings import archive
from tests.recordings import blocks as recorded


def ordered(number: int) -> common_pb2.Block:
    return tools.orderer_view(recorded.blocks()[number])


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[Channel]:
    channel = Channel.create(tmp_path / "market.sqlite", recorded.blocks()[0])
    yield channel
    await channel.close()


async def test_every_block_commits_to_the_same_bytes(channel: Channel) -> None:
    """Validation codes, commit hashes and all other bytes of 110 blocks are those of the real peers."""
    for number, block in enumerate(recorded.blocks()[1:], 1):
        committed = await channel.commit(ordered(number))
        codes = [transaction_pb2.TxValidationCode.Name(t.code) for t in committed.transactions]
        assert codes == [code for _, _, code in recorded.codes()[number]], f"block {number}"
        assert channel.ledger.chain.block_bytes(number) == block.SerializeToString(), f"block {number}"
    channel.ledger.chain.verify()
    assert channel.definitions.names() == ["badreg", "down", "initcc", "noinst", "other", "vec"]
    assert channel.config.sequence == 1
    assert channel.config.batch.timeout == 0.2


async def test_every_code_of_the_recording_is_met() -> None:
    met = {code for block in recorded.codes() for _, _, code in block}
    assert met >= {
        "VALID",
        "BAD_COMMON_HEADER",
        "BAD_PROPOSAL_TXID",
        "DUPLICATE_TXID",
        "ENDORSEMENT_POLICY_FAILURE",
        "INVALID_CHAINCODE",
        "INVALID_ENDORSER_TRANSACTION",
        "MVCC_READ_CONFLICT",
    }


async def test_orderer_signatures_satisfy_the_block_validation_policy(channel: Channel) -> None:
    for block in recorded.blocks()[1:]:
        signed = [SignedData(s.data, s.identity, s.signature) for s in tools.block_signatures(block)]
        channel.check_policy("/Channel/Orderer/BlockValidation", signed)


async def test_a_commit_survives_reopening(channel: Channel, tmp_path: Path) -> None:
    for number in range(1, 40):
        await channel.commit(ordered(number))
    await channel.close()
    again = Channel.open(tmp_path / "market.sqlite", recorded.blocks()[0])
    try:
        await again.commit(ordered(40))
        assert again.ledger.chain.block_bytes(40) == recorded.blocks()[40].SerializeToString()
    finally:
        await again.close()


async def test_a_block_out_of_order_is_refused(channel: Channel) -> None:
    with pytest.raises(BlockRefusedError, match="does not continue"):
        await channel.commit(ordered(2))
    block = ordered(1)
    block.header.previous_hash = bytes(32)
    with pytest.raises(BlockRefusedError, match="previous hash"):
        await channel.commit(block)
    block = ordered(1)
    block.data.data.append(b"more")
    with pytest.raises(BlockRefusedError, match="data hash"):
        await channel.commit(block)
    assert channel.height == 1


@pytest.mark.parametrize("number", [35, 36, 37])
async def test_a_recorded_range_read_is_summarised_alike(channel: Channel, number: int) -> None:
    """Blocks 35 to 37 read ranges of 3, 250 and (stopped early) 101 keys."""
    for before in range(1, number):
        await channel.commit(ordered(before))
    payload = common_pb2.Payload.FromString(
        common_pb2.Envelope.FromString(recorded.blocks()[number].data.data[0]).payload
    )
    recorded_set = next(e for e in rwset.parse(results_of(payload)) if e.namespace == "vec")
    stated = recorded_set.public.range_queries_info[0]
    simulator = channel.simulator("tx", "Org1MSP")
    opened = simulator.range("vec", "r0000", "r0003" if number == 35 else "r9999")
    left = 101 if number == 37 else 1000
    while left and opened.next():
        left -= 1
    simulator.put_state("vec", "rs", str(number - 34).encode())
    ours = next(e for e in rwset.parse(simulator.results().public) if e.namespace == "vec")
    assert ours.public.range_queries_info[0] == stated
    assert ours == recorded_set


def results_of(payload: common_pb2.Payload) -> bytes:
    from fabric_protos.peer import proposal_pb2, proposal_response_pb2

    action = transaction_pb2.Transaction.FromString(payload.data).actions[0]
    content = transaction_pb2.ChaincodeActionPayload.FromString(action.payload).action
    response = proposal_response_pb2.ProposalResponsePayload.FromString(content.proposal_response_payload)
    return proposal_pb2.ChaincodeAction.FromString(response.extension).results


def test_smartbft_metadata_are_as_four_real_orderers_made_them() -> None:
    signer = tools.BlockSigner(b"", lambda data: b"")
    for number in (1, 2, 3):
        block = common_pb2.Block.FromString(archive.files("bft")[f"bft_blocks_7050.{number + 1:02}.block.pb"])
        recorded = [common_pb2.Metadata.FromString(block.metadata.metadata[0]), *block.metadata.metadata[1:]]
        block.metadata.metadata[0] = b""
        tools.sign_by_consenters(block, {1: signer, 2: signer, 4: signer}, 0)
        ours = common_pb2.Metadata.FromString(block.metadata.metadata[0])
        assert (ours.value, len(ours.signatures)) == (recorded[0].value, len(recorded[0].signatures))
        assert list(block.metadata.metadata[1:]) == recorded[1:]
    assert [tools.bft_quorum(count) for count in (4, 5, 6, 7, 10)] == [3, 4, 4, 5, 7]
