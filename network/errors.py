"""Errors of the network part.

GoldenGrainError
└── NetworkError                    NETWORK_ERROR
    ├── TopologyInvalid             TOPOLOGY_INVALID         a topology that cannot be built, with the place in the file
    ├── TopologyConflict            TOPOLOGY_CONFLICT        this folder holds a network of another topology
    ├── NetworkNotFound             NETWORK_NOT_FOUND        this folder holds no network
    ├── NetworkIncomplete           NETWORK_INCOMPLETE       files of the network are missing or damaged
    ├── NetworkNotRunning           NETWORK_NOT_RUNNING
    ├── NetworkAlreadyRunning       NETWORK_ALREADY_RUNNING
    ├── PortTaken                   PORT_TAKEN
    ├── StartFailed                 START_FAILED             a process did not come up; `log_lines` says why
    ├── StopFailed                  STOP_FAILED
    ├── FabricProgramsMissing       FABRIC_PROGRAMS_MISSING
    ├── FabricTooOld                FABRIC_TOO_OLD           older than 2.5, or than 3.0 where a channel needs it
    ├── CertificateUnusable         CERTIFICATE_UNUSABLE     a node's certificate has expired, or is another authority's
    ├── CouchDbUnusable             COUCHDB_UNUSABLE         a peer's CouchDB does not answer, or refuses its user
    ├── DockerMissing               DOCKER_MISSING           its engine, its Python SDK or an image
    ├── ChannelJoinFailed           CHANNEL_JOIN_FAILED
    ├── OrdererAnswerMalformed      ORDERER_ANSWER_MALFORMED what answers at its admin endpoint is no orderer
    ├── UpdateInvalid               UPDATE_INVALID           a change of a channel's configuration that is none
    ├── UpdateRefused               UPDATE_REFUSED           orderers refuse it; most often signatures are missing
    ├── CardInvalid                 CARD_INVALID             not an organisation's card, or not a network's bundle
    ├── ImportRefused               IMPORT_REFUSED           a profile or identity that no network can be used by
    ├── SnapshotFailed              SNAPSHOT_FAILED          a peer takes no snapshot, or refuses one
    ├── IdentityExists              IDENTITY_EXISTS
    ├── IdentityNotFound            IDENTITY_NOT_FOUND
    ├── IdentityInvalid             IDENTITY_INVALID
    ├── PolicyInvalid               POLICY_INVALID           a signature policy string that does not parse
    ├── PackageInvalid              PACKAGE_INVALID          chaincode name, version, label or address
    └── LifecycleFailed             LIFECYCLE_FAILED         a peer refused a step of the chaincode lifecycle
"""

from __future__ import annotations

from collections.abc import Sequence

from goldengrain.chaincode.protocol.errors import GoldenGrainError


class NetworkError(GoldenGrainError):
    """Anything that went wrong with building, running or reaching a network."""

    code = "NETWORK_ERROR"


class TopologyInvalid(NetworkError):
    """A topology that cannot be built. The message names the place, such as `organizations[1].domain`."""

    code = "TOPOLOGY_INVALID"


class TopologyConflict(NetworkError):
    """The folder already holds a network whose topology differs from the one asked for."""

    code = "TOPOLOGY_CONFLICT"


class NetworkNotFound(NetworkError):
    """The folder holds no network."""

    code = "NETWORK_NOT_FOUND"


class NetworkIncomplete(NetworkError):
    """Files that a network needs are missing from its folder, or cannot be read."""

    code = "NETWORK_INCOMPLETE"


class NetworkNotRunning(NetworkError):
    """The network exists, but its process does not run."""

    code = "NETWORK_NOT_RUNNING"


class NetworkAlreadyRunning(NetworkError):
    """The network's process runs already, or another command is starting it."""

    code = "NETWORK_ALREADY_RUNNING"


class PortTaken(NetworkError):
    """A port that the topology asks for is in use by another program."""

    code = "PORT_TAKEN"


class StartFailed(NetworkError):
    """A process did not come up.

    Attributes:
        log_lines: the last lines of its log, oldest first; they are part of the message too.

    """

    code = "START_FAILED"

    def __init__(self, message: str, log_lines: Sequence[str] = ()) -> None:
        self.log_lines = tuple(log_lines)
        super().__init__("\n".join([message, *(f"  | {line}" for line in log_lines)]))


class StopFailed(NetworkError):
    """A process is still alive although it was told to stop and then killed."""

    code = "STOP_FAILED"


class FabricProgramsMissing(NetworkError):
    """Fabric's `peer` or `orderer` program was not found."""

    code = "FABRIC_PROGRAMS_MISSING"


class FabricTooOld(NetworkError):
    """Fabric's programs are of a release before 2.5, or before 3.0 where SmartBFT or the capability V3_0 is wanted."""

    code = "FABRIC_TOO_OLD"


class CertificateUnusable(NetworkError):
    """A node's certificate has expired, or is not of its organisation's authority."""

    code = "CERTIFICATE_UNUSABLE"


class CouchDbUnusable(NetworkError):
    """A peer's CouchDB server does not answer, or refuses its user."""

    code = "COUCHDB_UNUSABLE"


class DockerMissing(NetworkError):
    """Docker's engine does not answer, or its Python SDK or an image of Fabric is missing."""

    code = "DOCKER_MISSING"


class ChannelJoinFailed(NetworkError):
    """An orderer or a peer refused to join the channel."""

    code = "CHANNEL_JOIN_FAILED"


class OrdererAnswerMalformed(NetworkError):
    """An orderer's admin endpoint answers what it never answers."""

    code = "ORDERER_ANSWER_MALFORMED"


class UpdateInvalid(NetworkError):
    """A change of a channel's configuration that changes nothing, or a file that holds none."""

    code = "UPDATE_INVALID"


class UpdateRefused(NetworkError):
    """The orderers refuse a change of a channel's configuration, or it does not take effect."""

    code = "UPDATE_REFUSED"


class CardInvalid(NetworkError):
    """A file that is no organisation's card or no network's bundle."""

    code = "CARD_INVALID"


class ImportRefused(NetworkError):
    """A connection profile and an identity by which no network can be used."""

    code = "IMPORT_REFUSED"


class SnapshotFailed(NetworkError):
    """A peer takes no snapshot of its ledger, or does not begin with one."""

    code = "SNAPSHOT_FAILED"


class IdentityExists(NetworkError):
    """An identity of that name has been issued by that organisation already."""

    code = "IDENTITY_EXISTS"


class IdentityNotFound(NetworkError):
    """No identity of that name (or no organisation of that name) is in the network's folder."""

    code = "IDENTITY_NOT_FOUND"


class IdentityInvalid(NetworkError):
    """A name, role or attribute that cannot go into a certificate."""

    code = "IDENTITY_INVALID"


class PolicyInvalid(NetworkError):
    """A signature policy string that does not parse, such as an unbalanced `AND('Org1MSP.peer'`."""

    code = "POLICY_INVALID"


class PackageInvalid(NetworkError):
    """A chaincode name, version, label or address that Fabric would not accept."""

    code = "PACKAGE_INVALID"


class LifecycleFailed(NetworkError):
    """A peer refused a step of the chaincode lifecycle; the message has the step, the organisation and the answer."""

    code = "LIFECYCLE_FAILED"
