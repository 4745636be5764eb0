# ruff: noqa: E501 - tables of the texts that real peers answer with
"""The chaincode lifecycle: installing, approving, committing, upgrading, and what is refused on the way."""

from typing import Any

import pytest
from fabric_protos.peer.lifecycle import lifecycle_pb2
from google.protobuf.message import Message

from goldengrain.chaincode.shim.example import KeyValueStore
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import CommitError, GatewayError
from goldengrain.network.packaging import ccaas_package
from tests.network.embedded.services.deployed import Deployed, free_port

BACKING = "failed to invoke backing implementation of '{}': "
DENIED = "Failed to authorize invocation due to failed ACL check: "


async def call(
    net: Deployed, function: str, arguments: Message, *, number: int = 1, channel: str = "market", user: str = "Admin"
) -> tuple[int, str, bytes]:
    """Call a lifecycle function straight at a peer: status, message, payload."""
    admin = net.user(number, user)
    peer = await net.stack.enter_async_context(Endorser.connect(net.endpoint(number), admin.identity, admin.signer))
    answer = await peer.process("_lifecycle", function, arguments.SerializeToString(), channel=channel)
    return answer.response.status, answer.response.message, answer.response.payload


def definition(kind: Any, **fields: Any) -> Any:
    return kind(**({"name": "other", "version": "1", "sequence": 1} | fields))


def approval(**fields: Any) -> lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs:
    message: lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs = definition(
        lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs, **fields
    )
    return message


async def approve(net: Deployed, number: int, **fields: Any) -> None:
    gateway = await net.gateway(number, "Admin")
    contract = gateway.network("market").contract("_lifecycle")
    own = [net.organization(number).msp_id]
    await contract.submit(
        "ApproveChaincodeDefinitionForMyOrg", approval(**fields).SerializeToString(), endorsing_organizations=own
    )


async def commit(net: Deployed, organizations: list[str], **fields: Any) -> None:
    arguments = definition(lifecycle_pb2.CommitChaincodeDefinitionArgs, **fields)
    contract = (await net.gateway(1, "Admin")).network("market").contract("_lifecycle")
    await contract.submit(
        "CommitChaincodeDefinition", arguments.SerializeToString(), endorsing_organizations=organizations
    )


async def test_packages_are_installed_once_and_given_back(net: Deployed) -> None:
    package = ccaas_package("second_1.0", "127.0.0.1:9")
    arguments = lifecycle_pb2.InstallChaincodeArgs(chaincode_install_package=package.content)
    assert (await call(net, "InstallChaincode", arguments, channel=""))[0] == 200
    status, message, _ = await call(net, "InstallChaincode", arguments, channel="")
    assert status == 500
    assert message == BACKING.format("InstallChaincode") + (
        f"chaincode already successfully installed (package ID '{package.package_id}')"
    )
    _, _, payload = await call(
        net, "QueryInstalledChaincodes", lifecycle_pb2.QueryInstalledChaincodesArgs(), channel=""
    )
    installed = lifecycle_pb2.QueryInstalledChaincodesResult.FromString(payload).installed_chaincodes
    references = {one.package_id: dict(one.references) for one in installed}
    assert references[package.package_id] == {}
    used = references[net.package_ids["kv"]]["market"].chaincodes
    assert [(one.name, one.version) for one in used] == [("kv", "1.0")]
    query = lifecycle_pb2.GetInstalledChaincodePackageArgs(package_id=package.package_id)
    _, _, payload = await call(net, "GetInstalledChaincodePackage", query, channel="")
    fetched = lifecycle_pb2.GetInstalledChaincodePackageResult.FromString(payload)
    assert fetched.chaincode_install_package == package.content
    missing = lifecycle_pb2.QueryInstalledChaincodeArgs(package_id="x_1:00")
    _, message, _ = await call(net, "QueryInstalledChaincode", missing, channel="")
    assert message == BACKING.format("QueryInstalledChaincode") + "could not find chaincode with package id 'x_1:00'"


APPROVE = BACKING.format("ApproveChaincodeDefinitionForMyOrg")
REFUSED_APPROVALS: list[tuple[dict[str, Any], str]] = [
    ({"sequence": 5}, "requested sequence 5 is larger than the next available sequence number 1"),
    ({"sequence": 0}, "requested sequence is 0, but first definable sequence number is 1"),
    ({"name": "bad name"}, "error validating chaincode definition: invalid chaincode name 'bad name'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics"),
    ({"name": "qscc"}, "error validating chaincode definition: chaincode name 'qscc' is the name of a system chaincode"),
    ({"version": ""}, "error validating chaincode definition: invalid chaincode version ''. Versions can only consist of alphanumerics, '_', '-', '+', and '.'"),
    ({"name": "kv", "version": "9"}, "attempted to redefine the current committed sequence (1) for namespace kv with different parameters: expected Version '1.0' does not match passed Version '9'"),
    ({"name": "kv", "sequence": 3}, "requested sequence 3 is larger than the next available sequence number 2"),
]  # fmt: skip


async def test_approvals_that_are_refused(net: Deployed) -> None:
    for fields, message in REFUSED_APPROVALS:
        assert (await call(net, "ApproveChaincodeDefinitionForMyOrg", approval(**fields)))[:2] == (
            500,
            APPROVE + message,
        )
    client = await call(net, "ApproveChaincodeDefinitionForMyOrg", approval(), user="User1")
    assert client[:2] == (
        500,
        DENIED
        + "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy "
        "with policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain OU "
        "[ADMIN], MSP: [Org1MSP]]",
    )


async def test_an_approval_is_private_and_cannot_be_repeated(net: Deployed) -> None:
    await approve(net, 1)
    status, message, _ = await call(net, "ApproveChaincodeDefinitionForMyOrg", approval())
    assert (status, message) == (
        500,
        APPROVE + "attempted to redefine uncommitted sequence (1) for namespace other with unchanged content",
    )
    query = lifecycle_pb2.QueryApprovedChaincodeDefinitionArgs(name="other", sequence=1)
    status, _, payload = await call(net, "QueryApprovedChaincodeDefinition", query)
    approved = lifecycle_pb2.QueryApprovedChaincodeDefinitionResult.FromString(payload)
    assert (status, approved.version, approved.source.WhichOneof("Type")) == (200, "1", "unavailable")
    status, message, _ = await call(net, "QueryApprovedChaincodeDefinition", query, number=2)
    assert (status, message) == (
        500,
        BACKING.format("QueryApprovedChaincodeDefinition")
        + "could not fetch approved chaincode definition (name: 'other', sequence: '1') on channel 'market'",
    )


async def test_readiness_names_who_has_not_agreed_and_why(net: Deployed) -> None:
    await approve(net, 1)
    await approve(net, 2, version="2")
    arguments = definition(lifecycle_pb2.CheckCommitReadinessArgs)
    _, _, payload = await call(net, "CheckCommitReadiness", arguments)
    result = lifecycle_pb2.CheckCommitReadinessResult.FromString(payload)
    assert dict(result.approvals) == {"Org1MSP": True, "Org2MSP": False, "Org3MSP": False}
    assert {msp_id: list(one.items) for msp_id, one in result.mismatches.items()} == {
        "Org2MSP": ["EndorsementInfo"],
        "Org3MSP": ["ChaincodeParameters"],
    }


async def test_a_commit_takes_the_endorsing_organisations_own_approval_and_a_majority(net: Deployed) -> None:
    await approve(net, 1)
    arguments = definition(lifecycle_pb2.CommitChaincodeDefinitionArgs)
    status, message, _ = await call(net, "CommitChaincodeDefinition", arguments, number=2)
    prefix = BACKING.format("CommitChaincodeDefinition")
    assert (status, message) == (500, prefix + "chaincode definition not agreed to by this org (Org2MSP)")
    with pytest.raises(CommitError) as caught:
        await commit(net, ["Org1MSP"])
    assert caught.value.validation_name == "ENDORSEMENT_POLICY_FAILURE"
    missing = await call(net, "QueryChaincodeDefinition", lifecycle_pb2.QueryChaincodeDefinitionArgs(name="other"))
    assert missing[:2] == (404, "namespace other is not defined")
    await approve(net, 2)
    await commit(net, ["Org1MSP", "Org2MSP"])
    query = lifecycle_pb2.QueryChaincodeDefinitionArgs(name="other")
    _, _, payload = await call(net, "QueryChaincodeDefinition", query, user="User1")
    result = lifecycle_pb2.QueryChaincodeDefinitionResult.FromString(payload)
    assert (result.sequence, dict(result.approvals)) == (1, {"Org1MSP": True, "Org2MSP": True, "Org3MSP": False})
    again = await call(net, "CommitChaincodeDefinition", arguments)
    assert again[:2] == (500, prefix + "requested sequence is 1, but new definition must be sequence 2")
    everything = lifecycle_pb2.QueryChaincodeDefinitionsArgs()
    _, _, payload = await call(net, "QueryChaincodeDefinitions", everything, user="User1")
    names = [
        one.name for one in lifecycle_pb2.QueryChaincodeDefinitionsResult.FromString(payload).chaincode_definitions
    ]
    assert names == ["kv", "other"]


async def test_through_the_gateway_an_approval_needs_its_organisation_named(net: Deployed) -> None:
    contract = (await net.gateway(1, "Admin")).network("market").contract("_lifecycle")
    with pytest.raises(GatewayError) as caught:
        await contract.submit("ApproveChaincodeDefinitionForMyOrg", approval().SerializeToString())
    assert sorted(detail.msp_id for detail in caught.value.details) == ["Org2MSP", "Org3MSP"]
    for detail in caught.value.details:
        assert detail.message.startswith(
            f"chaincode response 500, {DENIED}Failed deserializing proposal creator during"
        )
        assert detail.message.endswith(f"[expected MSP ID {detail.msp_id}, received Org1MSP]")


async def test_an_upgrade_keeps_the_state_and_needs_each_organisations_approval(net: Deployed) -> None:
    await (await net.contract()).submit("put", "k", "before")
    package = ccaas_package("kv_2.0", f"127.0.0.1:{(port := free_port())}")
    fields: dict[str, Any] = {"name": "kv", "version": "2.0", "sequence": 2}
    source = lifecycle_pb2.ChaincodeSource(
        local_package=lifecycle_pb2.ChaincodeSource.Local(package_id=package.package_id)
    )
    for number in (1, 2):
        install = lifecycle_pb2.InstallChaincodeArgs(chaincode_install_package=package.content)
        await call(net, "InstallChaincode", install, number=number, channel="")
        await approve(net, number, source=source, **fields)
    await commit(net, ["Org1MSP", "Org2MSP"], **fields)
    await net.serve("kv2", KeyValueStore(), port, package.package_id)
    assert await (await net.contract()).evaluate("get", "k") == b"before"
    contract = await net.contract(3)
    transaction = await contract.propose("put", "k", "after").endorse()
    assert {one.msp_id for one in transaction.endorsements} == {"Org1MSP", "Org2MSP"}
    with pytest.raises(GatewayError, match="no peers available to evaluate chaincode kv in channel market"):
        await contract.evaluate("get", "k", target_organizations=["Org3MSP"])
    install = lifecycle_pb2.InstallChaincodeArgs(chaincode_install_package=package.content)
    await call(net, "InstallChaincode", install, number=3, channel="")
    await approve(net, 3, source=source, **fields)
    assert await contract.evaluate("get", "k", target_organizations=["Org3MSP"]) == b"before"
