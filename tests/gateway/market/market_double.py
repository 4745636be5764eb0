"""A ledger for tests that runs the market's own rules: the production contract behind Fabric's services."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import chaincode_event_pb2, chaincode_pb2, proposal_pb2, proposal_response_pb2

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.adapter import caller_of
from goldengrain.chaincode.market.contract import begin, event_name
from goldengrain.chaincode.market.driver import (
    Steps,
    encode_event,
    encode_result,
    encode_writes,
    found_keys,
    found_page,
)
from goldengrain.chaincode.market.records import EnclaveRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get
from goldengrain.chaincode.market.rules import Scan as RuleScan
from goldengrain.chaincode.protocol import digests, signatures
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.policy import Policy
from tests.gateway.ledger_double import LedgerDouble, Organization, RefusedError, organization

CONTRACT = "golden-grain"
START = 1_800_000_000


@dataclass
class MovingClock:
    """Ledger time that a test moves."""

    now: int = START

    def now_ns(self) -> int:
        return self.now * 10**9


def three_members() -> list[Organization]:
    return [organization(f"Org{number}MSP", "peer") for number in (1, 2, 3)]


@dataclass
class MarketLedger(LedgerDouble):
    members: list[Organization] = field(default_factory=three_members)

    def simulate(
        self, spec: chaincode_pb2.ChaincodeSpec, asked: common_pb2.ChannelHeader, creator: bytes
    ) -> proposal_pb2.ChaincodeAction:
        arguments = list(spec.input.args)
        context = Context(asked.tx_id, asked.channel_id, CONTRACT, asked.timestamp.seconds, caller_of(creator))
        read: dict[str, None] = {}
        try:
            steps = self._run(arguments, context, read)
        except ContractError as refusal:
            raise RefusedError(f"chaincode response {refusal.status}, {refusal.response_message}") from refusal
        name = event_name(arguments)
        event = b""
        if name is not None:
            event = chaincode_event_pb2.ChaincodeEvent(
                chaincode_id=CONTRACT,
                tx_id=asked.tx_id,
                event_name=name,
                payload=encode_event(steps, encode_writes(steps.done)),
            ).SerializeToString()
        return proposal_pb2.ChaincodeAction(
            results=self._results(read, steps.done),
            events=event,
            response=proposal_response_pb2.Response(status=200, payload=encode_result(steps.done)),
            chaincode_id=spec.chaincode_id,
        )

    def _run(self, arguments: list[bytes], context: Context, read: dict[str, None]) -> Steps:
        steps = begin(arguments, context)
        while steps.request is not None:
            steps.send(self._read(steps.request, read))
        return steps

    def _read(self, request: Get | RuleScan[object], read: dict[str, None]) -> Found:
        if isinstance(request, Get):
            names = [key.name for key in request.keys]
            read.update(dict.fromkeys(names))
            return found_keys(request, [self.state[name][0] if name in self.state else None for name in names])
        there = sorted(self.state)
        first = bisect_left(there, request.bookmark or request.start)
        last = bisect_left(there, request.end)
        page = there[first : min(last, first + request.size)]
        bookmark = there[first + request.size] if first + request.size < last else ""
        return found_page(request, [(name, self.state[name][0]) for name in page], bookmark)

    def _results(self, read: dict[str, None], effects: Effects) -> bytes:
        reads = []
        for name in read:
            version = self.state[name][1] if name in self.state else None
            at = kv_rwset_pb2.Version(block_num=version[0], tx_num=version[1]) if version else None
            reads.append(kv_rwset_pb2.KVRead(key=name, version=at))
        writes = [
            kv_rwset_pb2.KVWrite(key=name, value=value or b"", is_delete=value is None)
            for name, value in encode_writes(effects)
        ]
        public = kv_rwset_pb2.KVRWSet(reads=reads, writes=writes).SerializeToString()
        one = rwset_pb2.NsReadWriteSet(namespace=CONTRACT, rwset=public)
        return rwset_pb2.TxReadWriteSet(ns_rwset=[one]).SerializeToString()

    def register_enclave(self, number: int, operator: Organization, policy: Policy) -> bytes:
        """Put a registered enclave on the ledger, as after a good quote; returns its signing key."""
        private = number.to_bytes(32, "big")
        public = signatures.public_key(private)
        enclave = digests.enclave_id(public)
        record = EnclaveRecord(
            id=enclave,
            signing_key=public,
            encryption_key=bytes(1216),
            operator=caller_of(operator.user.identity.serialized).account,
            operator_msp=operator.msp_id,
            root=policy.roots[0].id,
            fmspc=bytes(6),
            measurement=policy.measurements[0],
            status="UpToDate",
            simulated=True,
            bundle=policy.bundle,
            policy_number=1,
            registered=START,
            expires=START + 86_400,
            transaction="0" * 64,
        )
        self.state[keys.enclave(enclave).name] = (record.encode(), (0, number))
        return private
