"""What may differ from a recording although the same happened. Reviewed by hand: each entry says why.

Everything else is compared byte for byte.
"""

from __future__ import annotations

import re

PORTS = re.compile(r"127\.0\.0\.1:\d+")
"""Nodes and chaincode servers listen on ports of their own in each run."""

PEER_TIME = re.compile(r"peer time \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""A refusal for its timestamp quotes the peer's clock, which goes on between the cases of the recording."""

GO_SPACES = re.compile("[\u00a0 ]+")
"""Go's protobuf library writes `proto:` with a plain or a no-break space, by a random choice of each build."""

QUERY_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""The peer names open queries with random UUIDs; a chaincode's later requests name them too."""

REMOTE = "rpc error: code = Unknown desc = "
"""Before the words of a peer that the gateway asked over gRPC; the gateway's own peer is asked without."""

ORGANIZATION = re.compile(r"\bOrg[123]MSP\b|\borg[123]\.example\.com\b")
"""Which organisation is asked beside the own one is the gateway's choice, and varied between recorded calls too."""

MAPS = (
    b"CheckCommitReadiness",
    b"GetChannelConfig",
    b"QueryApprovedChaincodeDefinitions",
    b"QueryChaincodeDefinition",
    b"QueryChaincodeDefinitions",
    b"QueryInstalledChaincodes",
)
"""Functions of `_lifecycle` and `cscc` whose answers hold Go maps, or lists made from them: in random order."""

DEFINITION = b"/Channel/Application/Endorsement"
"""Stands in each chaincode definition; a list of them, asked for by a chaincode, is in random order too."""


def plain(text: str) -> str:
    """A message without what varies from run to run."""
    return PEER_TIME.sub("peer time", PORTS.sub("ADDRESS", GO_SPACES.sub(" ", text)))


def anonymous(text: str) -> str:
    """The same, also without the name of the organisation that was chosen, and without the sign of a remote peer."""
    return ORGANIZATION.sub("ORGANIZATION", plain(text)).removeprefix(REMOTE)


def unordered(request: bytes, answer: bytes) -> bytes:
    """An answer; one that is in random order, with its bytes sorted."""
    return bytes(sorted(answer)) if any(name in request for name in MAPS) else answer


def unordered_definitions(payload: bytes) -> bytes:
    """What a chaincode was answered; a list of definitions with its bytes sorted."""
    return bytes(sorted(payload)) if payload.count(DEFINITION) > 1 else payload
