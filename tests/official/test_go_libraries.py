"""What our shim makes is what Go's chaincode libraries make and take: metadata, ids of senders, key-level policies."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2

from goldengrain.chaincode.shim import ClientIdentity, KeyPolicy, contracts, signed_by
from tests.chaincode.shim.accounts import Accounts, Kinds, Watched
from tests.chaincode.shim.identities import certificate_of, creator_of
from tests.conftest import need

pytestmark = [pytest.mark.check, pytest.mark.timeout(600)]

HERE = Path(__file__).resolve().parent
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    need("go", shutil.which("go"), "install Go 1.24 or newer")
    program = tmp_path_factory.mktemp("go") / "libraries"
    subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "go_libraries", check=True)
    plain = {"metadata": contracts(Accounts()).metadata.decode(), "creator": creator_of("alice")}

    def asked(metadata: bytes = b"", creator: bytes = b"", policy: bytes = b"", **lists: list[str]) -> dict[str, Any]:
        question = {
            "metadata": json.loads(metadata or plain["metadata"]),
            "creator": base64.b64encode(creator or plain["creator"]).decode(),
            "policy": base64.b64encode(policy).decode(),
            "add": ["Org1MSP"],
            **lists,
        }
        done = subprocess.run([program], input=json.dumps(question), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return asked


def test_metadata_has_the_form_that_gos_contract_api_demands(ask: Ask) -> None:
    found = ask(metadata=contracts(Accounts(), Kinds(), Watched(), title="Bank", version="2.0").metadata)
    assert {"Accounts:open", "Accounts:List", "kinds:pairs", "Watched:known"} <= set(found["functions"])


@pytest.mark.parametrize(
    "parts",
    [
        [(NameOID.COMMON_NAME, "alice")],
        [(NameOID.ORGANIZATIONAL_UNIT_NAME, "client"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "sales")],
        [
            (NameOID.COUNTRY_NAME, "US"),
            (NameOID.STATE_OR_PROVINCE_NAME, "North Carolina"),
            (NameOID.LOCALITY_NAME, "Durham"),
            (NameOID.STREET_ADDRESS, "1 Main St; rear"),
            (NameOID.POSTAL_CODE, "27701"),
            (NameOID.ORGANIZATION_NAME, 'Hyper, "ledger" <x> a=b\\c'),
            (NameOID.ORGANIZATION_NAME, "second"),
            (NameOID.EMAIL_ADDRESS, "a@b"),
            (NameOID.DOMAIN_COMPONENT, "example"),
            (NameOID.COMMON_NAME, "first"),
            (NameOID.COMMON_NAME, " #ä "),
            (NameOID.SERIAL_NUMBER, "+7"),
        ],
    ],
    ids=["name", "units", "everything"],
)
def test_a_senders_id_is_the_one_that_go_chaincode_keeps(
    ask: Ask, parts: list[tuple[x509.ObjectIdentifier, str]]
) -> None:
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "#ca ")])
    pem = certificate_of(subject, b'{"attrs":{"role":"buyer"}}', issuer).public_bytes(Encoding.PEM)
    creator = identities_pb2.SerializedIdentity(mspid="Org1MSP", id_bytes=pem).SerializeToString()
    found, ours = ask(creator=creator), ClientIdentity.from_bytes(creator)
    assert base64.b64decode(ours.id) == base64.b64decode(found["id"])
    assert (ours.msp_id, ours.attributes["role"]) == (found["msp_id"], found["role"])


def test_key_policies_are_the_same_bytes(ask: Ask) -> None:
    found = ask(add=["Org3MSP", "Org1MSP"])
    assert bytes.fromhex(found["policy"]) == signed_by("Org1MSP", "Org3MSP")
    ours = KeyPolicy.from_bytes(signed_by("Org1MSP", "Org2MSP"))
    ours.add("Org4MSP")
    ours.remove("Org1MSP")
    found = ask(policy=signed_by("Org1MSP", "Org2MSP"), add=["Org4MSP"], remove=["Org1MSP"])
    assert bytes.fromhex(found["policy"]) == ours.to_bytes()
    assert sorted(found["organizations"]) == ours.organizations
