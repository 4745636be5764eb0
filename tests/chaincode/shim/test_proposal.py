import hashlib

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import proposal_pb2

from goldengrain.chaincode.shim import InvalidArgument, Timestamp
from goldengrain.chaincode.shim.proposal import ProposalView
from tests.chaincode.shim.peer import signed_proposal


def test_a_proposal_gives_its_parts() -> None:
    view = ProposalView(signed_proposal("ab", creator=b"creator", transient={"k": b"v"}, seconds=12, nanos=34))
    assert view.timestamp == Timestamp(12, 34) == (12, 34)
    assert view.signature_header.creator == b"creator"
    assert view.transient == {"k": b"v"}
    assert view.channel_header.tx_id == "ab"
    assert view.binding == hashlib.sha256(b"n" * 24 + b"creator" + bytes(8)).digest()


def test_without_a_proposal_there_is_no_time_and_no_creator() -> None:
    view = ProposalView(None)
    assert view.transient == {}
    for part in ("timestamp", "binding", "signature_header", "channel_header"):
        with pytest.raises(InvalidArgument):
            getattr(view, part)


@pytest.mark.parametrize("raw", [b"", b"\xff", b"\x0a\x01\xff"])
def test_a_malformed_proposal_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        _ = ProposalView(proposal_pb2.SignedProposal(proposal_bytes=raw)).timestamp


def test_a_header_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        _ = ProposalView(signed_proposal("ab", header_type=common_pb2.MESSAGE)).channel_header


def test_a_proposal_without_a_timestamp_is_refused() -> None:
    header = common_pb2.Header(channel_header=common_pb2.ChannelHeader(type=3).SerializeToString())
    proposal = proposal_pb2.Proposal(header=header.SerializeToString())
    view = ProposalView(proposal_pb2.SignedProposal(proposal_bytes=proposal.SerializeToString()))
    with pytest.raises(InvalidArgument):
        _ = view.timestamp
