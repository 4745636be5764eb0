"""What the core of the embedded network refuses.

GoldenGrainError
└── EmbeddedNetworkError          EMBEDDED_NETWORK
    ├── IdentityError             IDENTITY_REFUSED        not a valid identity of a known organisation
    ├── PrincipalError            PRINCIPAL_NOT_SATISFIED a valid identity, but not in the role that is asked for
    ├── PolicyError               POLICY_NOT_SATISFIED    a policy is not satisfied by a set of signatures
    ├── PolicySyntaxError         POLICY_SYNTAX           a policy cannot be parsed
    ├── ConfigError               CHANNEL_CONFIG          a channel configuration or its update is not acceptable
    ├── SimulationError           SIMULATION_REFUSED      a read or write that a transaction may not do
    ├── LedgerError               LEDGER
    │   ├── LedgerCorruptError         LEDGER_CORRUPT          the file holds something else than this code wrote
    │   ├── LedgerForeignError         LEDGER_FOREIGN          a good file, of another channel or of another program
    │   ├── LedgerBusyError            LEDGER_BUSY             another process has it open
    │   ├── BlockRefusedError          BLOCK_REFUSED           a block does not continue this chain
    │   └── BlockNotFoundError         BLOCK_NOT_FOUND
    └── BroadcastRefusedError          BROADCAST_REFUSED       the orderer answers with a status other than SUCCESS
"""

from fabric_protos.common import common_pb2

from goldengrain.chaincode.protocol.errors import GoldenGrainError


class EmbeddedNetworkError(GoldenGrainError):
    """Root of all errors of the embedded network."""

    code = "EMBEDDED_NETWORK"


class IdentityError(EmbeddedNetworkError):
    """The bytes are not a valid identity of a known organisation."""

    code = "IDENTITY_REFUSED"


class PrincipalError(EmbeddedNetworkError):
    """An identity does not satisfy an MSP principal."""

    code = "PRINCIPAL_NOT_SATISFIED"


class PolicyError(EmbeddedNetworkError):
    """A set of signatures does not satisfy a policy; the text is Fabric's."""

    code = "POLICY_NOT_SATISFIED"


class PolicySyntaxError(EmbeddedNetworkError):
    """A policy cannot be parsed or refers to something that is not there."""

    code = "POLICY_SYNTAX"


class ConfigError(EmbeddedNetworkError):
    """A channel configuration, or an update of one, is not acceptable; the text is Fabric's where Fabric has one."""

    code = "CHANNEL_CONFIG"


class SimulationError(EmbeddedNetworkError):
    """A transaction reads or writes what it may not; the text is what Fabric's peer answers to the chaincode."""

    code = "SIMULATION_REFUSED"


class LedgerError(EmbeddedNetworkError):
    """Root of what goes wrong with a ledger's file."""

    code = "LEDGER"


class LedgerCorruptError(LedgerError):
    """The file does not hold what this code wrote: restore it, or purge the network."""

    code = "LEDGER_CORRUPT"


class LedgerForeignError(LedgerError):
    """The file belongs to another channel, another genesis block or another program."""

    code = "LEDGER_FOREIGN"


class LedgerBusyError(LedgerError):
    """Another process has the ledger open."""

    code = "LEDGER_BUSY"


class BlockRefusedError(LedgerError):
    """A block does not continue this chain."""

    code = "BLOCK_REFUSED"


class BlockNotFoundError(LedgerError):
    """No block or transaction of that number, hash or id."""

    code = "BLOCK_NOT_FOUND"


class BroadcastRefusedError(EmbeddedNetworkError):
    """The orderer refuses an envelope: `status` (common.Status) and `info` are its answer's fields."""

    code = "BROADCAST_REFUSED"

    def __init__(self, status: "common_pb2.Status.ValueType", info: str) -> None:
        super().__init__(info)
        self.status = status
        self.info = info
