"""The commented topology file that `network init` writes, to be changed before the network comes up."""

from __future__ import annotations

from .topology import Topology

_HEAD = """\
# A network. `goldengrain network up` makes it; the file's schema is network/topology.schema.json of the package.
# Left out is what can be derived: Org1 gives Org1MSP and org1.example.com. A port that is not given is assigned once.
version: 1

organizations:
"""

_ORGANIZATION = """\
  - name: {name}
    peers: [{peers}]
    users: [{{name: User1}}]
"""

_HINTS = """\
  # Settings of a peer: {name: peer1, port: 7051, operations_port: 9443, chaincode_port: 7052, listen: 127.0.0.1,
  #   couchdb: {address: "127.0.0.1:5984", username: admin, password_file: couchdb.secret},
  #   config: {chaincode: {executetimeout: 60s}}}      laid over its core.yaml

# Raft bears the crash of fewer than half of the orderers (of 1, 3 or 5), SmartBFT lies of fewer than a third (of 4, 7).
orderer:
  name: OrdererOrg
  orderers:
"""

_REST = """\
# further_orderers: [{{name: SecondOrderer, msp_id: SecondOrdererMSP, domain: second.example.com}}]

channel:
  name: {channel}
  consensus: {consensus}
  batch: {{timeout_ms: {timeout}, max_messages: {messages}, preferred_max_bytes: {preferred}, \
absolute_max_bytes: {absolute}}}
  # members: [Org1, Org2]      all, where it is not given
  capabilities: {{channel: V3_0, orderer: V2_0, application: V2_5}}
  # policies: {{Endorsement: MAJORITY Endorsement, LifecycleEndorsement: "OutOf(2, 'Org1MSP.peer', 'Org2MSP.peer')"}}
# further_channels: [{{name: second, members: [Org1, Org2]}}]

# How often peers tell each other of themselves. Fabric's own (4 to 25 s) make a new network wait half a minute.
gossip:
  {{alive_ms: 500, reconnect_ms: 500, state_info_ms: 500, pull_ms: 1000, certificate_ms: 1000, membership_ms: 500}}

# Chaincode servers to deploy at once; --market deploys the market's contract besides.
# chaincodes:
#   - name: basic
#     version: "1.0"
#     address: 127.0.0.1:9999
#     policy: OR('Org1MSP.peer', 'Org2MSP.peer')
#     collections: [{{name: secret, policy: "OR('Org1MSP.member')", block_to_live: 100}}]

# For --runtime docker. On a bridge network nodes know each other by host name; their ports are published at 127.0.0.1.
docker: {{tag: "3.1", network: host}}
"""


def commented(topology: Topology) -> str:
    """Write the main settings of a topology with comments; `parse_topology` reads it to an equal value."""
    text = _HEAD
    for organization in topology.organizations:
        peers = ", ".join(f"{{name: {peer.name}}}" for peer in organization.peers)
        text += _ORGANIZATION.format(name=organization.name, peers=peers)
    text += _HINTS
    text += "".join(f"    - {{name: {orderer.name}}}\n" for orderer in topology.orderer.orderers)
    batch, channel = topology.channel.batch, topology.channel
    return text + _REST.format(
        channel=channel.name,
        consensus=channel.consensus,
        timeout=batch.timeout_ms,
        messages=batch.max_messages,
        preferred=batch.preferred_max_bytes,
        absolute=batch.absolute_max_bytes,
    )
