"""The discovery service: a channel's organisations, peers and orderers, and who has to endorse what.

Anyone who may write to a channel may ask about it; about the peers without a channel, an admin of the peer's own
organisation. Whoever may not, and whoever names an unknown channel, is told `access denied` and nothing else.

A client's TLS certificate is not asked for by the embedded network's servers, so that its hash in the request is not
compared with anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from fabric_protos.common import policies_pb2
from fabric_protos.discovery import protocol_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.peer import proposal_response_pb2
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.access import ADMINS, WRITERS, AccessDenied, check_channel, check_local
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import IdentityError, PolicySyntaxError
from goldengrain.network.embedded.failures import RpcError, abort, proto_error
from goldengrain.network.embedded.layouts import (
    Principal,
    PrincipalSet,
    TooManySets,
    merged,
    principal_sets,
    to_message,
)
from goldengrain.network.embedded.membership import Announcements
from goldengrain.network.embedded.policies import Policy, SignedData

if TYPE_CHECKING:
    from goldengrain.network.embedded.peer import EmbeddedPeer

__all__ = ["DiscoveryService", "NoDescriptorError"]

Result = protocol_pb2.QueryResult
Interest = proposal_response_pb2.ChaincodeInterest


class NoDescriptorError(Exception):
    """Nobody can endorse this; the text is Fabric's, which clients are not told."""


class DiscoveryService:
    """The discovery service of one peer."""

    def __init__(self, peer: EmbeddedPeer, peers: Sequence[EmbeddedPeer], announcements: Announcements) -> None:
        """Make it; `peers` are all of the network."""
        self._peer = peer
        self._peers = peers
        self._announcements = announcements

    def handler(self) -> grpc.GenericRpcHandler:
        """Make the handler for a server."""
        method = grpc.unary_unary_rpc_method_handler(
            self._serve,
            request_deserializer=protocol_pb2.SignedRequest.FromString,
            response_serializer=protocol_pb2.Response.SerializeToString,
        )
        service = protocol_pb2.DESCRIPTOR.services_by_name["Discovery"].full_name
        return grpc.method_handlers_generic_handler(service, {"Discover": method})

    async def _serve(
        self,
        request: protocol_pb2.SignedRequest,
        context: grpc.aio.ServicerContext[protocol_pb2.SignedRequest, protocol_pb2.Response],
    ) -> protocol_pb2.Response:
        try:
            return self.discover(request)
        except RpcError as error:
            await abort(context, error)

    def discover(self, request: protocol_pb2.SignedRequest) -> protocol_pb2.Response:
        """Answer every query of a signed request.

        Raises:
            RpcError: the request says not who asks.

        """
        try:
            asked = protocol_pb2.Request.FromString(request.payload)
        except DecodeError as error:
            text = f"failed parsing request: {proto_error(request.payload)}"
            raise RpcError(grpc.StatusCode.UNKNOWN, text) from error
        if not asked.HasField("authentication"):
            raise RpcError(grpc.StatusCode.UNKNOWN, "access denied, no authentication info in request")
        identity = asked.authentication.client_identity
        if not identity:
            raise RpcError(grpc.StatusCode.UNKNOWN, "access denied, client identity wasn't supplied")
        signed = SignedData(request.payload, identity, request.signature)
        return protocol_pb2.Response(results=[self._answer(query, signed) for query in asked.queries])

    def _answer(self, query: protocol_pb2.Query, signed: SignedData) -> Result:
        channel = self._peer.channels.get(query.channel)
        try:
            self._admit(query.channel, channel, signed)
        except AccessDenied:
            return _error("access denied")
        kind = query.WhichOneof("query")
        if channel is None:
            return self._local() if kind == "local_peers" else _error("unknown or missing request type")
        if kind == "config_query":
            return Result(config_result=_config(channel))
        if kind == "peer_query":
            return self._members(channel, query.peer_query.filter)
        if kind == "cc_query":
            return self._endorsers(channel, query.cc_query)
        return _error("unknown or missing request type")

    def _admit(self, name: str, channel: Channel | None, signed: SignedData) -> None:
        if channel is not None:
            check_channel(channel.config, WRITERS, signed)
            return
        if name:
            raise AccessDenied(f"channel {name} doesn't exist")
        try:
            good = self._peer.msps().deserialize(signed.identity).verify(signed.data, signed.signature)
        except IdentityError as error:
            raise AccessDenied(str(error)) from error
        if not good:
            raise AccessDenied("the signature is not good")
        check_local(self._peer.msps(), self._peer.msp_id, ADMINS, signed.identity)

    # -- who is there ------------------------------------------------------------------------------------------------

    def _local(self) -> Result:
        found = protocol_pb2.PeerMembershipResult()
        for peer in self._listed():
            found.peers_by_org[peer.msp_id].peers.append(self._announcements.peer(peer))
        return Result(members=found)

    def _members(self, channel: Channel, interest: Interest) -> Result:
        try:
            able = self._with_chaincodes(channel, interest, self._allowed(channel, interest))
        except NoDescriptorError as error:
            return _error(str(error))
        found = protocol_pb2.PeerMembershipResult()
        for msp_id in dict.fromkeys(peer.msp_id for peer in self._listed()):
            found.peers_by_org[msp_id].SetInParent()
        for peer in able:
            found.peers_by_org[peer.msp_id].peers.append(self._announcements.peer(peer, channel))
        return Result(members=found)

    def _listed(self) -> list[EmbeddedPeer]:
        return [peer for peer in self._peers if peer.listed]

    def _allowed(self, channel: Channel, interest: Interest) -> list[EmbeddedPeer]:
        """Peers on the channel that are members of all collections whose private data are read."""
        members: set[str] | None = None
        for call in interest.chaincodes:
            if channel.definitions.policy(channel.config, call.name) is None:
                raise NoDescriptorError(
                    f"No metadata was found for chaincode {call.name} in channel {channel.channel_id}"
                )
            for name in () if call.no_private_reads else call.collection_names:
                collection = channel.definitions.collection(channel.config, call.name, name)
                if collection is None:
                    raise NoDescriptorError(f"collection {name} wasn't found in configuration of {call.name}")
                members = set(collection.members) if members is None else members & collection.members
        return [
            peer
            for peer in self._listed()
            if channel.channel_id in peer.channels and (members is None or peer.msp_id in members)
        ]

    def _with_chaincodes(
        self, channel: Channel, interest: Interest, peers: Sequence[EmbeddedPeer]
    ) -> list[EmbeddedPeer]:
        names = [call.name for call in interest.chaincodes]
        return [peer for peer in peers if all(peer.can_run(channel.channel_id, name) for name in names)]

    # -- who has to endorse ------------------------------------------------------------------------------------------

    def _endorsers(self, channel: Channel, query: protocol_pb2.ChaincodeQuery) -> Result:
        problem = _problem(query)
        if problem:
            return _error(problem)
        found = protocol_pb2.ChaincodeQueryResult()
        for interest in query.interests:
            try:
                found.content.append(self.descriptor(channel, interest))
            except NoDescriptorError:
                text = text_format.MessageToString(interest, as_one_line=True).replace(" {", ":{").replace("{ ", "{")
                text = text.replace(": ", ":").replace(" }", "}")
                return _error(f"failed constructing descriptor for {text}")
        return Result(cc_query_res=found)

    def descriptor(self, channel: Channel, interest: Interest) -> protocol_pb2.EndorsementDescriptor:
        """Work out the layouts for calls of chaincodes and collections, and the peers of each group.

        Raises:
            NoDescriptorError: nobody can endorse them.

        """
        allowed = self._allowed(channel, interest)
        try:
            sets = merged([principal_sets(policy) for policy in _policies(channel, interest)])
        except (PolicySyntaxError, TooManySets) as error:
            raise NoDescriptorError(str(error)) from error
        principals = dict.fromkeys(principal for one in sets for principal in one)
        groups = {principal: _satisfying(channel, allowed, principal) for principal in principals}
        sets = [one for one in sets if _enough(one, groups)]
        if not sets:
            raise NoDescriptorError("no peer combination can satisfy the endorsement policy")
        groups = {principal: self._with_chaincodes(channel, interest, peers) for principal, peers in groups.items()}
        sets = [one for one in sets if _enough(one, groups)]
        if not sets:
            raise NoDescriptorError("required chaincodes are not installed on sufficient peers")
        return self._described(channel, interest.chaincodes[0].name, sets, groups)

    def _described(
        self,
        channel: Channel,
        chaincode: str,
        sets: Sequence[PrincipalSet],
        groups: Mapping[Principal, Sequence[EmbeddedPeer]],
    ) -> protocol_pb2.EndorsementDescriptor:
        names = {principal: f"G{number}" for number, principal in enumerate(groups)}
        found = protocol_pb2.EndorsementDescriptor(chaincode=chaincode)
        used = dict.fromkeys(principal for one in sets for principal in one)
        for principal in used:
            described = [self._announcements.peer(peer, channel) for peer in groups[principal]]
            found.endorsers_by_groups[names[principal]].peers.extend(described)
        for one in sets:
            layout = found.layouts.add()
            for principal, count in one.items():
                layout.quantities_by_group[names[principal]] = count
        return found


def _problem(query: protocol_pb2.ChaincodeQuery) -> str:
    if not query.interests:
        return "chaincode query must have at least one chaincode interest"
    if not all(interest.chaincodes for interest in query.interests):
        return "chaincode interest must contain at least one chaincode"
    if not all(call.name for interest in query.interests for call in interest.chaincodes):
        return "chaincode name in interest cannot be empty"
    return ""


def _policies(channel: Channel, interest: Interest) -> list[Policy]:
    """All policies that have to be satisfied: chaincodes', collections' and keys' own."""
    tree, found = channel.config.policies, list[Policy]()
    for call in interest.chaincodes:
        own = channel.definitions.policy(channel.config, call.name)
        if own is not None and not call.disregard_namespace_policy:
            found.append(tree.application(own))
        for name in call.collection_names:
            collection = channel.definitions.collection(channel.config, call.name, name)
            if collection is not None and collection.endorsement_policy:
                found.append(tree.application(collection.endorsement_policy))
        found += [_key_policy(channel, policy) for policy in call.key_policies]
    if not found:
        raise NoDescriptorError("no principal sets remained after filtering")
    return found


def _key_policy(channel: Channel, policy: policies_pb2.SignaturePolicyEnvelope) -> Policy:
    return channel.config.policies.signature(policy.SerializeToString())


def _satisfying(channel: Channel, peers: Sequence[EmbeddedPeer], principal: Principal) -> list[EmbeddedPeer]:
    msps, message = channel.config.msps, to_message(principal)
    return [peer for peer in peers if msps.satisfies(msps.deserialize(peer.signer.identity), message)]


def _enough(one: PrincipalSet, groups: Mapping[Principal, Sequence[EmbeddedPeer]]) -> bool:
    return all(len(groups[principal]) >= count for principal, count in one.items())


def _config(channel: Channel) -> protocol_pb2.ConfigResult:
    """The organisations' MSPs and the orderers' addresses, by MSP id."""
    found = protocol_pb2.ConfigResult()
    root = channel.config.config.channel_group
    for part in ("Orderer", "Application"):
        for group in root.groups[part].groups.values():
            raw = msp_config_pb2.MSPConfig.FromString(group.values["MSP"].value).config
            message = msp_config_pb2.FabricMSPConfig.FromString(raw)
            found.msps[message.name].CopyFrom(message)
    organizations = channel.config.orderer_organizations.values()
    own = any(organization.endpoints for organization in organizations)
    for organization in organizations:
        endpoints = found.orderers[organization.msp_id]
        for address in organization.endpoints if own else channel.config.orderer_addresses:
            host, _, port = address.rpartition(":")
            if port.isdecimal():
                endpoints.endpoint.add(host=host, port=int(port))
        endpoints.SetInParent()
    return found


def _error(content: str) -> Result:
    return Result(error=protocol_pb2.Error(content=content))
