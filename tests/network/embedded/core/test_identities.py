"""Who is a valid member, in which role, and whose signature counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2, msp_config_pb2, msp_principal_pb2

from goldengrain.network.embedded.blocks import P256_ORDER, sign_low_s
from goldengrain.network.embedded.errors import ConfigError, IdentityError, PrincipalError
from goldengrain.network.embedded.msp import Identity, Msp, MspManager

ROLE = msp_principal_pb2.MSPRole
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Authority:
    """A CA made in the test."""

    name: str
    issuer: "Authority | None" = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.certificate = self._build(self.name, self.key.public_key(), [], self.issuer or self, is_ca=True)

    def _build(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        units: Sequence[str],
        issuer: "Authority",
        *,
        is_ca: bool = False,
        start: datetime = NOW - timedelta(days=1),
        end: datetime = NOW + timedelta(days=1000),
    ) -> x509.Certificate:
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, name)]
            + [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.name)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        return builder.sign(issuer.key, hashes.SHA256())

    def issue(self, *units: str, **options: object) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        return self._build("user", key.public_key(), units, self, **options), key  # type: ignore[arg-type]

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def revocation_list(self, *certificates: x509.Certificate) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(NOW)
            .next_update(NOW + timedelta(days=1))
        )
        for certificate in certificates:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(NOW).build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


ROOT = Authority("root")
MIDDLE = Authority("middle", ROOT)
OTHER = Authority("other")


def config(**fields: object) -> msp_config_pb2.FabricMSPConfig:
    made = msp_config_pb2.FabricMSPConfig(
        name="OrgMSP",
        root_certs=[ROOT.pem],
        intermediate_certs=[MIDDLE.pem],
        fabric_node_ous=msp_config_pb2.FabricNodeOUs(
            enable=True,
            client_ou_identifier=msp_config_pb2.FabricOUIdentifier(organizational_unit_identifier="client"),
            peer_ou_identifier=msp_config_pb2.FabricOUIdentifier(
                organizational_unit_identifier="peer", certificate=ROOT.pem
            ),
            admin_ou_identifier=msp_config_pb2.FabricOUIdentifier(organizational_unit_identifier="admin"),
            orderer_ou_identifier=msp_config_pb2.FabricOUIdentifier(organizational_unit_identifier="orderer"),
        ),
    )
    made.MergeFrom(msp_config_pb2.FabricMSPConfig(**fields))  # type: ignore[arg-type]
    return made


MSP = Msp(config())


def identity(certificate: x509.Certificate, msp: Msp = MSP) -> Identity:
    return msp.identity(certificate.public_bytes(Encoding.PEM))


ACCEPTED = {
    "client of the root": ROOT.issue("client")[0],
    "client of the intermediate": MIDDLE.issue("client")[0],
    "peer of the root": ROOT.issue("peer")[0],
    "not valid yet": ROOT.issue("client", start=NOW + timedelta(days=10), end=NOW + timedelta(days=20))[0],
    "expired": ROOT.issue("client", start=NOW - timedelta(hours=10), end=NOW - timedelta(hours=9))[0],
    "further units": ROOT.issue("client", "department1")[0],
}
REFUSED = {
    "another CA": (OTHER.issue("client")[0], "unknown authority"),
    "self-signed": (Authority("user").issue("client")[0], "unknown authority"),
    "a CA itself": (ROOT.certificate, "Certificate Authority equals true cannot be used as an identity"),
    "an intermediate CA": (MIDDLE.certificate, "Certificate Authority equals true"),
    "no unit": (ROOT.issue()[0], "does not have an OU that resolves to client, peer, orderer, or admin role"),
    "no known unit": (ROOT.issue("boss")[0], "OUs: [boss], MSP: [OrgMSP]"),
    "two roles": (ROOT.issue("client", "admin")[0], "not a combination of them"),
    "peer of the wrong CA": (MIDDLE.issue("peer")[0], "does not have an OU"),
    "older than the root": (
        ROOT.issue("client", start=NOW - timedelta(days=400), end=NOW - timedelta(days=390))[0],
        "unknown authority",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    MSP.validate(identity(ACCEPTED[case]))


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    certificate, text = REFUSED[case]
    for _ in range(2):
        with pytest.raises(IdentityError) as caught:
            MSP.validate(identity(certificate))
        assert text in str(caught.value)


def test_a_revoked_certificate_is_refused() -> None:
    good, bad = ROOT.issue("client")[0], ROOT.issue("client")[0]
    msp = Msp(config(revocation_list=[ROOT.revocation_list(bad)]))
    msp.validate(identity(good, msp))
    with pytest.raises(IdentityError, match="revoked"):
        msp.validate(identity(bad, msp))
    forged = Msp(config(revocation_list=[Authority("root").revocation_list(good)]))
    forged.validate(identity(good, forged))


def role(name: "ROLE.MSPRoleType.ValueType", msp_id: str = "OrgMSP") -> msp_principal_pb2.MSPPrincipal:
    return msp_principal_pb2.MSPPrincipal(
        principal_classification=msp_principal_pb2.MSPPrincipal.ROLE,
        principal=ROLE(msp_identifier=msp_id, role=name).SerializeToString(),
    )


@pytest.mark.parametrize("unit", ["client", "peer", "admin", "orderer"])
def test_a_unit_is_one_role_and_a_member(unit: str) -> None:
    who = identity(ROOT.issue(unit)[0])
    MSP.satisfies(who, role(ROLE.MEMBER))
    for name in ("client", "peer", "admin", "orderer"):
        wanted = role(ROLE.MSPRoleType.Value(name.upper()))
        if name == unit:
            MSP.satisfies(who, wanted)
        else:
            with pytest.raises(PrincipalError, match=f"does not contain OU \\[{name.upper()}\\], MSP: \\[OrgMSP\\]"):
                MSP.satisfies(who, wanted)


def test_a_listed_admin_needs_no_unit_of_its_own() -> None:
    certificate = ROOT.issue("client")[0]
    msp = Msp(config(admins=[certificate.public_bytes(Encoding.PEM)]))
    msp.satisfies_role(identity(certificate, msp), ROLE.ADMIN)


def test_without_node_ous_there_are_members_only() -> None:
    plain = Msp(msp_config_pb2.FabricMSPConfig(name="OrgMSP", root_certs=[ROOT.pem]))
    who = identity(ROOT.issue()[0], plain)
    plain.satisfies(who, role(ROLE.MEMBER))
    with pytest.raises(PrincipalError, match="NodeOUs not activated"):
        plain.satisfies(who, role(ROLE.PEER))


def test_other_principals() -> None:
    certificate = ROOT.issue("client", "department1")[0]
    who = identity(certificate)
    kinds = msp_principal_pb2.MSPPrincipal
    serialized = identities_pb2.SerializedIdentity(
        mspid="OrgMSP", id_bytes=certificate.public_bytes(Encoding.PEM)
    ).SerializeToString()
    itself = kinds(principal_classification=kinds.IDENTITY, principal=serialized)
    MSP.satisfies(who, itself)
    with pytest.raises(PrincipalError, match="do not match"):
        MSP.satisfies(identity(ROOT.issue("client")[0]), itself)
    unit = msp_principal_pb2.OrganizationUnit(msp_identifier="OrgMSP", organizational_unit_identifier="department1")
    of_unit = kinds(principal_classification=kinds.ORGANIZATION_UNIT, principal=unit.SerializeToString())
    MSP.satisfies(who, of_unit)
    with pytest.raises(PrincipalError):
        MSP.satisfies(identity(ROOT.issue("client")[0]), of_unit)
    both = msp_principal_pb2.CombinedPrincipal(principals=[itself, of_unit, role(ROLE.CLIENT)])
    MSP.satisfies(who, kinds(principal_classification=kinds.COMBINED, principal=both.SerializeToString()))
    for bad in (
        role(ROLE.MEMBER, "OtherMSP"),
        kinds(principal_classification=kinds.COMBINED),
        kinds(principal_classification=kinds.ANONYMITY),
        kinds(principal_classification=kinds.ROLE, principal=b"\xff"),
    ):
        with pytest.raises(PrincipalError):
            MSP.satisfies(who, bad)


def test_signatures() -> None:
    certificate, key = ROOT.issue("client")
    who = identity(certificate)
    signature = sign_low_s(key, b"data")
    r, s = utils.decode_dss_signature(signature)
    for _ in range(2):
        assert who.verify(b"data", signature)
        assert not who.verify(b"other", signature)
        assert not who.verify(b"data", utils.encode_dss_signature(r, P256_ORDER - s))
        assert not who.verify(b"data", b"")
        assert not who.verify(b"data", signature + b"\0")
    assert not identity(ROOT.issue("client")[0]).verify(b"data", signature)


def test_serialized_identities() -> None:
    manager = MspManager([MSP])
    pem = ROOT.issue("client")[0].public_bytes(Encoding.PEM)

    def serialized(msp_id: str, raw: bytes) -> bytes:
        return identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=raw).SerializeToString()

    assert manager.validated(serialized("OrgMSP", pem)) is manager.deserialize(serialized("OrgMSP", pem))
    for bad in (b"\xff", serialized("NoMSP", pem), serialized("OrgMSP", b"no certificate"), b""):
        with pytest.raises(IdentityError):
            manager.deserialize(bad)
    rsa_key = rsa.generate_private_key(65537, 2048)
    rsa_certificate = ROOT._build("user", rsa_key.public_key(), ["client"], ROOT)
    with pytest.raises(IdentityError, match="P-256"):
        manager.deserialize(serialized("OrgMSP", rsa_certificate.public_bytes(Encoding.PEM)))


@pytest.mark.parametrize(
    "broken",
    [
        msp_config_pb2.FabricMSPConfig(name="OrgMSP"),
        msp_config_pb2.FabricMSPConfig(name="OrgMSP", root_certs=[b"no certificate"]),
        config(
            fabric_node_ous=msp_config_pb2.FabricNodeOUs(
                client_ou_identifier=msp_config_pb2.FabricOUIdentifier(certificate=OTHER.pem)
            )
        ),
    ],
)
def test_a_broken_setup_is_named(broken: msp_config_pb2.FabricMSPConfig) -> None:
    with pytest.raises(ConfigError, match="OrgMSP"):
        Msp(broken)
    wrapped = msp_config_pb2.MSPConfig(type=1).SerializeToString()
    with pytest.raises(ConfigError, match="type 1"):
        Msp.from_bytes(wrapped)
