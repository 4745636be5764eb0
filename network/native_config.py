"""Configuration files of Fabric's own programs: `core.yaml` of a peer, `orderer.yaml` of an orderer.

Only what a node of a local network needs is written; the rest has its default in the programs. The gossip intervals are
the topology's, one second or less instead of Fabric's 4 to 25 seconds: peers of different organisations learn of each
other by gossip, and until they have, no peer can collect the endorsements of a majority.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .errors import TopologyInvalid
from .home import Home, write_atomically
from .native_builder import NAME, write_builder
from .topology import LOOPBACK, CouchDb, Gossip, Orderer, OrdererOrganization, Organization, Peer, Topology

_GOSSIP = {
    "useLeaderElection": False,
    "orgLeader": True,  # each peer fetches its blocks from the orderer itself
    "maxBlockCountToStore": 10,
    "maxPropagationBurstLatency": "10ms",
    "maxPropagationBurstSize": 10,
    "propagateIterations": 1,
    "propagatePeerNum": 3,
    "pullPeerNum": 3,
    "dialTimeout": "3s",
    "connTimeout": "2s",
    "recvBuffSize": 20,
    "sendBuffSize": 200,
    "digestWaitTime": "250ms",
    "requestWaitTime": "500ms",
    "responseWaitTime": "500ms",
    "aliveExpirationTimeout": "5s",
    "maxConnectionAttempts": 120,
    "msgExpirationFactor": 20,
    "pvtData": {
        "pullRetryThreshold": "5s",
        "transientstoreMaxBlockRetention": 1000,
        "pushAckTimeout": "3s",
        "btlPullMargin": 10,
        "reconcileBatchSize": 10,
        "reconcileSleepInterval": "2s",
        "reconciliationEnabled": True,
        "skipPullingInvalidTransactionsDuringCommit": False,
        "implicitCollectionDisseminationPolicy": {"requiredPeerCount": 0, "maxPeerCount": 1},
    },
    "state": {"enabled": False},
}
_ANY = "0.0.0.0"  # noqa: S104 - in a container on a bridge: only LOOPBACK's published ports lead there
_FILTERS = ("DefaultAuth", "ExpirationCheck")
_FILTERS_OF_3 = (*_FILTERS, "TimeWindowCheck")  # a peer of 2.5 ends over a filter that it does not know
_HANDLERS = {
    "decorators": [{"name": "DefaultDecorator"}],
    "endorsers": {"escc": {"name": "DefaultEndorsement"}},
    "validators": {"vscc": {"name": "DefaultValidation"}},
}
_SOFTWARE_KEYS = {"Default": "SW", "SW": {"Hash": "SHA2", "Security": 256}}


def write_peer(
    home: Home, topology: Topology, organization: Organization, peer: Peer, *, fabric_3: bool = True
) -> None:
    """Write the folder of a peer, `HOME/nodes/HOST`: `core.yaml` and the external builder; see `peer_config`."""
    config = peer_config(home, topology, organization, peer, fabric_3=fabric_3)
    path = home.nodes / peer.host(organization) / "core.yaml"
    write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode(), mode=0o600)  # CouchDB's password
    write_builder(home.nodes / "builder")


def write_orderer(home: Home, topology: Topology, organization: OrdererOrganization, orderer: Orderer) -> None:
    """Write the folder of an orderer, `HOME/nodes/HOST`: `orderer.yaml`."""
    config = orderer_config(home, topology, organization, orderer)
    path = home.nodes / orderer.host(organization) / "orderer.yaml"
    write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode(), mode=0o600)


def peer_config(
    home: Home, topology: Topology, organization: Organization, peer: Peer, *, fabric_3: bool = True
) -> dict[str, Any]:
    """Make a peer's configuration, with absolute paths; ports have to be assigned.

    Args:
        home: the network's folder.
        topology: of the network.
        organization: whose peer it is.
        peer: of that organisation.
        fabric_3: whether the peer is of Fabric 3; else of 2.5.

    Raises:
        TopologyInvalid: if CouchDB's password cannot be read.

    """
    folder = home.peer(organization, peer).absolute()
    data = (home.nodes / peer.host(organization) / "data").absolute()
    bridged = topology.is_bridged(organization, peer)
    inner = _ANY if bridged else LOOPBACK
    neighbour = organization.peers[0] if organization.peers[0] != peer else organization.peers[-1]
    config = {
        "peer": {
            "id": peer.host(organization),
            "networkId": topology.channel.name,
            "listenAddress": f"{_ANY}:{peer.port}" if bridged else peer.address,
            "address": peer.address,
            "chaincodeListenAddress": f"{inner}:{peer.chaincode_port}",
            "chaincodeAddress": f"{peer.listen if bridged else LOOPBACK}:{peer.chaincode_port}",
            "gateway": {"enabled": True, "endorsementTimeout": "30s", "broadcastTimeout": "30s", "dialTimeout": "30s"},
            "gossip": {
                **_GOSSIP,
                **_intervals(topology.gossip),
                "bootstrap": neighbour.address,
                "endpoint": peer.address,
                "externalEndpoint": peer.address,
            },
            "tls": {
                "enabled": True,
                "clientAuthRequired": False,
                "cert": {"file": str(folder / "tls" / "server.crt")},
                "key": {"file": str(folder / "tls" / "server.key")},
                "rootcert": {"file": str(folder / "tls" / "ca.crt")},
            },
            "authentication": {"timewindow": "15m"},
            "fileSystemPath": str(data),
            "BCCSP": _SOFTWARE_KEYS,
            "mspConfigPath": str(folder / "msp"),
            "localMspId": organization.msp_id,
            "localMspType": "bccsp",
            "client": {"connTimeout": "3s"},
            "deliveryclient": {
                "blockGossipEnabled": False,
                "reconnectTotalTimeThreshold": "3600s",
                "connTimeout": "3s",
                "reConnectBackoffThreshold": "1s",
                "minimalReconnectInterval": "50ms",
                "policy": "simple",
            },
            "handlers": {"authFilters": _named(_FILTERS_OF_3 if fabric_3 else _FILTERS), **_HANDLERS},
            "discovery": {
                "enabled": True,
                "authCacheEnabled": True,
                "authCacheMaxSize": 1000,
                "authCachePurgeRetentionRatio": 0.75,
                "orgMembersAllowedAccess": False,
            },
            "limits": {"concurrency": {"endorserService": 2500, "deliverService": 2500, "gatewayService": 500}},
        },
        "vm": {"endpoint": ""},  # no Docker: chaincodes run as servers
        "chaincode": {
            "mode": "net",
            "externalBuilders": [
                {
                    "name": NAME,
                    "path": str((home.nodes / "builder").absolute()),
                    "propagateEnvironment": ["PATH"],
                }
            ],
            "installTimeout": "60s",
            "startuptimeout": "30s",
            "executetimeout": "30s",
            "keepalive": 0,
            "logging": {"level": "info", "shim": "warning"},
            "system": {"_lifecycle": "enable", "cscc": "enable", "lscc": "enable", "qscc": "enable"},
            "runtimeParams": {
                "useWriteBatch": True,
                "maxSizeWriteBatch": 1000,
                "useGetMultipleKeys": True,
                "maxSizeGetMultipleKeys": 1000,
            },
        },
        "ledger": {
            "state": {"totalQueryLimit": 100_000, **_state_database(peer.couchdb)},
            "history": {"enableHistoryDatabase": True},
            "pvtdataStore": {
                "collElgProcMaxDbBatchSize": 5000,
                "collElgProcDbBatchesInterval": 1000,
                "deprioritizedDataReconcilerInterval": "60m",
                "purgeInterval": 100,
                "purgedKeyAuditLogging": True,
            },
            "snapshots": {"rootDir": str(data / "snapshots")},
        },
        "operations": {"listenAddress": f"{inner}:{peer.operations_port}", "tls": {"enabled": False}},
        "metrics": {"provider": "prometheus"},
    }
    return overlaid(config, peer.config)


def orderer_config(
    home: Home, topology: Topology, organization: OrdererOrganization, orderer: Orderer
) -> dict[str, Any]:
    """Make an orderer's configuration, with absolute paths; ports have to be assigned."""
    folder = home.orderer(organization, orderer).absolute()
    data = (home.nodes / orderer.host(organization) / "data").absolute()
    bridged = topology.is_bridged(organization, orderer)
    inner = _ANY if bridged else LOOPBACK
    certificate, key, root = (str(folder / "tls" / name) for name in ("server.crt", "server.key", "ca.crt"))
    config = {
        "General": {
            "ListenAddress": _ANY if bridged else orderer.listen,
            "ListenPort": orderer.port,
            "TLS": {"Enabled": True, "PrivateKey": key, "Certificate": certificate, "RootCAs": [root]},
            "Cluster": {"ClientCertificate": certificate, "ClientPrivateKey": key, "RootCAs": [root]},
            "Keepalive": {"ServerMinInterval": "60s", "ServerInterval": "7200s", "ServerTimeout": "20s"},
            "BootstrapMethod": "none",
            "LocalMSPDir": str(folder / "msp"),
            "LocalMSPID": organization.msp_id,
            "BCCSP": _SOFTWARE_KEYS,
            "Authentication": {"TimeWindow": "15m"},
        },
        "FileLedger": {"Location": str(data / "ledger")},
        "Consensus": {"WALDir": str(data / "wal"), "SnapDir": str(data / "snapshot")},
        "Operations": {"ListenAddress": f"{inner}:{orderer.operations_port}", "TLS": {"Enabled": False}},
        "Metrics": {"Provider": "prometheus"},
        "Admin": {
            "ListenAddress": f"{inner}:{orderer.admin_port}",
            "TLS": {
                "Enabled": True,
                "PrivateKey": key,
                "Certificate": certificate,
                "RootCAs": [root],
                "ClientAuthRequired": True,
                "ClientRootCAs": [root],
            },
        },
        "ChannelParticipation": {"Enabled": True, "MaxRequestBodySize": "10 MB"},
    }
    return overlaid(config, orderer.config)


def overlaid(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over a configuration, mapping by mapping; anything else replaces what was there."""
    laid = dict(config)
    for key, value in changes.items():
        below = laid.get(key)
        laid[key] = overlaid(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return laid


def _named(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


def _intervals(gossip: Gossip) -> dict[str, str]:
    return {
        "aliveTimeInterval": f"{gossip.alive_ms}ms",
        "reconnectInterval": f"{gossip.reconnect_ms}ms",
        "requestStateInfoInterval": f"{gossip.state_info_ms}ms",
        "publishStateInfoInterval": f"{gossip.state_info_ms}ms",
        "pullInterval": f"{gossip.pull_ms}ms",
        "publishCertPeriod": f"{gossip.certificate_ms}ms",
        "membershipTrackerInterval": f"{gossip.membership_ms}ms",
    }


def couchdb_password(couchdb: CouchDb) -> str:
    """The content of the password's file; empty where there is none.

    Raises:
        TopologyInvalid: if it cannot be read.

    """
    try:
        return Path(couchdb.password_file).read_text().strip() if couchdb.password_file else ""
    except OSError as error:
        raise TopologyInvalid(f"the password of CouchDB at {couchdb.address} cannot be read: {error}") from error


def _state_database(couchdb: CouchDb | None) -> dict[str, Any]:
    if couchdb is None:
        return {"stateDatabase": "goleveldb"}
    settings = {
        "couchDBAddress": couchdb.address,
        "username": couchdb.username,
        "password": couchdb_password(couchdb),
        "maxRetries": 3,
        "maxRetriesOnStartup": 10,
        "requestTimeout": "35s",
        "internalQueryLimit": 1000,
        "maxBatchUpdateSize": 1000,
        "createGlobalChangesDB": False,
        "cacheSize": 64,
    }
    return {"stateDatabase": "CouchDB", "couchDBConfig": settings}
