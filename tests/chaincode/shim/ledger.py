"""The peer's side of a transaction, without a network: committed state in, write set out.

It follows what a real peer was recorded to do: reads see committed state only, batches of 100, a query let go with its
last batch, pages whole, an empty value recorded as a delete, `<TYPE> failed: transaction ID: <id>: <cause>`.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass, field

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_pb2, proposal_response_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage, WriteRecord

BATCH = 100
PAGES_ONLY_READ = "unsuppored transaction. Paginated queries are supported only in a read-only transaction"
Address = tuple[str, str]
"""Collection (empty for public state) and key."""


@dataclass
class Ledger:
    """Committed state. `values` and `metadata` by collection and key."""

    values: dict[Address, bytes] = field(default_factory=dict)
    metadata: dict[Address, dict[str, bytes]] = field(default_factory=dict)
    history: dict[str, list[kv_query_result_pb2.KeyModification]] = field(default_factory=dict)
    collections: frozenset[str] = frozenset({"", "colA", "colB"})
    callees: dict[str, proposal_response_pb2.Response] = field(default_factory=dict)
    couchdb: bool = False
    """Whether the peer answers rich queries: here selectors of fields that have to be equal."""


class RefusedError(Exception):
    """The cause that follows `<TYPE> failed: transaction ID: <id>: `."""


class Transaction:
    """A transaction's context on the peer: answers requests, collects writes."""

    def __init__(self, ledger: Ledger, channel_id: str, tx_id: str) -> None:
        self.ledger = ledger
        self.channel_id = channel_id
        self.tx_id = tx_id
        self.writes: list[tuple[str, str, str, bytes]] = []
        self.requests: list[ChaincodeMessage] = []
        self.open_queries: dict[str, list[bytes]] = {}
        self._ids = itertools.count(1)
        self._paged = False

    def answer(self, request: ChaincodeMessage) -> ChaincodeMessage:
        """RESPONSE or ERROR to a request of the chaincode."""
        self.requests.append(request)
        name = ChaincodeMessage.Type.Name(request.type)
        try:
            kind, payload = ChaincodeMessage.RESPONSE, getattr(self, f"_{name.lower()}")(request.payload)
        except RefusedError as cause:
            kind = ChaincodeMessage.ERROR
            payload = f"{name} failed: transaction ID: {self.tx_id}: {cause}".encode()
        return ChaincodeMessage(type=kind, payload=payload, txid=self.tx_id, channel_id=self.channel_id)

    @property
    def kinds(self) -> list[str]:
        """Types of the requests so far."""
        return [ChaincodeMessage.Type.Name(request.type) for request in self.requests]

    def commit(self) -> None:
        """Apply the writes, as a valid transaction's."""
        for kind, collection, key, value in self.writes:
            if kind == "put":
                self.ledger.values[collection, key] = value
            elif kind in ("delete", "purge"):
                self.ledger.values.pop((collection, key), None)
            else:
                self.ledger.metadata[collection, key] = {kind: value}

    def _get_state(self, payload: bytes) -> bytes:
        request = shim_pb2.GetState.FromString(payload)
        return self._value(request.collection, request.key)

    def _get_state_multiple(self, payload: bytes) -> bytes:
        request = shim_pb2.GetStateMultiple.FromString(payload)
        values = [self._value(request.collection, key) for key in request.keys]
        return shim_pb2.GetStateMultipleResult(values=values).SerializeToString()

    def _get_private_data_hash(self, payload: bytes) -> bytes:
        request = shim_pb2.GetState.FromString(payload)
        value = self._value(request.collection, request.key)
        return hashlib.sha256(value).digest() if value else b""

    def _put_state(self, payload: bytes) -> bytes:
        request = shim_pb2.PutState.FromString(payload)
        return self._write("put" if request.value else "delete", request.collection, request.key, request.value)

    def _del_state(self, payload: bytes) -> bytes:
        request = shim_pb2.DelState.FromString(payload)
        return self._write("delete", request.collection, request.key)

    def _purge_private_data(self, payload: bytes) -> bytes:
        request = shim_pb2.PurgePrivateState.FromString(payload)
        return self._write("purge", request.collection, request.key)

    def _put_state_metadata(self, payload: bytes) -> bytes:
        request = shim_pb2.PutStateMetadata.FromString(payload)
        return self._write(request.metadata.metakey, request.collection, request.key, request.metadata.value)

    def _write_batch_state(self, payload: bytes) -> bytes:
        for record in shim_pb2.WriteBatchState.FromString(payload).rec:
            if record.type == WriteRecord.PUT_STATE_METADATA:
                self._write(record.metadata.metakey, record.collection, record.key, record.metadata.value)
            else:
                kind = {WriteRecord.PUT_STATE: "put", WriteRecord.DEL_STATE: "delete"}.get(record.type, "purge")
                self._write(kind, record.collection, record.key, record.value)
        return b""

    def _get_state_metadata(self, payload: bytes) -> bytes:
        request = shim_pb2.GetStateMetadata.FromString(payload)
        found = self.ledger.metadata.get((request.collection, request.key), {})
        entries = [shim_pb2.StateMetadata(metakey=name, value=value) for name, value in found.items()]
        return shim_pb2.StateMetadataResult(entries=entries).SerializeToString()

    def _get_state_by_range(self, payload: bytes) -> bytes:
        request = shim_pb2.GetStateByRange.FromString(payload)
        metadata = shim_pb2.QueryMetadata.FromString(request.metadata)
        start = metadata.bookmark or request.startKey
        found = [
            kv_query_result_pb2.KV(namespace="cc", key=key, value=value).SerializeToString()
            for (collection, key), value in sorted(self.ledger.values.items(), key=lambda item: item[0][1].encode())
            if collection == request.collection and key >= start and (not request.endKey or key < request.endKey)
        ]
        if metadata.pageSize:
            last = json.dumps(request.endKey)[1:-1] if self.ledger.couchdb else ""
            return self._page(found, metadata.pageSize, None if len(found) > metadata.pageSize else last)
        return self._first_batch(found)

    def _get_query_result(self, payload: bytes) -> bytes:
        if not self.ledger.couchdb:
            raise RefusedError("ExecuteQuery not supported for leveldb")
        request = shim_pb2.GetQueryResult.FromString(payload)
        metadata = shim_pb2.QueryMetadata.FromString(request.metadata)
        selector = json.loads(request.query)["selector"].items()
        found = [
            kv_query_result_pb2.KV(namespace="cc", key=key, value=value).SerializeToString()
            for (collection, key), value in sorted(self.ledger.values.items())
            if collection == request.collection and selector <= json.loads(value).items()
        ]
        if not metadata.pageSize:
            return self._first_batch(found)
        skip = int(metadata.bookmark.removeprefix("g1AAAA") or 0)
        return self._page(found[skip:], metadata.pageSize, f"g1AAAA{skip + metadata.pageSize}")

    def _get_history_for_key(self, payload: bytes) -> bytes:
        key = shim_pb2.GetHistoryForKey.FromString(payload).key
        return self._first_batch([entry.SerializeToString() for entry in self.ledger.history.get(key, [])])

    def _query_state_next(self, payload: bytes) -> bytes:
        return self._batch(shim_pb2.QueryStateNext.FromString(payload).id)

    def _query_state_close(self, payload: bytes) -> bytes:
        query = shim_pb2.QueryStateClose.FromString(payload).id
        self.open_queries.pop(query, None)
        return shim_pb2.QueryResponse(id=query).SerializeToString()

    def _invoke_chaincode(self, payload: bytes) -> bytes:
        name = chaincode_pb2.ChaincodeSpec.FromString(payload).chaincode_id.name
        if name not in self.ledger.callees:
            raise RefusedError(f"execute failed: chaincode {name} not found")
        answer = self.ledger.callees[name].SerializeToString()
        message = ChaincodeMessage(
            type=ChaincodeMessage.COMPLETED, payload=answer, txid=self.tx_id, channel_id=self.channel_id
        )
        return message.SerializeToString()

    def _value(self, collection: str, key: str) -> bytes:
        self._check(collection)
        return self.ledger.values.get((collection, key), b"")

    def _write(self, kind: str, collection: str, key: str, value: bytes = b"") -> bytes:
        self._check(collection)
        if self._paged:
            raise RefusedError(
                "unsuppored transaction. Paginated queries are supported only in a read-only transaction"
            )
        self.writes.append((kind, collection, key, value))
        return b""

    def _check(self, collection: str) -> None:
        if collection not in self.ledger.collections:
            raise RefusedError(f"collection {self.channel_id}/cc/{collection} could not be found")

    def _page(self, found: list[bytes], size: int, bookmark: str | None = None) -> bytes:
        """A page; its bookmark is the next key where none is given."""
        self._paged = True
        if bookmark is None:
            bookmark = kv_query_result_pb2.KV.FromString(found[size]).key
        page = found[:size]
        metadata = shim_pb2.QueryResponseMetadata(fetched_records_count=len(page), bookmark=bookmark)
        return shim_pb2.QueryResponse(
            results=[shim_pb2.QueryResultBytes(resultBytes=raw) for raw in page],
            id=str(next(self._ids)),
            metadata=metadata.SerializeToString(),
        ).SerializeToString()

    def _first_batch(self, found: list[bytes]) -> bytes:
        query = str(next(self._ids))
        self.open_queries[query] = found
        return self._batch(query)

    def _batch(self, query: str) -> bytes:
        if query not in self.open_queries:
            raise RefusedError("query iterator not found")
        found = self.open_queries[query]
        batch, rest = found[:BATCH], found[BATCH:]
        if rest:
            self.open_queries[query] = rest
        else:
            del self.open_queries[query]
        return shim_pb2.QueryResponse(
            results=[shim_pb2.QueryResultBytes(resultBytes=raw) for raw in batch], has_more=bool(rest), id=query
        ).SerializeToString()
