"""Key-level endorsement policies: who has to endorse a change of one key, in place of the chaincode's policy.

    await stub.set_validation_parameter(key, signed_by("Org1MSP", "Org3MSP"))

A validation parameter on a key that the same transaction does not write, and that does not exist, is dropped by the
peer without an error; one that is no policy commits and then makes every change of the key impossible. Hence bytes
that do not parse are refused before they leave.
"""

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


def signed_by(*msp_ids: str, at_least: int | None = None, role: str = "PEER") -> bytes:
    """Policy bytes: `at_least` (all, unless told otherwise) of these organisations, each by one identity of `role`.

    Raises InvalidArgument for no organisation, an unknown role, or a number that cannot be met.
    """
    organizations = sorted(set(msp_ids))
    needed = len(organizations) if at_least is None else at_least
    if not organizations or "" in organizations:
        raise InvalidArgument("a key-level policy needs at least one organisation's MSP id")
    if not 1 <= needed <= len(organizations):
        raise InvalidArgument(f"at_least={needed} cannot be met by {len(organizations)} organisation(s)")
    if role not in _ROLES:
        raise InvalidArgument(f"unknown role {role!r}: one of {', '.join(_ROLES)}")
    rules = [policies_pb2.SignaturePolicy(signed_by=index) for index in range(len(organizations))]
    envelope = policies_pb2.SignaturePolicyEnvelope(
        rule=policies_pb2.SignaturePolicy(n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=needed, rules=rules)),
        identities=[_role_principal(msp_id, _ROLES[role]) for msp_id in organizations],
    )
    return envelope.SerializeToString(deterministic=True)


def organizations_of(policy: bytes) -> list[str]:
    """MSP ids that a policy's role principals name, sorted. Raises InvalidArgument for bytes that are no policy."""
    names: set[str] = set()
    for principal in parse(policy).identities:
        if principal.principal_classification == msp_principal_pb2.MSPPrincipal.ROLE:
            names.add(msp_principal_pb2.MSPRole.FromString(principal.principal).msp_identifier)
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
