"""A channel's configuration as far as blocks depend on it: organisations, policies, SmartBFT's consenters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from fabric_protos.common import configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2

from tests.blockcheck.identities import Organization, Organizations, valid_signature
from tests.blockcheck.policies import Signed, satisfied


@dataclass(frozen=True)
class Consenter:
    """An orderer of a SmartBFT channel: its number and certificate."""

    number: int
    certificate: x509.Certificate

    def signed(self, data: bytes, signature: bytes) -> bool:
        return valid_signature(self.certificate, data, signature)


class Config:
    """One configuration."""

    def __init__(self, envelope: configtx_pb2.ConfigEnvelope) -> None:
        self.sequence = envelope.config.sequence
        self._root = envelope.config.channel_group
        groups = [*self._groups("Orderer").items(), *self._groups("Application").items()]
        found = {}
        self._names: dict[str, str] = {}
        for name, group in groups:
            msp = msp_config_pb2.MSPConfig.FromString(group.values["MSP"].value)
            organization = Organization(msp_config_pb2.FabricMSPConfig.FromString(msp.config))
            found[organization.msp_id] = organization
            self._names[organization.msp_id] = name
        self.organizations = Organizations(found)
        self.consenters = self._consenters()

    def _groups(self, part: str) -> dict[str, configtx_pb2.ConfigGroup]:
        return dict(self._root.groups[part].groups) if part in self._root.groups else {}

    def _consenters(self) -> dict[int, Consenter]:
        orderer = self._root.groups["Orderer"]
        kind = orderer_pb2.ConsensusType.FromString(orderer.values["ConsensusType"].value).type
        if kind != "BFT":
            return {}
        mapping = configuration_pb2.Orderers.FromString(orderer.values["Orderers"].value).consenter_mapping
        return {one.id: Consenter(one.id, x509.load_pem_x509_certificate(one.identity)) for one in mapping}

    def implicit_policy(self, msp_id: str) -> str:
        """Where the endorsement policy of an organisation's own collection stands."""
        return f"/Channel/Application/{self._names.get(msp_id, msp_id)}/Endorsement"

    def allows(self, path: str, signed: Sequence[Signed]) -> bool:
        """Whether signatures satisfy a policy of the channel, such as /Channel/Application/Writers."""
        _, *names = path.strip("/").split("/")
        group = self._root
        for name in names[:-1]:
            if name not in group.groups:
                return False
            group = group.groups[name]
        return names[-1] in group.policies and self._holds(group, names[-1], signed)

    def _holds(self, group: configtx_pb2.ConfigGroup, name: str, signed: Sequence[Signed]) -> bool:
        policy = group.policies[name].policy
        if policy.type == policies_pb2.Policy.SIGNATURE:
            return self.signatures(policies_pb2.SignaturePolicyEnvelope.FromString(policy.value), signed)
        if policy.type != policies_pb2.Policy.IMPLICIT_META:
            return False
        rule = policies_pb2.ImplicitMetaPolicy.FromString(policy.value)
        groups = [sub for sub in group.groups.values() if rule.sub_policy in sub.policies]
        count = sum(self._holds(sub, rule.sub_policy, signed) for sub in groups)
        needed = {
            policies_pb2.ImplicitMetaPolicy.ANY: min(1, len(group.groups)),
            policies_pb2.ImplicitMetaPolicy.ALL: len(group.groups),
            policies_pb2.ImplicitMetaPolicy.MAJORITY: len(group.groups) // 2 + 1,
        }[rule.rule]
        return count >= needed

    def signatures(self, policy: policies_pb2.SignaturePolicyEnvelope, signed: Sequence[Signed]) -> bool:
        """Whether signatures satisfy a signature policy."""
        return satisfied(policy, self.organizations, signed)
