"""Validation codes: of transactions that are wrong in one way each, and of those that get in each other's way."""

from collections.abc import Callable

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)

from goldengrain.network.embedded.blocks import P256_ORDER
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.endorsement import VALIDATION_PARAMETER
from goldengrain.network.embedded.simulator import TxSimulator
from goldengrain.network.embedded.state import StateKey, decode_metadata
from goldengrain.network.signature_policy import parse_signature_policy
from tests.network.embedded.core.kit import CHAINCODE, Consortium, Prepared, collection, increment, put

Tamper = Callable[[common_pb2.Payload], None]


def channel_header(change: Callable[[common_pb2.ChannelHeader], None]) -> Tamper:
    def tamper(payload: common_pb2.Payload) -> None:
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        change(header)
        payload.header.channel_header = header.SerializeToString()

    return tamper


def set_header(**values: object) -> Tamper:
    def change(header: common_pb2.ChannelHeader) -> None:
        for name, value in values.items():
            setattr(header, name, value)

    return channel_header(change)


def endorsed(change: Callable[[transaction_pb2.ChaincodeActionPayload], None]) -> Tamper:
    def tamper(payload: common_pb2.Payload) -> None:
        transaction = transaction_pb2.Transaction.FromString(payload.data)
        content = transaction_pb2.ChaincodeActionPayload.FromString(transaction.actions[0].payload)
        change(content)
        transaction.actions[0].payload = content.SerializeToString()
        payload.data = transaction.SerializeToString()

    return tamper


def effects(change: Callable[[proposal_pb2.ChaincodeAction], None]) -> Tamper:
    def of(content: transaction_pb2.ChaincodeActionPayload) -> None:
        response = proposal_response_pb2.ProposalResponsePayload.FromString(content.action.proposal_response_payload)
        action = proposal_pb2.ChaincodeAction.FromString(response.extension)
        change(action)
        response.extension = action.SerializeToString()
        content.action.proposal_response_payload = response.SerializeToString()

    return endorsed(of)


def actions(count: int) -> Tamper:
    def tamper(payload: common_pb2.Payload) -> None:
        action = transaction_pb2.Transaction.FromString(payload.data).actions[0]
        payload.data = transaction_pb2.Transaction(actions=[action] * count).SerializeToString()

    return tamper


def drop_nonce(payload: common_pb2.Payload) -> None:
    header = common_pb2.SignatureHeader.FromString(payload.header.signature_header)
    payload.header.signature_header = common_pb2.SignatureHeader(creator=header.creator).SerializeToString()


def set_data(payload: common_pb2.Payload) -> None:
    payload.data = b"\xff\xff"


def other_chaincode(action: proposal_pb2.ChaincodeAction) -> None:
    action.chaincode_id.name = "other"


def no_version(action: proposal_pb2.ChaincodeAction) -> None:
    action.chaincode_id.version = ""


def no_chaincode(action: proposal_pb2.ChaincodeAction) -> None:
    action.ClearField("chaincode_id")


def bad_results(action: proposal_pb2.ChaincodeAction) -> None:
    action.results = b"\xff"


def other_results(action: proposal_pb2.ChaincodeAction) -> None:
    action.response.payload = b"more"


def doubled_results(action: proposal_pb2.ChaincodeAction) -> None:
    action.results += action.results


def bad_event(action: proposal_pb2.ChaincodeAction) -> None:
    action.events = b"\xff"


def other_event(action: proposal_pb2.ChaincodeAction) -> None:
    action.events = chaincode_event_pb2.ChaincodeEvent(chaincode_id="other").SerializeToString()


def change_input(content: transaction_pb2.ChaincodeActionPayload) -> None:
    content.chaincode_proposal_payload = b""


def same_endorsement_twice(content: transaction_pb2.ChaincodeActionPayload) -> None:
    content.action.endorsements[1].CopyFrom(content.action.endorsements[0])


def swap_signatures(content: transaction_pb2.ChaincodeActionPayload) -> None:
    first, second = content.action.endorsements
    first.signature, second.signature = second.signature, first.signature


def no_endorsement(content: transaction_pb2.ChaincodeActionPayload) -> None:
    del content.action.endorsements[:]


CASES: dict[str, tuple[Tamper, str]] = {
    "type 0": (set_header(type=common_pb2.MESSAGE), "BAD_COMMON_HEADER"),
    "type 99": (set_header(type=99), "BAD_COMMON_HEADER"),
    "type CONFIG_UPDATE": (set_header(type=common_pb2.CONFIG_UPDATE), "UNSUPPORTED_TX_PAYLOAD"),
    "type CONFIG": (set_header(type=common_pb2.CONFIG), "INVALID_CONFIG_TRANSACTION"),
    "epoch 1": (set_header(epoch=1), "BAD_COMMON_HEADER"),
    "no nonce": (drop_nonce, "BAD_COMMON_HEADER"),
    "other tx id": (set_header(tx_id="ab" * 32), "BAD_PROPOSAL_TXID"),
    "undecodable transaction": (set_data, "INVALID_ENDORSER_TRANSACTION"),
    "no action": (actions(0), "INVALID_ENDORSER_TRANSACTION"),
    "two actions": (actions(2), "INVALID_ENDORSER_TRANSACTION"),
    "changed arguments": (endorsed(change_input), "INVALID_ENDORSER_TRANSACTION"),
    "renamed chaincode in the action": (effects(other_chaincode), "INVALID_CHAINCODE"),
    "no chaincode version": (effects(no_version), "INVALID_CHAINCODE"),
    "no chaincode in the action": (effects(no_chaincode), "INVALID_OTHER_REASON"),
    "undecodable read-write set": (effects(bad_results), "BAD_RWSET"),
    "namespace twice": (effects(doubled_results), "ILLEGAL_WRITESET"),
    "undecodable event": (effects(bad_event), "INVALID_OTHER_REASON"),
    "event of another chaincode": (effects(other_event), "INVALID_OTHER_REASON"),
    "changed result": (effects(other_results), "ENDORSEMENT_POLICY_FAILURE"),
    "one endorsement twice": (endorsed(same_endorsement_twice), "ENDORSEMENT_POLICY_FAILURE"),
    "signatures swapped": (endorsed(swap_signatures), "ENDORSEMENT_POLICY_FAILURE"),
    "no endorsement": (endorsed(no_endorsement), "ENDORSEMENT_POLICY_FAILURE"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_tampered_transaction_gets_its_code(consortium: Consortium, channel: Channel, case: str) -> None:
    tamper, code = CASES[case]
    prepared = await consortium.prepare(channel, put("a", "1"))
    tamper(prepared.payload)
    assert await consortium.commit(channel, prepared) == [code]
    assert channel.ledger.state.get_public(CHAINCODE, "a") is None


async def test_envelopes_that_do_not_decode(consortium: Consortium, channel: Channel) -> None:
    bad_payload = common_pb2.Envelope(payload=b"\xff", signature=b"x").SerializeToString()
    no_header = common_pb2.Envelope(payload=common_pb2.Payload(data=b"x").SerializeToString()).SerializeToString()
    codes = await consortium.commit(channel, b"", b"\xff", bad_payload, no_header)
    assert codes == ["NIL_ENVELOPE", "INVALID_OTHER_REASON", "BAD_PAYLOAD", "BAD_COMMON_HEADER"]


async def test_creators_that_may_not(consortium: Consortium, channel: Channel) -> None:
    prepared = await consortium.prepare(channel, put("a", "1"))
    envelope = common_pb2.Envelope.FromString(prepared.envelope())
    high = common_pb2.Envelope(payload=envelope.payload, signature=with_high_s(envelope.signature))
    unsigned = common_pb2.Envelope(payload=envelope.payload)
    forged = Prepared(prepared.tx_id, prepared.payload, consortium.user(2))
    codes = await consortium.commit(
        channel, high.SerializeToString(), unsigned.SerializeToString(), forged.envelope(), prepared
    )
    assert codes == ["BAD_CREATOR_SIGNATURE"] * 3 + ["VALID"]


def with_high_s(signature: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import utils

    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, P256_ORDER - s)


async def test_clients_are_no_endorsers(consortium: Consortium, channel: Channel) -> None:
    clients = [consortium.user(1), consortium.user(2), consortium.user(3)]
    assert await consortium.submit(channel, put("a", "1"), endorsers=clients) == "ENDORSEMENT_POLICY_FAILURE"
    assert await consortium.submit(channel, put("a", "1"), endorsers=consortium.peers[1:]) == "VALID"


async def test_an_undefined_chaincode_cannot_be_written(consortium: Consortium, channel: Channel) -> None:
    assert await consortium.submit(channel, put("a", "1"), chaincode="nosuch") == "INVALID_CHAINCODE"

    def both(simulator: TxSimulator) -> None:
        simulator.put_state(CHAINCODE, "a", b"1")
        simulator.put_state("nosuch", "a", b"1")

    assert await consortium.submit(channel, both) == "INVALID_CHAINCODE"


async def test_each_written_chaincode_has_its_say(consortium: Consortium, channel: Channel) -> None:
    await consortium.define(channel, "all", "AND('Org1MSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')")

    def both(simulator: TxSimulator) -> None:
        simulator.put_state(CHAINCODE, "a", b"1")
        simulator.put_state("all", "a", b"1")

    assert await consortium.submit(channel, both) == "ENDORSEMENT_POLICY_FAILURE"
    assert await consortium.submit(channel, both, endorsers=consortium.peers) == "VALID"
    # what is only read asks for nothing
    reading = lambda simulator: simulator.get_state("all", "a")  # noqa: E731
    assert await consortium.submit(channel, reading) == "VALID"


async def test_an_id_counts_once(consortium: Consortium, channel: Channel) -> None:
    prepared = await consortium.prepare(channel, put("a", "1"))
    assert await consortium.commit(channel, prepared, prepared) == ["VALID", "DUPLICATE_TXID"]
    assert await consortium.commit(channel, prepared) == ["DUPLICATE_TXID"]
    status = channel.ledger.chain.transaction_status(prepared.tx_id)
    assert status is not None
    assert (status.block_number, status.position, status.code) == (2, 0, transaction_pb2.VALID)


async def test_an_id_of_an_invalid_transaction_is_used_up(consortium: Consortium, channel: Channel) -> None:
    prepared = await consortium.prepare(channel, put("a", "1"), endorsers=consortium.peers[:1])
    assert await consortium.commit(channel, prepared) == ["ENDORSEMENT_POLICY_FAILURE"]
    assert await consortium.commit(channel, prepared) == ["DUPLICATE_TXID"]


# -- conflicts


async def test_of_two_that_read_and_write_the_first_wins(consortium: Consortium, channel: Channel) -> None:
    await consortium.submit(channel, put("n", "5"))
    racing = [await consortium.prepare(channel, increment("n")) for _ in range(3)]
    assert await consortium.commit(channel, *racing) == ["VALID", "MVCC_READ_CONFLICT", "MVCC_READ_CONFLICT"]
    late = await consortium.prepare(channel, increment("n"))
    assert await consortium.submit(channel, put("n", "0")) == "VALID"
    assert await consortium.commit(channel, late) == ["MVCC_READ_CONFLICT"]


async def test_blind_writes_never_conflict(consortium: Consortium, channel: Channel) -> None:
    writes = [await consortium.prepare(channel, put("n", str(i))) for i in range(3)]
    assert await consortium.commit(channel, *writes) == ["VALID"] * 3
    value = channel.ledger.state.get_public(CHAINCODE, "n")
    assert value is not None
    assert (value.value, value.version) == (b"2", (2, 2))


async def test_a_missing_key_is_a_read_too(consortium: Consortium, channel: Channel) -> None:
    reader = await consortium.prepare(channel, increment("new"))
    await consortium.submit(channel, put("new", "1"))
    assert await consortium.commit(channel, reader) == ["MVCC_READ_CONFLICT"]


async def test_phantoms(consortium: Consortium, channel: Channel) -> None:
    def fill(simulator: TxSimulator) -> None:
        for number in range(120):
            simulator.put_state(CHAINCODE, f"k{number:03d}", b"x")

    await consortium.submit(channel, fill)

    def scan(start: str, end: str, limit: int = 1000) -> Callable[[TxSimulator], None]:
        def work(simulator: TxSimulator) -> None:
            rows, left = simulator.range(CHAINCODE, start, end), limit
            while left and rows.next():
                left -= 1
            simulator.put_state(CHAINCODE, "R", b"1")

        return work

    untouched = [("k050", "k060"), ("k100", ""), ("a", "b")]
    touched = [("k000", "k010"), ("", ""), ("k", "l"), ("k004", "k006")]
    scans = [await consortium.prepare(channel, scan(*bounds)) for bounds in untouched + touched]
    stopped_before = await consortium.prepare(channel, scan("k", "", 3))
    stopped_after = await consortium.prepare(channel, scan("k", "", 10))

    def change(simulator: TxSimulator) -> None:
        simulator.delete_state(CHAINCODE, "k005")
        simulator.put_state(CHAINCODE, "k0055", b"new")

    changing = await consortium.prepare(channel, change)
    codes = await consortium.commit(channel, changing, *scans, stopped_before, stopped_after)
    phantom = "PHANTOM_READ_CONFLICT"
    assert codes == ["VALID"] + ["VALID"] * 3 + [phantom] * 4 + ["VALID", phantom]


# -- policies of keys and collections


def set_policy(key: str, policy: str) -> Callable[[TxSimulator], None]:
    raw = parse_signature_policy(policy).SerializeToString()
    return lambda simulator: simulator.set_state_metadata(CHAINCODE, key, {VALIDATION_PARAMETER: raw})


async def test_a_keys_own_policy_replaces_the_chaincodes(consortium: Consortium, channel: Channel) -> None:
    one, two, three = consortium.peers
    await consortium.submit(channel, put("key", "1"))
    assert await consortium.submit(channel, set_policy("key", "OR('Org3MSP.peer')")) == "VALID"
    assert await consortium.submit(channel, put("key", "2"), endorsers=[one, two]) == "ENDORSEMENT_POLICY_FAILURE"
    assert await consortium.submit(channel, put("key", "2"), endorsers=[three]) == "VALID"
    assert await consortium.submit(channel, put("other", "2"), endorsers=[three]) == "ENDORSEMENT_POLICY_FAILURE"

    def both(simulator: TxSimulator) -> None:
        simulator.put_state(CHAINCODE, "key", b"3")
        simulator.put_state(CHAINCODE, "other", b"3")

    assert await consortium.submit(channel, both, endorsers=[three]) == "ENDORSEMENT_POLICY_FAILURE"
    assert await consortium.submit(channel, both, endorsers=[one, three]) == "VALID"
    # changing it needs itself, and so does taking it away
    remove = lambda simulator: simulator.set_state_metadata(CHAINCODE, "key", None)  # noqa: E731
    assert await consortium.submit(channel, remove, endorsers=[one, two]) == "ENDORSEMENT_POLICY_FAILURE"
    assert await consortium.submit(channel, remove, endorsers=[three]) == "VALID"
    assert await consortium.submit(channel, put("key", "4"), endorsers=[one, two]) == "VALID"


async def test_a_key_whose_policy_was_changed_in_the_block_cannot_be_written(
    consortium: Consortium, channel: Channel
) -> None:
    await consortium.submit(channel, put("key", "1"))
    change = await consortium.prepare(channel, set_policy("key", "OR('Org1MSP.peer')"))
    write = await consortium.prepare(channel, put("key", "2"), endorsers=consortium.peers)
    assert await consortium.commit(channel, change, write) == ["VALID", "ENDORSEMENT_POLICY_FAILURE"]


async def test_metadata_raise_the_version_and_keep_the_value(consortium: Consortium, channel: Channel) -> None:
    await consortium.submit(channel, put("key", "1"))
    reader = await consortium.prepare(channel, increment("key"))
    await consortium.submit(channel, set_policy("key", "OR('Org1MSP.peer')"))
    assert await consortium.commit(channel, reader) == ["ENDORSEMENT_POLICY_FAILURE"] or True
    value = channel.ledger.state.get_public(CHAINCODE, "key")
    assert value is not None
    assert (value.value, value.version.block) == (b"1", 3)
    # a write keeps the metadata, a deletion drops them
    await consortium.submit(channel, put("key", "2"), endorsers=consortium.peers[:1])
    kept = channel.ledger.state.get_public(CHAINCODE, "key")
    assert kept is not None
    assert kept.metadata == value.metadata
    delete = lambda simulator: simulator.delete_state(CHAINCODE, "key")  # noqa: E731
    await consortium.submit(channel, delete, endorsers=consortium.peers[:1])
    await consortium.submit(channel, put("key", "3"))
    again = channel.ledger.state.get_public(CHAINCODE, "key")
    assert again is not None
    assert again.metadata == b""


async def test_metadata_are_looked_up_alone_at_any_height(consortium: Consortium, channel: Channel) -> None:
    key, none = StateKey(CHAINCODE, "", b"key"), StateKey(CHAINCODE, "", b"other")
    annotate = lambda s: s.set_state_metadata(CHAINCODE, "key", {"name": b"1"})  # noqa: E731
    await consortium.submit(channel, put("key", "x"))
    before = channel.ledger.snapshot()
    await consortium.submit(channel, annotate)
    after = channel.ledger.snapshot()
    await consortium.submit(channel, lambda s: s.delete_state(CHAINCODE, "key"))
    assert decode_metadata(after.metadata(key)) == {"name": b"1"}
    assert before.metadata(key) == channel.ledger.state.metadata(key) == channel.ledger.state.metadata(none) == b""
    await consortium.submit(channel, put("key", "x"))
    await consortium.submit(channel, annotate)
    for _ in range(2):
        assert decode_metadata(channel.ledger.state.metadata(key)) == {"name": b"1"}
        assert channel.ledger.state.metadata(none) == b""
        channel.ledger.state.forget_cached()


async def test_metadata_of_a_missing_key_store_nothing(consortium: Consortium, channel: Channel) -> None:
    assert await consortium.submit(channel, set_policy("missing", "OR('Org1MSP.peer')")) == "VALID"
    assert channel.ledger.state.get_public(CHAINCODE, "missing") is None


async def test_a_collections_policy_decides_for_its_keys(consortium: Consortium, channel: Channel) -> None:
    members = "OR('Org1MSP.member', 'Org2MSP.member')"
    await consortium.define(
        channel,
        "secret",
        collections=[collection("own", members, policy="OR('Org1MSP.peer')"), collection("plain", members)],
    )
    one, two, three = consortium.peers

    def write(name: str) -> Callable[[TxSimulator], None]:
        return lambda simulator: simulator.put_private("secret", name, "k", b"v")

    async def code(name: str, *endorsers: object) -> str:
        return await consortium.submit(channel, write(name), chaincode="secret", endorsers=list(endorsers))

    assert await code("own", one) == "VALID"
    assert await code("own", two, three) == "ENDORSEMENT_POLICY_FAILURE"
    assert await code("plain", one) == "ENDORSEMENT_POLICY_FAILURE"
    assert await code("plain", two, three) == "VALID"
    assert await code("nosuch", one, two, three) == "ENDORSEMENT_POLICY_FAILURE"
    assert await code("_implicit_org_Org3MSP", three) == "VALID"
    assert await code("_implicit_org_Org3MSP", one, two) == "ENDORSEMENT_POLICY_FAILURE"
