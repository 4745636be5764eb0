"""Key-level endorsement policies: who has to endorse a change of one key, in place of the chaincode's policy.

    await stub.set_validation_parameter(key, signed_by("Org1MSP", "Org3MSP"))

A validation parameter on a key that the same transaction does not write, and that does not exist, is dropped by the
peer without an error; one that is no policy commits and then makes every change of the key impossible. Hence bytes
that do not parse are refused before they leave.
"""

from collections.abc import Mapping

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2
from google.protobuf.message import DecodeError

from goldengrain.chaincode.shim.errors import InvalidArgument

VALIDATION_PARAMETER = "VALIDATION_PARAMETER"
_ROLES = {
    "MEMBER": msp_principal_pb2.MSPRole.MEMBER,
    "ADMIN": msp_principal_pb2.MSPRole.ADMIN,
    "CLIENT": msp_principal_pb2.MSPRole.CLIENT,
    "PEER": msp_principal_pb2.MSPRole.PEER,
    "ORDERER": msp_principal_pb2.MSPRole.ORDERER,
}


class KeyPolicy:
    """A key's endorsement policy to be put together and changed: one identity of each named organisation signs.

    policy = KeyPolicy.from_bytes(await stub.validation_parameter(key))
    policy.add("Org4MSP")
    policy.remove("Org1MSP")
    await stub.set_validation_parameter(key, policy.to_bytes())
    """

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        """Begin with roles by MSP id, or with nobody."""
        self._roles: dict[str, str] = {}
        for msp_id, role in (roles or {}).items():
            self.add(msp_id, role=role)

    @classmethod
    def from_bytes(cls, policy: bytes | None) -> "KeyPolicy":
        """Read a policy in which everybody named signs; None has nobody yet.

        Raises InvalidArgument for any other policy: adding somebody to "two of three" would have no one meaning.
        """
        if policy is None:
            return cls()
        envelope = parse(policy)
        rules, needed = envelope.rule.n_out_of.rules, envelope.rule.n_out_of.n
        signers = sorted(rule.signed_by for rule in rules if rule.WhichOneof("Type") == "signed_by")
        if needed != len(rules) or signers != list(range(len(envelope.identities))):
            raise InvalidArgument("this policy does not ask all whom it names: make a new one with signed_by()")
        return cls(dict(_named(principal) for principal in envelope.identities))

    @property
    def organizations(self) -> list[str]:
        """MSP ids, sorted."""
        return sorted(self._roles)

    @property
    def roles(self) -> dict[str, str]:
        """Which role of an organisation signs, by MSP id."""
        return dict(self._roles)

    def add(self, *msp_ids: str, role: str = "PEER") -> None:
        """Ask these organisations too. Raises InvalidArgument for an unknown role or an empty id."""
        if role not in _ROLES:
            raise InvalidArgument(f"unknown role {role!r}: one of {', '.join(_ROLES)}")
        if "" in msp_ids:
            raise InvalidArgument("an organisation is named by its MSP id, which is not empty")
        self._roles.update(dict.fromkeys(msp_ids, role))

    def remove(self, *msp_ids: str) -> None:
        """Ask these organisations no longer; those that are not asked anyway are no error."""
        for msp_id in msp_ids:
            self._roles.pop(msp_id, None)

    def to_bytes(self, at_least: int | None = None) -> bytes:
        """The policy's bytes: `at_least` of the organisations, all unless told otherwise.

        Raises InvalidArgument if nobody is named, or for a number that cannot be met.
        """
        needed = len(self._roles) if at_least is None else at_least
        if not self._roles:
            raise InvalidArgument("a key-level policy needs at least one organisation's MSP id")
        if not 1 <= needed <= len(self._roles):
            raise InvalidArgument(f"at_least={needed} cannot be met by {len(self._roles)} organisation(s)")
        rules = [policies_pb2.SignaturePolicy(signed_by=index) for index in range(len(self._roles))]
        envelope = policies_pb2.SignaturePolicyEnvelope(
            rule=policies_pb2.SignaturePolicy(
                n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=needed, rules=rules),
            ),
            identities=[_role_principal(msp_id, _ROLES[self._roles[msp_id]]) for msp_id in self.organizations],
        )
        return envelope.SerializeToString(deterministic=True)


def signed_by(*msp_ids: str, at_least: int | None = None, role: str = "PEER") -> bytes:
    """Policy bytes: `at_least` (all, unless told otherwise) of these organisations, each by one identity of `role`.

    Raises InvalidArgument for no organisation, an unknown role, or a number that cannot be met.
    """
    policy = KeyPolicy()
    policy.add(*msp_ids, role=role)
    return policy.to_bytes(at_least)


def organizations_of(policy: bytes) -> list[str]:
    """MSP ids that a policy's role principals name, sorted. Raises InvalidArgument for bytes that are no policy."""
    names: set[str] = set()
    for principal in parse(policy).identities:
        if principal.principal_classification == msp_principal_pb2.MSPPrincipal.ROLE:
            names.add(_role(principal).msp_identifier)
    return sorted(names)


def parse(policy: bytes) -> policies_pb2.SignaturePolicyEnvelope:
    """Parse policy bytes. Raises InvalidArgument for bytes that are none."""
    try:
        envelope = policies_pb2.SignaturePolicyEnvelope.FromString(policy)
    except DecodeError as error:
        raise InvalidArgument("a validation parameter has to be a SignaturePolicyEnvelope: see signed_by()") from error
    if not envelope.HasField("rule") or envelope.rule.WhichOneof("Type") is None:
        raise InvalidArgument("a validation parameter without a rule would lock its key for good: see signed_by()")
    return envelope


def _role_principal(
    msp_id: str, role: msp_principal_pb2.MSPRole.MSPRoleType.ValueType
) -> msp_principal_pb2.MSPPrincipal:
    return msp_principal_pb2.MSPPrincipal(
        principal_classification=msp_principal_pb2.MSPPrincipal.ROLE,
        principal=msp_principal_pb2.MSPRole(msp_identifier=msp_id, role=role).SerializeToString(),
    )


def _role(principal: msp_principal_pb2.MSPPrincipal) -> msp_principal_pb2.MSPRole:
    try:
        return msp_principal_pb2.MSPRole.FromString(principal.principal)
    except DecodeError as error:
        raise InvalidArgument("a validation parameter names a role that can't be read: see signed_by()") from error


def _named(principal: msp_principal_pb2.MSPPrincipal) -> tuple[str, str]:
    if principal.principal_classification != msp_principal_pb2.MSPPrincipal.ROLE:
        raise InvalidArgument("this policy names more than roles of organisations: make a new one with signed_by()")
    role = _role(principal)
    return role.msp_identifier, msp_principal_pb2.MSPRole.MSPRoleType.Name(role.role)
