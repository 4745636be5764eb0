"""Results of ranges, rich queries and history: iterators over the peer's batches, and pages.

    async for key, value in stub.range("a", "b"):
        ...

The peer sends 100 results at a time and lets go of the query with its last batch. An iterator that is left before its
end keeps the query open on the peer until the transaction ends; `async with` (or `aclose`) closes it at once:

    async with stub.range("a", "b") as found:
        async for item in found:
            break
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim.errors import InvalidArgument
from goldengrain.chaincode.shim.exchange import Exchange, MessageType
from goldengrain.chaincode.shim.proposal import Timestamp

MAX_PAGE_SIZE = 2**31 - 1


class KV(NamedTuple):
    """A key of the state and its value."""

    key: str
    value: bytes


class KeyModification(NamedTuple):
    """One committed change of a key: who (transaction), when (its proposal's time), what."""

    tx_id: str
    value: bytes
    timestamp: Timestamp
    is_delete: bool


class Page(NamedTuple):
    """One page. `bookmark` fetches the next one; it is empty after the last."""

    items: list[KV]
    bookmark: str


Item = TypeVar("Item")


class QueryIterator(Generic[Item]):
    """An asynchronous iterator over a query's results. The query is sent when the first result is asked for."""

    def __init__(
        self,
        exchange: Exchange,
        start: Callable[[], Awaitable[shim_pb2.QueryResponse]],
        decode: Callable[[bytes], Item],
    ) -> None:
        self._exchange = exchange
        self._start = start
        self._decode = decode
        self._batch: shim_pb2.QueryResponse | None = None
        self._next = 0
        self._closed = False

    def __aiter__(self) -> "QueryIterator[Item]":
        return self

    async def __anext__(self) -> Item:
        if self._closed:
            raise StopAsyncIteration
        if self._batch is None:
            self._batch = await self._start()
        while self._next >= len(self._batch.results):
            if not self._batch.has_more:
                self._closed = True
                raise StopAsyncIteration
            self._batch = await self._fetch(self._batch.id)
            self._next = 0
        result = self._batch.results[self._next]
        self._next += 1
        return self._decode(result.resultBytes)

    async def __aenter__(self) -> "QueryIterator[Item]":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop. Tells the peer, unless it has let go of the query already. Harmless if called twice."""
        held = not self._closed and self._batch is not None and self._batch.has_more
        self._closed = True
        if held and self._batch is not None:
            payload = shim_pb2.QueryStateClose(id=self._batch.id).SerializeToString()
            await self._exchange.request(ChaincodeMessage.QUERY_STATE_CLOSE, payload)

    async def _fetch(self, query_id: str) -> shim_pb2.QueryResponse:
        payload = shim_pb2.QueryStateNext(id=query_id).SerializeToString()
        return await ask(self._exchange, ChaincodeMessage.QUERY_STATE_NEXT, payload)


async def ask(exchange: Exchange, kind: MessageType.ValueType, payload: bytes) -> shim_pb2.QueryResponse:
    """Ask for a query's first or next batch. Raises PeerRefused."""
    return shim_pb2.QueryResponse.FromString(await exchange.request(kind, payload))


async def ask_page(exchange: Exchange, kind: MessageType.ValueType, payload: bytes) -> Page:
    """Ask for a page: the peer sends it whole, whatever its size, and lets go of the query. Raises PeerRefused."""
    response = await ask(exchange, kind, payload)
    metadata = shim_pb2.QueryResponseMetadata.FromString(response.metadata)
    return Page([decode_kv(result.resultBytes) for result in response.results], metadata.bookmark)


def page_metadata(page_size: int, bookmark: str) -> bytes:
    """`QueryMetadata` for a page. Raises InvalidArgument unless 1 <= page_size <= 2**31 - 1."""
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidArgument(f"page_size has to be between 1 and {MAX_PAGE_SIZE}, not {page_size}")
    return shim_pb2.QueryMetadata(pageSize=page_size, bookmark=bookmark).SerializeToString()


def decode_kv(raw: bytes) -> KV:
    """Decode a result of a range or a rich query."""
    result = kv_query_result_pb2.KV.FromString(raw)
    return KV(result.key, result.value)


def decode_modification(raw: bytes) -> KeyModification:
    """Decode a result of a history query."""
    result = kv_query_result_pb2.KeyModification.FromString(raw)
    when = Timestamp(result.timestamp.seconds, result.timestamp.nanos)
    return KeyModification(result.tx_id, result.value, when, result.is_delete)
