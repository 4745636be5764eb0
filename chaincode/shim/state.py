"""Reading and writing one name space: the chaincode's public state, or one of its private data collections."""

from collections.abc import Sequence

from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim import key_policies, queries
from goldengrain.chaincode.shim.errors import InvalidArgument, PeerRefused
from goldengrain.chaincode.shim.exchange import Exchange
from goldengrain.chaincode.shim.keys import (
    all_composite_range,
    check_collection,
    check_key,
    check_range,
    composite_range,
)
from goldengrain.chaincode.shim.queries import KV, QueryIterator, check_query
from goldengrain.chaincode.shim.writes import WriteBuffer


class StateSpace:
    """Committed keys of one name space, and the transaction's writes to it.

    Reads see committed state only, never what this transaction wrote. Every method raises InvalidKey for keys that
    must not reach the ledger (see `keys`) and PeerRefused if the peer refuses, e.g. an unknown collection.
    """

    def __init__(self, exchange: Exchange, writes: WriteBuffer, collection: str = "") -> None:
        self.collection = collection
        self._exchange = exchange
        self._writes = writes

    async def get(self, key: str) -> bytes | None:
        """Read a key's value; None if there is none (deleted, purged and expired keys included)."""
        request = shim_pb2.GetState(key=check_key(key), collection=self.collection)
        return await self._exchange.request(ChaincodeMessage.GET_STATE, request.SerializeToString()) or None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Values in the order of the keys: in one round trip where the peer offers it (3.1), else key by key."""
        for key in keys:
            check_key(key)
        most = self._exchange.offers.get_multiple
        if not most:
            return [await self.get(key) for key in keys]
        values: list[bytes | None] = []
        for start in range(0, len(keys), most):
            values += await self._get_multiple(keys[start : start + most])
        return values

    async def put(self, key: str, value: bytes) -> None:
        """Write a value. Raises InvalidArgument for an empty one: Fabric would record that as a delete."""
        if not value:
            raise InvalidArgument("an empty value would delete the key: store something, or delete it on purpose")
        self._writes.put(self.collection, check_key(key), bytes(value))

    async def delete(self, key: str) -> None:
        """Delete a key. It need not exist; the write is recorded either way."""
        self._writes.delete(self.collection, check_key(key))

    def range(self, start: str = "", end: str = "") -> QueryIterator[KV]:
        """Read simple keys from `start` (included) to `end` (not included) in UTF-8 order; empty is open."""
        return self._range(*check_range(start, end))

    def range_composite(self, object_type: str, attributes: Sequence[str] = ()) -> QueryIterator[KV]:
        """Read composite keys whose first parts are these."""
        return self._range(*composite_range(object_type, attributes))

    def range_all_composite(self) -> QueryIterator[KV]:
        """Read all composite keys."""
        return self._range(*all_composite_range())

    def query(self, query: str) -> QueryIterator[KV]:
        """Run a rich query (CouchDB's JSON; peers on LevelDB refuse). Not checked at commit: for reading only."""
        check_query(query)
        request = shim_pb2.GetQueryResult(query=query, collection=self.collection).SerializeToString()
        return QueryIterator(
            self._exchange,
            lambda: queries.ask(self._exchange, ChaincodeMessage.GET_QUERY_RESULT, request),
            queries.decode_kv,
        )

    async def metadata(self, key: str) -> dict[str, bytes]:
        """Read all committed metadata of a key by name; empty if the key is missing or has none."""
        request = shim_pb2.GetStateMetadata(key=check_key(key), collection=self.collection)
        reply = await self._exchange.request(ChaincodeMessage.GET_STATE_METADATA, request.SerializeToString())
        return {entry.metakey: entry.value for entry in shim_pb2.StateMetadataResult.FromString(reply).entries}

    async def validation_parameter(self, key: str) -> bytes | None:
        """Read the key's own endorsement policy; None if the chaincode's applies."""
        return (await self.metadata(key)).get(key_policies.VALIDATION_PARAMETER)

    async def set_validation_parameter(self, key: str, policy: bytes) -> None:
        """Give a key its own endorsement policy (see `key_policies.signed_by`). Raises InvalidArgument if it is none.

        Changes the key's version like a write. On a key that neither exists nor is written it has no effect.
        """
        key_policies.parse(policy)
        self._writes.put_metadata(self.collection, check_key(key), key_policies.VALIDATION_PARAMETER, policy)

    def _range(self, start: str, end: str) -> QueryIterator[KV]:
        request = shim_pb2.GetStateByRange(startKey=start, endKey=end, collection=self.collection).SerializeToString()
        return QueryIterator(
            self._exchange,
            lambda: queries.ask(self._exchange, ChaincodeMessage.GET_STATE_BY_RANGE, request),
            queries.decode_kv,
        )

    async def _get_multiple(self, keys: Sequence[str]) -> list[bytes | None]:
        request = shim_pb2.GetStateMultiple(keys=keys, collection=self.collection)
        reply = await self._exchange.request(ChaincodeMessage.GET_STATE_MULTIPLE, request.SerializeToString())
        values = shim_pb2.GetStateMultipleResult.FromString(reply).values
        if len(values) != len(keys):
            raise PeerRefused(f"the peer answered {len(values)} values to {len(keys)} keys")
        return [value or None for value in values]


class PrivateData(StateSpace):
    """A private data collection. Values reach the organisations of its policy only, hashes reach everyone.

    The client hands private values over as transient data: arguments are in the transaction for all to read. Pages
    do not exist here, and a range or query makes the transaction read-only.
    """

    def __init__(self, exchange: Exchange, writes: WriteBuffer, collection: str) -> None:
        super().__init__(exchange, writes, check_collection(collection))

    async def hash(self, key: str) -> bytes | None:
        """Read the SHA-256 of the committed value, also where the value may not be had; None if there is none."""
        request = shim_pb2.GetState(key=check_key(key), collection=self.collection)
        return await self._exchange.request(ChaincodeMessage.GET_PRIVATE_DATA_HASH, request.SerializeToString()) or None

    async def purge(self, key: str) -> None:
        """Delete a key and, on every peer, the history of its value (Fabric 2.5)."""
        self._writes.purge(self.collection, check_key(key))
