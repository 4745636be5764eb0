"""What a running chaincode may ask of its peer, and the answers: the state side of one transaction.

A `ChaincodeTransaction` belongs to one chaincode in one transaction. A chaincode that is called by another has its own,
on the same simulator. It keeps the open range queries, looks up collections and who may use them, and turns each
request of the chaincode stream into a call of the simulator.

The checks here are the peer's. That keys are not empty, that composite keys stay out of plain ranges and the like are
the shim's business, as on Fabric.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.network.embedded.definitions import Collection
from goldengrain.network.embedded.errors import LedgerError, SimulationError
from goldengrain.network.embedded.failures import ChaincodeExecutionError, StateRequestError, proto_error
from goldengrain.network.embedded.simulator import StateRange, TxSimulator

__all__ = ["ChaincodeTransaction", "CollectionLookup", "InvokeChaincode"]

Kind = chaincode_shim_pb2.ChaincodeMessage
_BATCH = 100
_TOTAL_LIMIT = 100_000
_T = TypeVar("_T", bound=Message)

CollectionLookup = Callable[[str], Collection | None]
"""Finds a collection of the running chaincode; records the definition's keys as read."""

InvokeChaincode = Callable[["ChaincodeTransaction", str, str, chaincode_pb2.ChaincodeInput], Awaitable[bytes]]
"""Calls another chaincode: (caller, channel or "", name, input) -> the callee's serialised ChaincodeMessage."""


@dataclass
class _OpenQuery:
    """A range or a history that is being read: serialised records, and how to release it."""

    records: Iterator[bytes]
    release: Callable[[], None] = lambda: None
    pending: list[bytes] = field(default_factory=list)


@dataclass
class ChaincodeTransaction:
    """One chaincode within one transaction.

    Attributes:
        channel_id: the channel.
        tx_id: the transaction.
        chaincode: name of the chaincode, the namespace of its state.
        creator_msp_id: organisation of the client.
        simulator: reads and writes.
        collection: finds collections of this chaincode.
        invoke: calls another chaincode.
        is_init: the chaincode runs as INIT, which may not use private data.

    """

    channel_id: str
    tx_id: str
    chaincode: str
    creator_msp_id: str
    simulator: TxSimulator
    collection: CollectionLookup
    invoke: InvokeChaincode
    is_init: bool = False
    _queries: dict[str, _OpenQuery] = field(default_factory=dict)
    _collections: dict[str, Collection | None] = field(default_factory=dict)

    def request(self, kind: int, payload: bytes) -> bytes | Awaitable[bytes]:
        """Answer one request; see `StreamTransaction`."""
        if kind == Kind.INVOKE_CHAINCODE:
            return self._invoke(_parse(chaincode_pb2.ChaincodeSpec, payload))
        parser, answer = self._ANSWERS[kind]
        try:
            return answer(self, _parse(parser, payload))
        except (SimulationError, LedgerError) as error:
            raise StateRequestError(str(error)) from error

    def close(self) -> None:
        """Release what is still open."""
        for query in self._queries.values():
            query.release()
        self._queries.clear()

    # -- single keys -------------------------------------------------------------------------------------------------

    def _get(self, request: chaincode_shim_pb2.GetState) -> bytes:
        if request.collection:
            self._readable(request.collection)
            return self.simulator.get_private(self.chaincode, request.collection, request.key) or b""
        return self.simulator.get_state(self.chaincode, request.key) or b""

    def _get_multiple(self, request: chaincode_shim_pb2.GetStateMultiple) -> bytes:
        if request.collection:
            self._readable(request.collection)
            values = [self.simulator.get_private(self.chaincode, request.collection, key) for key in request.keys]
        else:
            values = self.simulator.get_states(self.chaincode, list(request.keys))
        return chaincode_shim_pb2.GetStateMultipleResult(values=[value or b"" for value in values]).SerializeToString()

    def _get_hash(self, request: chaincode_shim_pb2.GetState) -> bytes:
        if not request.collection:
            return b""
        if self._lookup(request.collection) is None:
            raise self._undefined(request.collection)
        return self.simulator.get_private_hash(self.chaincode, request.collection, request.key) or b""

    def _get_metadata(self, request: chaincode_shim_pb2.GetStateMetadata) -> bytes:
        if request.collection:
            self._readable(request.collection)
            metadata = self.simulator.get_private_metadata(self.chaincode, request.collection, request.key)
        else:
            metadata = self.simulator.get_state_metadata(self.chaincode, request.key)
        entries = [chaincode_shim_pb2.StateMetadata(metakey=name, value=value) for name, value in metadata.items()]
        return chaincode_shim_pb2.StateMetadataResult(entries=entries).SerializeToString()

    def _put(self, request: chaincode_shim_pb2.PutState | chaincode_shim_pb2.WriteRecord) -> bytes:
        if request.collection:
            self._writable(request.collection)
            self.simulator.put_private(self.chaincode, request.collection, request.key, request.value)
        else:
            self.simulator.put_state(self.chaincode, request.key, request.value)
        return b""

    def _delete(self, request: chaincode_shim_pb2.DelState | chaincode_shim_pb2.WriteRecord) -> bytes:
        if request.collection:
            self._writable(request.collection)
            self.simulator.delete_private(self.chaincode, request.collection, request.key)
        else:
            self.simulator.delete_state(self.chaincode, request.key)
        return b""

    def _purge(self, request: chaincode_shim_pb2.PurgePrivateState | chaincode_shim_pb2.WriteRecord) -> bytes:
        if not request.collection:
            raise StateRequestError("only applicable for private data")
        self._writable(request.collection)
        self.simulator.purge_private(self.chaincode, request.collection, request.key)
        return b""

    def _put_metadata(self, request: chaincode_shim_pb2.PutStateMetadata | chaincode_shim_pb2.WriteRecord) -> bytes:
        entries = {request.metadata.metakey: request.metadata.value}
        if request.collection:
            self._writable(request.collection)
            self.simulator.set_private_metadata(self.chaincode, request.collection, request.key, entries)
        else:
            self.simulator.set_state_metadata(self.chaincode, request.key, entries)
        return b""

    def _write_batch(self, request: chaincode_shim_pb2.WriteBatchState) -> bytes:
        for record in request.rec:
            write = self._WRITES.get(record.type)
            if write is None:
                raise StateRequestError(f"unknown operation type in batch: {record.type}")
            write(self, record)
        return b""

    # -- ranges ------------------------------------------------------------------------------------------------------

    def _range(self, request: chaincode_shim_pb2.GetStateByRange) -> bytes:
        page = _parse(chaincode_shim_pb2.QueryMetadata, request.metadata) if request.metadata else None
        start = page.bookmark if page is not None and page.bookmark else request.startKey
        if request.collection:
            self._readable(request.collection)
            if page is not None:
                raise StateRequestError("pagination is not supported for private data")
            records = self.simulator.private_range(self.chaincode, request.collection, start, request.endKey)
        else:
            size = None if page is None else _page_size(page.pageSize)
            records = self.simulator.range(self.chaincode, start, request.endKey, page_size=size)
        if page is None:
            query_id = str(uuid.uuid4())
            self._queries[query_id] = _OpenQuery(self._results(records), records.close)
            return self._next_batch(query_id)
        return self._page(records, _page_size(page.pageSize))

    def _page(self, records: StateRange, size: int) -> bytes:
        """One page: all of it in one response, with the key of the next record as bookmark."""
        results: list[bytes] = []
        bookmark = ""
        while (record := records.next() if len(results) < size else None) is not None:
            results.append(self._result(record.key, record.value))
        if len(results) == size:
            bookmark = records.bookmark()
        records.close()
        metadata = chaincode_shim_pb2.QueryResponseMetadata(fetched_records_count=len(results), bookmark=bookmark)
        return chaincode_shim_pb2.QueryResponse(
            results=[chaincode_shim_pb2.QueryResultBytes(resultBytes=result) for result in results],
            id=str(uuid.uuid4()),
            metadata=metadata.SerializeToString(),
        ).SerializeToString()

    def _next(self, request: chaincode_shim_pb2.QueryStateNext) -> bytes:
        if request.id not in self._queries:
            raise StateRequestError("query iterator not found")
        return self._next_batch(request.id)

    def _next_batch(self, query_id: str) -> bytes:
        """Up to 100 records. To know that there are more, the next one is read too, and kept for the next batch."""
        query = self._queries[query_id]
        while True:
            result = next(query.records, None)
            if result is None:
                results, has_more = query.pending, False
                query.release()
                del self._queries[query_id]
                break
            if len(query.pending) == _BATCH:
                results, has_more = query.pending, True
                query.pending = [result]
                break
            query.pending.append(result)
        return chaincode_shim_pb2.QueryResponse(
            results=[chaincode_shim_pb2.QueryResultBytes(resultBytes=result) for result in results],
            has_more=has_more,
            id=query_id,
        ).SerializeToString()

    def _close(self, request: chaincode_shim_pb2.QueryStateClose) -> bytes:
        query = self._queries.pop(request.id, None)
        if query is not None:
            query.release()
        return chaincode_shim_pb2.QueryResponse(id=request.id).SerializeToString()

    def _query(self, _: chaincode_shim_pb2.GetQueryResult) -> bytes:
        raise StateRequestError("ExecuteQuery not supported for leveldb")

    def _history(self, request: chaincode_shim_pb2.GetHistoryForKey) -> bytes:
        changes = self.simulator.history(self.chaincode, request.key)
        query_id = str(uuid.uuid4())
        self._queries[query_id] = _OpenQuery(change.SerializeToString() for change in changes)
        return self._next_batch(query_id)

    def _results(self, records: StateRange) -> Iterator[bytes]:
        while (record := records.next()) is not None:
            yield self._result(record.key, record.value)

    def _result(self, key: str, value: bytes) -> bytes:
        return kv_query_result_pb2.KV(namespace=self.chaincode, key=key, value=value).SerializeToString()

    # -- collections -------------------------------------------------------------------------------------------------

    def _not_in_init(self) -> None:
        if self.is_init:
            raise StateRequestError("private data APIs are not allowed in chaincode Init()")

    def _lookup(self, name: str) -> Collection | None:
        self._not_in_init()
        if name not in self._collections:
            self._collections[name] = self.collection(name)
        return self._collections[name]

    def _undefined(self, name: str) -> StateRequestError:
        return StateRequestError(
            f"collection [{name}] not defined in the collection config for chaincode [{self.chaincode}]"
        )

    def _find(self, name: str) -> Collection:
        collection = self._lookup(name)
        if collection is None and name.startswith("_implicit_org_"):
            raise self._undefined(name)
        if collection is None:
            raise StateRequestError(f"collection {self.channel_id}/{self.chaincode}/{name} could not be found")
        return collection

    def _readable(self, name: str) -> None:
        collection = self._find(name)
        if collection.member_only_read and self.creator_msp_id not in collection.members:
            raise self._no_permission("read", name)

    def _writable(self, name: str) -> None:
        collection = self._find(name)
        if collection.member_only_write and self.creator_msp_id not in collection.members:
            raise self._no_permission("write", name)

    def _no_permission(self, access: str, name: str) -> StateRequestError:
        return StateRequestError(
            f"tx creator does not have {access} access permission on privatedata in chaincodeName:{self.chaincode} "
            f"collectionName: {name}"
        )

    # -- other chaincodes --------------------------------------------------------------------------------------------

    async def _invoke(self, spec: chaincode_pb2.ChaincodeSpec) -> bytes:
        name, _, channel_id = spec.chaincode_id.name.partition("/")
        try:
            return await self.invoke(self, channel_id, name.partition(":")[0], spec.input)
        except ChaincodeExecutionError as error:
            raise StateRequestError(f"execute failed: {error}") from error

    _ANSWERS: ClassVar[dict[int, tuple[type[Message], Callable[..., bytes]]]] = {
        Kind.GET_STATE: (chaincode_shim_pb2.GetState, _get),
        Kind.GET_STATE_MULTIPLE: (chaincode_shim_pb2.GetStateMultiple, _get_multiple),
        Kind.GET_PRIVATE_DATA_HASH: (chaincode_shim_pb2.GetState, _get_hash),
        Kind.GET_STATE_METADATA: (chaincode_shim_pb2.GetStateMetadata, _get_metadata),
        Kind.PUT_STATE: (chaincode_shim_pb2.PutState, _put),
        Kind.DEL_STATE: (chaincode_shim_pb2.DelState, _delete),
        Kind.PURGE_PRIVATE_DATA: (chaincode_shim_pb2.PurgePrivateState, _purge),
        Kind.PUT_STATE_METADATA: (chaincode_shim_pb2.PutStateMetadata, _put_metadata),
        Kind.WRITE_BATCH_STATE: (chaincode_shim_pb2.WriteBatchState, _write_batch),
        Kind.GET_STATE_BY_RANGE: (chaincode_shim_pb2.GetStateByRange, _range),
        Kind.QUERY_STATE_NEXT: (chaincode_shim_pb2.QueryStateNext, _next),
        Kind.QUERY_STATE_CLOSE: (chaincode_shim_pb2.QueryStateClose, _close),
        Kind.GET_QUERY_RESULT: (chaincode_shim_pb2.GetQueryResult, _query),
        Kind.GET_HISTORY_FOR_KEY: (chaincode_shim_pb2.GetHistoryForKey, _history),
    }
    _WRITES: ClassVar[dict[int, Callable[[ChaincodeTransaction, chaincode_shim_pb2.WriteRecord], bytes]]] = {
        chaincode_shim_pb2.WriteRecord.PUT_STATE: _put,
        chaincode_shim_pb2.WriteRecord.DEL_STATE: _delete,
        chaincode_shim_pb2.WriteRecord.PUT_STATE_METADATA: _put_metadata,
        chaincode_shim_pb2.WriteRecord.PURGE_PRIVATE_DATA: _purge,
    }


def _page_size(size: int) -> int:
    return size if 0 < size < _TOTAL_LIMIT else _TOTAL_LIMIT


def _parse(kind: type[_T], payload: bytes) -> _T:
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise StateRequestError(f"unmarshal failed: {proto_error(payload)}") from error
