"""Results of ranges, rich queries and history: iterators over the peer's batches, and pages.

    async for key, value in stub.range("a", "b"):
        ...

The peer sends 100 results at a time and lets go of the query with its last batch. An iterator that is left before its
end keeps the query open on the peer until the transaction ends; `async with` (or `aclose`) closes it at once:

    async with stub.range("a", "b") as found:
        async for item in found:
            break
"""

from collections.abc import Awaitable, Callable, Iterator
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
    """One page. `bookmark` fetches the next one; after a range's last page it is empty.

    A rich query's is CouchDB's own and may not be: there a page with fewer items than were asked for is the last.
    """

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
        self._items: Iterator[Item] = iter(())
        self._query_id = ""
        self._started = self._more = self._closed = False

    def __aiter__(self) -> "QueryIterator[Item]":
        return self

    async def __anext__(self) -> Item:
        for item in self._items:
            return item
        while await self._advance():
            for item in self._items:
                return item
        raise StopAsyncIteration

    async def all(self) -> list[Item]:
        """Read all that is left, for results that are known to be few."""
        found = list(self._items)
        while await self._advance():
            found += self._items
        return found

    async def __aenter__(self) -> "QueryIterator[Item]":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop. Tells the peer, unless it has let go of the query already. Harmless if called twice."""
        held = self._more and not self._closed
        self._closed, self._items = True, iter(())
        if held:
            payload = shim_pb2.QueryStateClose(id=self._query_id).SerializeToString()
            await self._exchange.request(ChaincodeMessage.QUERY_STATE_CLOSE, payload)

    async def _advance(self) -> bool:
        """Fetch the first or the next batch; False after the last one."""
        if self._closed or (self._started and not self._more):
            return False
        if not self._started:
            batch = await self._start()
        else:
            payload = shim_pb2.QueryStateNext(id=self._query_id).SerializeToString()
            batch = await ask(self._exchange, ChaincodeMessage.QUERY_STATE_NEXT, payload)
        self._started, self._query_id, self._more = True, batch.id, batch.has_more
        decode = self._decode
        self._items = iter([decode(result.resultBytes) for result in batch.results])
        return True


async def ask(exchange: Exchange, kind: MessageType.ValueType, payload: bytes) -> shim_pb2.QueryResponse:
    """Ask for a query's first or next batch. Raises PeerRefused."""
    return shim_pb2.QueryResponse.FromString(await exchange.request(kind, payload))


async def ask_page(exchange: Exchange, kind: MessageType.ValueType, payload: bytes) -> Page:
    """Ask for a page: the peer sends it whole, whatever its size, and lets go of the query. Raises PeerRefused."""
    response = await ask(exchange, kind, payload)
    metadata = shim_pb2.QueryResponseMetadata.FromString(response.metadata)
    return Page([decode_kv(result.resultBytes) for result in response.results], metadata.bookmark)


def check_query(query: str) -> None:
    """Raise InvalidArgument for a rich query that is none."""
    if not query:
        raise InvalidArgument("a query must not be empty")


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
