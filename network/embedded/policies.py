"""Policies: which sets of signatures are enough.

`SignaturePolicy` evaluates a common.SignaturePolicyEnvelope: each identity is used once. `ImplicitMetaPolicy` counts
how many sub-groups' policies of one name are satisfied (ANY, ALL, MAJORITY). `PolicyTree` holds all policies of a
channel configuration by their path (`/Channel/Application/Writers`), and evaluates peer.ApplicationPolicy messages,
which hold a signature policy or the path of a channel policy.

A set of signatures is first reduced to the identities that really signed (`valid_identities`): an identity counts once,
whatever it is repeated; unknown identities and bad signatures are left out. As in Fabric an identity's validity is
judged only when a principal asks for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fabric_protos.common import policies_pb2
from fabric_protos.peer import policy_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.errors import IdentityError, PolicyError, PolicySyntaxError
from goldengrain.network.embedded.msp import Identity, MspManager

_Rule = Callable[[Sequence[Identity], list[bool]], bool]
_MAX_DEPTH = 32
_REMEMBERED = 1024


@dataclass(frozen=True)
class SignedData:
    """Some bytes, who is said to have signed them (a serialised identity), and the signature."""

    data: bytes
    identity: bytes
    signature: bytes


def valid_identities(signed: Sequence[SignedData], msps: MspManager) -> list[Identity]:
    """The distinct identities of known organisations whose signatures are good, in the order of `signed`."""
    seen: set[tuple[str, bytes]] = set()
    identities: list[Identity] = []
    for entry in signed:
        try:
            identity = msps.deserialize(entry.identity)
        except IdentityError:
            continue
        key = (identity.msp_id, identity.fingerprint)
        if key in seen or not identity.verify(entry.data, entry.signature):
            continue
        seen.add(key)
        identities.append(identity)
    return identities


class Policy(Protocol):
    """Something that a set of identities satisfies or not."""

    def check(self, identities: Sequence[Identity]) -> None:
        """Raises PolicyError when the identities are not enough."""


class RejectAll:
    """The policy that stands in for one that is missing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def check(self, identities: Sequence[Identity]) -> None:
        """Always refuses."""
        raise PolicyError(f"No such policy: '{self._name}'")


class SignaturePolicy:
    """N of a list of principals must have signed, nested as deep as the envelope says."""

    def __init__(self, envelope: policies_pb2.SignaturePolicyEnvelope, msps: MspManager) -> None:
        """Raises PolicySyntaxError when the envelope is malformed."""
        if envelope.version != 0:
            raise PolicySyntaxError(
                f"this evaluator only understands messages of version 0, but version was {envelope.version}"
            )
        self.envelope = envelope
        self._msps = msps
        self._rule = self._compile(envelope.rule, 0)

    @classmethod
    def from_bytes(cls, data: bytes, msps: MspManager) -> "SignaturePolicy":
        """From a serialised SignaturePolicyEnvelope; raises PolicySyntaxError."""
        try:
            return cls(policies_pb2.SignaturePolicyEnvelope.FromString(data), msps)
        except DecodeError as error:
            raise PolicySyntaxError(f"Error unmarshalling to SignaturePolicy: {error}") from error

    def check(self, identities: Sequence[Identity]) -> None:
        """Raises PolicyError when the identities are not enough."""
        if not self._rule(identities, [False] * len(identities)):
            raise PolicyError("signature set did not satisfy policy")

    def _compile(self, rule: policies_pb2.SignaturePolicy, depth: int) -> _Rule:
        if depth > _MAX_DEPTH:
            raise PolicySyntaxError(f"the policy is nested deeper than {_MAX_DEPTH}")
        kind = rule.WhichOneof("Type")
        if kind == "signed_by":
            return self._signed_by(rule.signed_by)
        if kind == "n_out_of":
            rules = [self._compile(part, depth + 1) for part in rule.n_out_of.rules]
            return _n_out_of(rule.n_out_of.n, rules)
        raise PolicySyntaxError("Unknown type: a signature policy is signed_by or n_out_of")

    def _signed_by(self, index: int) -> _Rule:
        if not 0 <= index < len(self.envelope.identities):
            raise PolicySyntaxError(
                f"identity index out of range, requested {index}, "
                f"but identities length is {len(self.envelope.identities)}"
            )
        principal = self.envelope.identities[index]
        known: dict[tuple[str, bytes], bool] = {}

        def satisfies(identity: Identity) -> bool:
            key = (identity.msp_id, identity.fingerprint)
            answer = known.get(key)
            if answer is None:
                if len(known) >= _REMEMBERED:
                    known.clear()
                answer = known[key] = self._msps.satisfies(identity, principal)
            return answer

        def rule(identities: Sequence[Identity], used: list[bool]) -> bool:
            for position, identity in enumerate(identities):
                if not used[position] and satisfies(identity):
                    used[position] = True
                    return True
            return False

        return rule


def _n_out_of(needed: int, rules: Sequence[_Rule]) -> _Rule:
    def rule(identities: Sequence[Identity], used: list[bool]) -> bool:
        satisfied = 0
        for part in rules:
            attempt = list(used)
            if part(identities, attempt):
                satisfied += 1
                used[:] = attempt
        return satisfied >= needed

    return rule


class ImplicitMetaPolicy:
    """ANY, ALL or MAJORITY of the sub-groups' policies of one name."""

    def __init__(self, meta: policies_pb2.ImplicitMetaPolicy, parts: Sequence[Policy]) -> None:
        self.sub_policy = meta.sub_policy
        self.parts = parts
        rules = policies_pb2.ImplicitMetaPolicy
        self.threshold = {rules.ANY: 1, rules.ALL: len(parts), rules.MAJORITY: len(parts) // 2 + 1}[meta.rule]
        if not parts:
            self.threshold = 0

    def check(self, identities: Sequence[Identity]) -> None:
        """Raises PolicyError with Fabric's text when too few parts are satisfied."""
        satisfied = 0
        for part in self.parts:
            if satisfied == self.threshold:
                return
            try:
                part.check(identities)
            except PolicyError:
                continue
            satisfied += 1
        if satisfied < self.threshold:
            raise PolicyError(
                f"implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy "
                f"requires {self.threshold} of the '{self.sub_policy}' sub-policies to be satisfied"
            )


class PolicyTree:
    """All policies of one channel configuration, by path."""

    def __init__(self, policies: Mapping[str, Policy], msps: MspManager) -> None:
        self._policies = policies
        self._msps = msps
        self._application: dict[bytes, Policy] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._policies

    def paths(self) -> list[str]:
        """The paths of all policies, sorted."""
        return sorted(self._policies)

    def get(self, path: str) -> Policy:
        """The policy at a path such as `/Channel/Application/Writers`; one that always refuses if there is none."""
        return self._policies.get(path) or RejectAll(path)

    def check(self, path: str, signed: Sequence[SignedData]) -> None:
        """Evaluate signatures against the policy at `path`; raises PolicyError with Fabric's text."""
        self.get(path).check(valid_identities(signed, self._msps))

    def application(self, policy: bytes) -> Policy:
        """Compile, once, the policy in a serialised peer.ApplicationPolicy; raises PolicySyntaxError."""
        known = self._application.get(policy)
        if known is None:
            known = self._application[policy] = self._compile_application(policy)
        return known

    def _compile_application(self, policy: bytes) -> Policy:
        try:
            message = policy_pb2.ApplicationPolicy.FromString(policy)
        except DecodeError as error:
            raise PolicySyntaxError(f"failed to unmarshal ApplicationPolicy bytes: {error}") from error
        kind = message.WhichOneof("Type")
        if kind == "signature_policy":
            return SignaturePolicy(message.signature_policy, self._msps)
        if kind == "channel_config_policy_reference":
            path = message.channel_config_policy_reference
            if path not in self._policies:
                raise PolicySyntaxError(f"failed to retrieve policy for reference {path}")
            return self._policies[path]
        raise PolicySyntaxError("unsupported policy type <nil>")

    def signature(self, envelope: bytes) -> Policy:
        """The policy in a serialised SignaturePolicyEnvelope (key-level policies); raises PolicySyntaxError."""
        return SignaturePolicy.from_bytes(envelope, self._msps)
