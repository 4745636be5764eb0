"""A network with chaincodes, and clients of it."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from goldengrain.chaincode.shim import Chaincode, ChaincodeServer
from goldengrain.chaincode.shim.example import KeyValueStore
from goldengrain.gateway.connection import ConnectionProfile, Endpoint
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials, credentials_from_msp
from goldengrain.network import lifecycle
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.home import Home
from goldengrain.network.topology import Organization


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Deployed:
    """A running network. `servers` are the chaincode servers by chaincode name."""

    home: Home
    network: EmbeddedNetwork
    stack: AsyncExitStack
    servers: dict[str, ChaincodeServer] = field(default_factory=dict)
    package_ids: dict[str, str] = field(default_factory=dict)

    def organization(self, number: int = 1) -> Organization:
        return self.network.topology.organizations[number - 1]

    def endpoint(self, number: int = 1) -> Endpoint:
        return ConnectionProfile.load(self.home.connection_profile(self.organization(number))).gateway()

    def user(self, number: int = 1, name: str = "User1") -> Credentials:
        organization = self.organization(number)
        return credentials_from_msp(self.home.user(organization, name) / "msp", organization.msp_id)

    async def gateway(self, number: int = 1, name: str = "User1") -> Gateway:
        """A client of an organisation at its own peer; closed with the network."""
        user = self.user(number, name)
        return await self.stack.enter_async_context(Gateway.connect(self.endpoint(number), user.identity, user.signer))

    async def contract(self, number: int = 1, chaincode: str = "kv") -> Contract:
        return (await self.gateway(number)).network("market").contract(chaincode)

    async def channel(self, address: str, root: bytes) -> grpc.aio.Channel:
        """A bare gRPC channel to a node."""
        credentials = grpc.ssl_channel_credentials(root)
        return await self.stack.enter_async_context(grpc.aio.secure_channel(address, credentials))

    async def peer_channel(self, number: int = 1) -> grpc.aio.Channel:
        organization = self.organization(number)
        root = (self.home.peer(organization, organization.peers[0]) / "tls" / "ca.crt").read_bytes()
        return await self.channel(organization.peers[0].address, root)

    async def orderer_channel(self) -> grpc.aio.Channel:
        organization = self.network.topology.orderer
        node = organization.orderers[0]
        root = (self.home.orderer(organization, node) / "tls" / "ca.crt").read_bytes()
        return await self.channel(node.address, root)

    async def deploy(self, name: str, chaincode: Chaincode, version: str = "1.0", **options: Any) -> None:
        """Deploy a chaincode and start its server."""
        port = free_port()
        deployment = await lifecycle.deploy(self.home, name, version, f"127.0.0.1:{port}", **options)
        await self.serve(name, chaincode, port, deployment.package_id)

    async def serve(self, name: str, chaincode: Chaincode, port: int, package_id: str) -> None:
        server = ChaincodeServer(chaincode, f"127.0.0.1:{port}", package_id)
        await server.start()
        self.stack.push_async_callback(server.stop)
        self.servers[name] = server
        self.package_ids[name] = package_id


@asynccontextmanager
async def running(home: Home, **options: Any) -> AsyncIterator[Deployed]:
    """Run the network of a folder in this process."""
    async with EmbeddedNetwork(home, **options) as network, AsyncExitStack() as stack:
        yield Deployed(home, network, stack)


@asynccontextmanager
async def deployed(home: Home, **options: Any) -> AsyncIterator[Deployed]:
    """The same, with the key-value chaincode."""
    async with running(home, **options) as net:
        await net.deploy("kv", KeyValueStore())
        yield net
