"""Endpoints and connection profiles."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
import yaml

from goldengrain.gateway.connection import ConnectionProfile, Endpoint
from goldengrain.gateway.errors import (
    CommitUnknown,
    ConnectionProfileError,
    DeliverError,
    EndorseError,
    EvaluateError,
    EventsError,
)
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from tests.gateway.certificates import Ca
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import ServerDouble

PROFILE: dict[str, Any] = {
    "name": "market",
    "version": "1.0.0",
    "client": {"organization": "Org1"},
    "organizations": {
        "Org1": {"mspid": "Org1MSP", "peers": ["peer0.org1.example.com", "peer1.org1.example.com"]},
        "Org2": {"mspid": "Org2MSP", "peers": ["peer0.org2.example.com"]},
    },
    "peers": {
        "peer0.org1.example.com": {
            "url": "grpcs://127.0.0.1:7051",
            "tlsCACerts": {"pem": "ROOT"},
            "grpcOptions": {"ssl-target-name-override": "peer0.org1.example.com"},
        },
        "peer1.org1.example.com": {"url": "grpc://[::1]:7052"},
        "peer0.org2.example.com": {"url": "grpcs://peer0.org2:7051", "tlsCACerts": {"path": "tls/ca.pem"}},
    },
    "orderers": {"orderer.example.com": {"url": "grpcs://localhost:7050", "tlsCACerts": {"pem": ["A", "B"]}}},
}


@pytest.fixture(params=["connection.json", "connection.yaml"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "ca.pem").write_bytes(b"FILE")
    path = tmp_path / request.param
    path.write_text(json.dumps(PROFILE) if path.suffix == ".json" else yaml.safe_dump(PROFILE))
    return path


def test_a_profile_names_gateways_with_their_roots(path: Path) -> None:
    profile = ConnectionProfile.load(path)
    assert profile.organization().msp_id == "Org1MSP"
    first, second = profile.gateways()
    assert first == Endpoint("127.0.0.1:7051", b"ROOT", "peer0.org1.example.com", "peer0.org1.example.com")
    assert second == Endpoint("[::1]:7052", None, None, "peer1.org1.example.com")
    assert profile.gateway("Org2MSP").tls_root == b"FILE"
    assert profile.orderers["orderer.example.com"].tls_root == b"A\nB"


def test_hfc_pys_network_json_is_read(tmp_path: Path) -> None:
    document = {
        "name": "sample-network",
        "organizations": {"org1.example.com": {"mspid": "Org1MSP", "peers": ["peer0"]}},
        "peers": {
            "peer0": {
                "url": "localhost:7051",
                "eventUrl": "localhost:7053",
                "grpcOptions": {"grpc.ssl_target_name_override": "peer0.org1.example.com"},
                "tlsCACerts": {"path": "ca.crt"},
            }
        },
    }
    (tmp_path / "ca.crt").write_bytes(b"ROOT")
    (tmp_path / "network.json").write_text(json.dumps(document))
    endpoint = ConnectionProfile.load(tmp_path / "network.json").gateway()
    assert endpoint == Endpoint("localhost:7051", b"ROOT", "peer0.org1.example.com", "peer0")


def test_hfc_pys_users_are_read(tmp_path: Path) -> None:
    ca = Ca("org1")
    issued = ca.issue("Admin")
    for name, pem in (("cert.pem", issued.certificate), ("key.pem", issued.key)):
        (tmp_path / name).write_bytes(pem)
    users = {"Admin": {"cert": "cert.pem", "private_key": str(tmp_path / "key.pem")}, "Half": {"cert": "cert.pem"}}
    document = {"organizations": {"org1": {"mspid": "Org1MSP", "users": users}}}
    (tmp_path / "network.json").write_text(json.dumps(document))
    profile = ConnectionProfile.load(tmp_path / "network.json")
    admin = profile.credentials("Admin")
    assert (admin.identity.msp_id, admin.identity.certificate) == ("Org1MSP", issued.certificate)
    for nobody in ("Half", "Nobody"):
        with pytest.raises(ConnectionProfileError, match="users: Admin, Half"):
            profile.credentials(nobody, "org1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"organizations": {}}, "is not in the profile; it has: none"),
        ({"organizations": {"Org1": {"mspid": "Org1MSP"}}}, "no peer of organisation Org1"),
        ({"organizations": [1]}, "malformed connection profile"),
        ({"peers": {"p": {}}}, "malformed connection profile"),
        ({"peers": {"p": {"url": "grpcs://h:1"}}}, "wants TLS"),
        ({"peers": {"p": {"url": "http://h:1"}}}, "is not grpc://"),
        ({"peers": {"p": {"url": "grpc://h"}}}, "is not grpc://"),
        ({"peers": {"p": {"url": "grpc://h:port"}}}, "is not grpc://"),
        ({"peers": {"p": {"url": "grpcs://h:1", "tlsCACerts": {"path": "none.pem"}}}}, "cannot read the CA"),
        ({"client": {"organization": "Org9"}}, "organisation Org9 is not in the profile; it has: Org1, Org2"),
        ({"client": {}}, r"organisation \(none given\)"),
    ],
)
def test_a_profile_that_cannot_be_used_says_why(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "ca.pem").write_bytes(b"FILE")
    (tmp_path / "c.json").write_text(json.dumps(PROFILE | change))
    with pytest.raises(ConnectionProfileError, match=reason):
        ConnectionProfile.load(tmp_path / "c.json").gateway()


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    for name in ("c.json", "c.yaml"):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConnectionProfileError):
            ConnectionProfile.load(tmp_path / name)
    with pytest.raises(ConnectionProfileError, match="cannot read"):
        ConnectionProfile.load(tmp_path / "missing.json")


async def test_a_gateway_by_address_and_root_file(endpoint: Endpoint, user: Credentials, tmp_path: Path) -> None:
    assert endpoint.tls_root is not None
    (tmp_path / "ca.pem").write_bytes(endpoint.tls_root)
    async with Gateway.connect(endpoint.address, user.identity, user.signer, tls_root=tmp_path / "ca.pem") as gateway:
        assert await gateway.network(CHANNEL).contract(CHAINCODE).evaluate("get", "k") == b""
        assert gateway.identity is user.identity


async def test_the_expected_name_can_be_overridden(endpoint: Endpoint, user: Credentials) -> None:
    by_number = Endpoint(endpoint.address.replace("localhost", "127.0.0.1"), endpoint.tls_root, "localhost")
    async with Gateway.connect(by_number, user.identity, user.signer) as gateway:
        assert await gateway.network(CHANNEL).height() == 1


async def test_what_is_under_way_when_the_gateway_is_closed_ends_by_name(
    server: ServerDouble, user: Credentials
) -> None:
    gateway = Gateway.connect(server.endpoint, user.identity, user.signer)
    network = gateway.network(CHANNEL)
    contract = network.contract(CHAINCODE)
    commit = await (await contract.propose("put", "k", "v").endorse()).submit()
    waiting: list[Awaitable[object]] = [
        asyncio.ensure_future(network.commit("0" * 64).status(30)),
        asyncio.ensure_future(anext(network.block_events(100))),
        asyncio.ensure_future(anext(network.chaincode_events(CHAINCODE, 100))),
    ]
    await asyncio.sleep(0.2)
    await gateway.close()
    async with asyncio.timeout(5):
        for call, kind in (
            *zip(waiting, (CommitUnknown, DeliverError, EventsError), strict=True),
            (commit.status(), CommitUnknown),
            (contract.evaluate("get", "k"), EvaluateError),
            (contract.submit("put", "k", "w"), EndorseError),
            (network.height(), DeliverError),
            (anext(network.block_events(0)), DeliverError),
        ):
            with pytest.raises(kind, match="the gateway was closed"):
                await call


async def test_a_task_that_is_cancelled_is_cancelled(server: ServerDouble, user: Credentials) -> None:
    gateway = Gateway.connect(server.endpoint, user.identity, user.signer)
    asking = asyncio.ensure_future(gateway.network(CHANNEL).commit("0" * 64).status(30))
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await gateway.close()
