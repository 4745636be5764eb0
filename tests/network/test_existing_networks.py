"""Networks that we did not make: the files of Fabric's test network and hfc-py's are all that is known of them.

The networks are real (or the embedded one's), their files are written here as these programs write them, and each
organisation imports its own into a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.swaps import start_contract, stop_contract
from goldengrain.network.home import Home
from goldengrain.network.ports import free_port
from goldengrain.network.topology import Organization
from tests.cli.test_network_commands import Shell

pytestmark = [pytest.mark.check, pytest.mark.timeout(240)]


@pytest.fixture(params=["embedded", pytest.param("native", marks=pytest.mark.fabric)])
def theirs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A network of three organisations that run it themselves, on ports and in a folder of their choice."""
    if request.param == "native":
        monkeypatch.setenv("FABRIC_BIN", str(request.getfixturevalue("fabric_bin")))
    shell = Shell(tmp_path / "elsewhere")
    shell("network", "up", "--runtime", request.param)
    try:
        yield shell
    finally:
        shell("network", "destroy")


def member(theirs: Shell, number: int) -> Organization:
    return Home(theirs.home).load_topology().organizations[number - 1]


def of_the_test_network(theirs: Shell, number: int, folder: Path) -> tuple[Path, Path]:
    """Write `organizations/peerOrganizations/…` as the test network's scripts do; returns profile (YAML) and MSP."""
    home, organization = Home(theirs.home), member(theirs, number)
    made = folder / "organizations" / "peerOrganizations" / organization.domain
    msp = made / "users" / f"Admin@{organization.domain}" / "msp"
    own = home.user(organization, "Admin") / "msp"
    key = next((own / "keystore").iterdir()).read_bytes()
    for name, content in (
        ("signcerts/cert.pem", next((own / "signcerts").iterdir()).read_bytes()),
        (f"keystore/{hashlib.sha256(key).hexdigest()}_sk", key),
        (f"cacerts/localhost-{7054 + number}-ca-org{number}.pem", next((own / "cacerts").iterdir()).read_bytes()),
        ("config.yaml", (own / "config.yaml").read_bytes()),
        ("user/.keep", b""),
    ):
        (msp / name).parent.mkdir(parents=True, exist_ok=True)
        (msp / name).write_bytes(content)
    profile = profile_of_the_test_network(home, organization, number)
    for suffix, text in (("json", json.dumps(profile, indent=4)), ("yaml", "---\n" + yaml.safe_dump(profile))):
        (made / f"connection-org{number}.{suffix}").write_text(text)
    return made / f"connection-org{number}.{'yaml' if number == 2 else 'json'}", msp


def profile_of_the_test_network(home: Home, organization: Organization, number: int) -> dict[str, Any]:
    """Its own peer and its CA: no other organisation, no orderer, no channel."""
    peer, host = organization.peers[0], organization.peers[0].host(organization)
    authority = f"ca.{organization.domain}"
    tls = next((home.organization(organization) / "tlsca").glob("*.pem")).read_text()
    root = next((home.organization(organization) / "ca").glob("*.pem")).read_text()
    return {
        "name": f"test-network-org{number}",
        "version": "1.0.0",
        "client": {
            "organization": organization.name,
            "connection": {"timeout": {"peer": {"endorser": "300"}}},
        },
        "organizations": {
            organization.name: {
                "mspid": organization.msp_id,
                "peers": [host],
                "certificateAuthorities": [authority],
            }
        },
        "peers": {
            host: {
                "url": f"grpcs://localhost:{peer.port}",
                "tlsCACerts": {"pem": tls},
                "grpcOptions": {"ssl-target-name-override": host, "hostnameOverride": host},
            }
        },
        "certificateAuthorities": {
            authority: {
                "url": f"https://localhost:{7054 + number}",
                "caName": f"ca-org{number}",
                "tlsCACerts": {"pem": [root]},
                "httpOptions": {"verify": False},
            }
        },
    }


def of_hfc(theirs: Shell, folder: Path) -> Path:
    """Write `network.json` as hfc-py's samples have it: every organisation, paths instead of certificates."""
    home, topology = Home(theirs.home), Home(theirs.home).load_topology()
    folder.mkdir()
    document: dict[str, Any] = {
        "name": "sample-network",
        "description": "Sample network contains 3 peer orgs, 1 orderer org",
        "version": "0.1",
        "client": {"organization": topology.organizations[0].domain, "credentialStore": {"path": "/tmp/hfc-kvs"}},
        "organizations": {},
        "orderers": {},
        "peers": {},
        "certificateAuthorities": {},
    }
    for owner in topology.everyone:
        kind = "peers" if isinstance(owner, Organization) else "orderers"
        nodes = owner.peers if isinstance(owner, Organization) else owner.orderers
        msp = home.user(owner, "Admin") / "msp"
        certificate, key = (next((msp / part).iterdir()) for part in ("signcerts", "keystore"))
        document["organizations"][owner.domain] = {
            "mspid": owner.msp_id,
            kind: [node.host(owner) for node in nodes],  # type: ignore[arg-type]  # nodes are of their owner's kind
            "certificateAuthorities": [],
            "users": {"Admin": {"cert": str(certificate), "private_key": str(key)}},
        }
        tls = shutil.copy(next((home.organization(owner) / "tlsca").glob("*.pem")), folder)
        for node in nodes:
            host = node.host(owner)  # type: ignore[arg-type]  # as above
            document[kind][host] = {
                "url": f"localhost:{node.port}",
                "eventUrl": f"localhost:{node.port}",
                "grpcOptions": {"grpc.ssl_target_name_override": host, "grpc.http2.keepalive_time": 15},
                "tlsCACerts": {"path": Path(tls).name},
            }
    (folder / "network.json").write_text(json.dumps(document))
    return folder / "network.json"


def deployed(shells: list[Shell], name: str) -> tuple[str, str]:
    """Deploy a chaincode, each organisation from its own folder; returns its server's address and package id."""
    address = f"127.0.0.1:{free_port()}"
    command = ("chaincode", "deploy", "--name", name, "--version", "1.0", "--address", address)
    first = shells[0](*command)
    assert first["waiting_for"] == ["Org2MSP", "Org3MSP"]
    assert shells[1](*command)["waiting_for"] == []
    assert shells[2](*command)["sequence"] == 1
    return address, first["package_id"]


def test_three_organisations_run_a_market_by_the_test_networks_files(theirs: Shell, tmp_path: Path) -> None:
    shells = [Shell(tmp_path / f"ours{number}") for number in (1, 2, 3)]
    for number, shell in enumerate(shells, 1):
        profile, msp = of_the_test_network(theirs, number, tmp_path / "test-network")
        made = shell("network", "import", str(profile), f"Org{number}MSP", "--msp", str(msp), "--channel", "market")
        assert (made["label"], made["channel"]) == (f"Admin@org{number}.example.com", "market")
    status = shells[1]("network", "status")
    assert [(one["name"], one["answering"], one["height"]) for one in status["nodes"]] == [
        ("peer0.org2.example.com", True, 1)
    ]
    with ExitStack() as stack:
        server = start_contract(Home(shells[0].home), *deployed(shells, "golden-grain"))
        stack.callback(stop_contract, server)
        labels = [f"Admin@org{number}.example.com" for number in (1, 2, 3)]
        accounts = [shell("wallet", "show", label)["account"] for shell, label in zip(shells, labels, strict=True)]
        operators = [word for account in accounts[1:] for word in ("--operator", account)]
        draft = tmp_path / "policy.json"
        shells[0]("policy", "found", *operators, "--draft", str(draft))
        founded = shells[0]("policy", "found", "--file", str(draft))
        assert founded["policy"]["organizations"] == ["Org1MSP", "Org2MSP", "Org3MSP"]
        assert founded["policy"]["operators"] == sorted(accounts[1:])
        assert _patiently(shells[2], "policy", "show")["policy"] == founded["policy"]
        assert shells[1]("policy", "follow")["policy"] is None
        refused = shells[0].run("credits", "mint", "500", "--json")
        proposal = refused.stderr.partition("proposal ")[2].split()[0]
        assert _patiently(shells[1], "policy", "vote", proposal)["carried"] is True
        assert _patiently(shells[0], "credits", "balance")["balance"] == 500
        paid = shells[0]("credits", "transfer", "200", "--to", accounts[2])
        assert _patiently(shells[2], "tx", "show", paid["transaction"])["code"] == "VALID"
        assert shells[2]("credits", "balance")["balance"] == 200
        run = shells[1].run("events", "follow", "--from-block", "0", "--limit", "3", "--json")
        assert [json.loads(line)["event"] for line in run.stdout.splitlines()] != []
        _channel_changes(theirs, shells, tmp_path)


def _channel_changes(theirs: Shell, shells: list[Shell], folder: Path) -> None:
    """The profiles name no orderer: where they are is in the channel."""
    assert shells[0]("channel", "info")["members"] == ["Org1MSP", "Org2MSP", "Org3MSP"]
    file = folder / "batch.update"
    shells[0]("channel", "update", "--batch-messages", "99", "--file", str(file))
    assert shells[0].refused("channel", "submit", str(file)) == "UPDATE_REFUSED"
    theirs("channel", "sign", str(file))
    shells[0]("channel", "submit", str(file))
    assert shells[0]("channel", "info")["batch_messages"] == 99


def test_a_network_json_of_hfc_py_is_enough(theirs: Shell, tmp_path: Path) -> None:
    file = of_hfc(theirs, tmp_path / "hfc")
    shells = [Shell(tmp_path / f"ours{number}") for number in (1, 2, 3)]
    for number, shell in enumerate(shells, 1):
        user = json.loads(file.read_text())["organizations"][f"org{number}.example.com"]["users"]["Admin"]
        identity = ("--certificate", user["cert"], "--key", user["private_key"])
        made = shell("network", "import", str(file), f"Org{number}MSP", *identity)
        assert made["organization"] == f"org{number}.example.com"
    status = shells[0]("network", "status")
    assert {one["answering"] for one in status["nodes"]} == {True}
    assert "orderer.example.com" in [one["name"] for one in status["nodes"]] or len(status["nodes"]) == 6
    address, package_id = deployed(shells, "kv")
    environment = os.environ | {"CHAINCODE_SERVER_ADDRESS": address, "CHAINCODE_ID": package_id}
    with subprocess.Popen([sys.executable, "-m", "goldengrain.chaincode.shim.example"], env=environment) as server:
        assert _patiently(shells[0], "tx", "submit", "--contract", "kv", "put", "colour", "gold")["code"] == "VALID"
        read = _patiently(shells[2], "tx", "evaluate", "--contract", "kv", "get", "colour")
        assert read["result"] == "gold"
        shells[0]("tx", "submit", "--contract", "kv", "event", "told", "gold")
        told = shells[1].run("events", "follow", "--contract", "kv", "--from-block", "0", "--limit", "1", "--json")
        assert json.loads(told.stdout)["payload"] == "gold"
        server.terminate()


def _patiently(shell: Shell, *words: str) -> Any:
    """Run a command until the peer of its organisation is as far as the others."""
    for _ in range(100):
        run = shell.run(*words, "--json")
        if run.returncode == 0:
            return json.loads(run.stdout)
    raise AssertionError(run.stderr)
