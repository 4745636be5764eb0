"""Recorded chaincode cases of a real Fabric network, played to the embedded one: same answers, same read-write sets."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2
from google.protobuf.json_format import MessageToDict

from goldengrain.gateway.errors import GatewayError
from goldengrain.network import lifecycle
from goldengrain.network.creation import create
from goldengrain.network.home import Home
from tests.network.embedded.services.conftest import quick_topology
from tests.network.embedded.services.deployed import Deployed, free_port, running
from tests.network.embedded.services.recorded_chaincode import RecordedChaincode, Recording
from tests.network.embedded.services.test_lifecycle import approve, commit

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_PLAYED = {
    "bad_message_type": "ends the stream",
    "execute_timeout": "waits for the timeout; see test_faults",
    "fill_250": "played first, to fill the state",
    "init_not_required": "nothing is sent",
    "invoke_chaincode_panic": "ends the stream",
    "not_installed": "nothing is sent; see test_transactions",
    "panic_mid_tx": "ends the stream",
    "register_wrong_id": "never registers",
    "server_down": "nothing is sent; see test_faults",
    "sessions": "not a case",
}


def collections(folder: Path) -> Any:
    """The recorded definition's collections."""
    signed = proposal_pb2.SignedProposal.FromString((folder / "lifecycle" / "commit_ok.01.request.pb").read_bytes())
    proposal = proposal_pb2.Proposal.FromString(signed.proposal_bytes)
    payload = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
    spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(payload.input).chaincode_spec
    return lifecycle_pb2.CommitChaincodeDefinitionArgs.FromString(spec.input.args[1]).collections


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory, shared: Path | None) -> AsyncIterator[dict[str, list[str]]]:
    """The differences of every case, all played in the recorded order on one network."""
    if shared is None:
        pytest.skip("no recorded Fabric vectors beside this checkout")
    folder = shared / "fabric-vectors"
    home = Home(tmp_path_factory.mktemp("recorded") / "home")
    create(home, quick_topology())
    async with running(home) as net:
        chaincodes = {name: RecordedChaincode(name) for name in ("vec", "other", "initcc")}
        options: dict[str, dict[str, Any]] = {
            "vec": {"collections": collections(folder)},
            "other": {"policy": "OR('Org1MSP.peer','Org2MSP.peer','Org3MSP.peer')"},
            "initcc": {"init_required": True},
        }
        for name, chaincode in chaincodes.items():
            address = f"127.0.0.1:{free_port()}"
            deployment = await lifecycle.deploy(home, name, "1", address, **options[name])
            server = await chaincode.serve(address, deployment.package_id)
            net.stack.push_async_callback(server.stop, 0.1)
        for name in ("badreg", "down", "noinst"):  # defined, but nothing is installed
            await approve(net, 1, name=name)
            await approve(net, 2, name=name)
            await commit(net, ["Org1MSP", "Org2MSP"], name=name)
        yield await play_all(net, folder / "chaincode", chaincodes)


async def play_all(net: Deployed, folder: Path, chaincodes: dict[str, RecordedChaincode]) -> dict[str, list[str]]:
    cases = json.loads((folder / "cases.json").read_text())
    found: dict[str, list[str]] = {}
    for name, case in cases.items():
        path = next((p for p in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz") if p.exists()), None)
        if path is None or (name in NOT_PLAYED and name != "fill_250"):
            continue
        recording = Recording.read(path)
        differences: list[str] = []
        for step in case["steps"]:
            for chaincode in chaincodes.values():
                chaincode.play(recording, step["tx_id"])
                chaincode.differences = []
            differences += await play(net, step, recording.client(step["tx_id"]))
            for chaincode in chaincodes.values():
                differences += chaincode.differences
        found[name] = differences
    return found


async def play(net: Deployed, step: dict[str, Any], client: int) -> list[str]:
    """Send one recorded call as a user of organisation number `client`, and compare the outcome."""
    contract = await net.contract(client, step["chaincode"])
    transient = {key: value.encode() for key, value in (step.get("transient") or {}).items()}
    proposal = contract.propose(
        *step["args"],
        transient=transient,
        endorsing_organizations=step["orgs"],
        is_init=step.get("is_init", False),
    )
    ids = {step["tx_id"]: proposal.transaction_id}
    differences: list[str] = []
    try:
        if step["mode"] == "evaluate":
            payload = await proposal.evaluate()
            compare("payload", translate(step["response"]["payload"], ids), text(payload), differences)
            return differences
        transaction = await proposal.endorse()
        action = transaction.chaincode_action
        compare("payload", translate(step["response"]["payload"], ids), text(action.response.payload), differences)
        if "rwset" in step:
            compare("read-write set", recorded_rwset(step["rwset"]), rwset(action.results), differences)
        if step.get("commit"):
            status = await (await transaction.submit()).status()
            compare("code", step["commit"]["code"], status.code_name, differences)
    except GatewayError as error:
        expected = step.get("error", {"code_name": "OK", "message": "", "details": []})
        compare("code", expected["code_name"], getattr(error.grpc_code, "name", ""), differences)
        messages = [translate(detail["message"], ids) for detail in expected["details"]]
        compare("details", messages, [detail.message for detail in error.details], differences)
        if expected["message"] not in str(error):
            differences.append(f"{error} does not hold {expected['message']}")
        return differences
    except KeyError as error:
        return [*differences, f"no error, where {step.get('error')} was recorded ({error!r})"]
    return differences


def compare(what: str, expected: Any, got: Any, differences: list[str]) -> None:
    if expected != got:
        differences.append(f"{what}: {got!r}, recorded {expected!r}")


def translate(recorded: Any, ids: dict[str, str]) -> Any:
    if not isinstance(recorded, str):
        return recorded
    for old, new in ids.items():
        recorded = recorded.replace(old, new)
    return recorded


def text(raw: bytes) -> Any:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"hex": raw.hex()}


def masked(value: Any) -> Any:
    """Versions are blocks of one run: only that there is one is compared. Collections' hash needs no mask."""
    if isinstance(value, list):
        return [masked(entry) for entry in value]
    if isinstance(value, dict):
        return {key: ("known" if key == "version" else masked(entry)) for key, entry in value.items()}
    return value


def recorded_rwset(recorded: dict[str, Any]) -> Any:
    return [
        (
            entry["namespace"],
            masked(without_summary(entry["kv"])),
            [(part["collection"], masked(part["hashed"])) for part in entry["collections"]],
        )
        for entry in recorded["ns"]
    ]


def rwset(results: bytes) -> Any:
    return [
        (
            entry.namespace,
            masked(without_summary(plain(kv_rwset_pb2.KVRWSet.FromString(entry.rwset)))),
            [
                (part.collection_name, masked(plain(kv_rwset_pb2.HashedRWSet.FromString(part.hashed_rwset))))
                for part in entry.collection_hashed_rwset
            ],
        )
        for entry in rwset_pb2.TxReadWriteSet.FromString(results).ns_rwset
    ]


def plain(message: Any) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def without_summary(kv: dict[str, Any]) -> dict[str, Any]:
    """The Merkle summary of a long range holds versions; the core's own tests recompute it."""
    for info in kv.get("range_queries_info", []):
        if "reads_merkle_hashes" in info:
            info["reads_merkle_hashes"] = len(base64.b64decode(info["reads_merkle_hashes"]["max_level_hashes"][0]))
    return kv


async def test_every_recorded_case_is_answered_as_real_peers_did(played: dict[str, list[str]]) -> None:
    different = {name: differences for name, differences in played.items() if differences}
    assert len(played) > 40
    assert not different, json.dumps(different, indent=1)
