"""Writes are kept until the chaincode has answered, then sent in as few messages as the peer allows.

On peers that offer WRITE_BATCH_STATE (3.1) that is one message for up to 1000 records, on others one message each, in
the order of the calls. Nothing is sent if the chaincode refuses or fails, so a refused callee leaves nothing in its
caller's write set either. Reads never see these writes: Fabric reads committed state only.
"""

from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage, WriteRecord

from goldengrain.chaincode.shim.exchange import Exchange, MessageType

MAX_BATCH_BYTES = 32 * 1024 * 1024
"""A batch is cut at this size too: peers take messages of up to 100 MiB."""


class WriteBuffer:
    """Writes of one transaction that have not been sent yet."""

    def __init__(self) -> None:
        self._records: list[WriteRecord] = []

    def __len__(self) -> int:
        return len(self._records)

    def put(self, collection: str, key: str, value: bytes) -> None:
        """PUT_STATE."""
        self._add(WriteRecord(type=WriteRecord.PUT_STATE, key=key, value=value, collection=collection))

    def delete(self, collection: str, key: str) -> None:
        """DEL_STATE."""
        self._add(WriteRecord(type=WriteRecord.DEL_STATE, key=key, collection=collection))

    def purge(self, collection: str, key: str) -> None:
        """PURGE_PRIVATE_DATA."""
        self._add(WriteRecord(type=WriteRecord.PURGE_PRIVATE_DATA, key=key, collection=collection))

    def put_metadata(self, collection: str, key: str, name: str, value: bytes) -> None:
        """PUT_STATE_METADATA: replaces all metadata of the key."""
        metadata = shim_pb2.StateMetadata(metakey=name, value=value)
        self._add(WriteRecord(type=WriteRecord.PUT_STATE_METADATA, key=key, metadata=metadata, collection=collection))

    async def flush(self, exchange: Exchange) -> None:
        """Send what is kept. Raises PeerRefused; what had been sent by then stays in the transaction's write set."""
        records, self._records = self._records, []
        if exchange.offers.write_batch:
            for batch in _batches(records, exchange.offers.write_batch):
                payload = shim_pb2.WriteBatchState(rec=batch).SerializeToString()
                await exchange.request(ChaincodeMessage.WRITE_BATCH_STATE, payload)
        else:
            for record in records:
                await exchange.request(*_single(record))

    def _add(self, record: WriteRecord) -> None:
        self._records.append(record)


def _batches(records: list[WriteRecord], most: int) -> list[list[WriteRecord]]:
    batches: list[list[WriteRecord]] = []
    room = 0
    for record in records:
        size = record.ByteSize()
        if not batches or len(batches[-1]) == most or size > room:
            batches.append([])
            room = MAX_BATCH_BYTES
        batches[-1].append(record)
        room -= size
    return batches


def _single(record: WriteRecord) -> tuple[MessageType.ValueType, bytes]:
    key, collection = record.key, record.collection
    if record.type == WriteRecord.PUT_STATE:
        put = shim_pb2.PutState(key=key, value=record.value, collection=collection)
        return ChaincodeMessage.PUT_STATE, put.SerializeToString()
    if record.type == WriteRecord.DEL_STATE:
        delete = shim_pb2.DelState(key=key, collection=collection)
        return ChaincodeMessage.DEL_STATE, delete.SerializeToString()
    if record.type == WriteRecord.PURGE_PRIVATE_DATA:
        purge = shim_pb2.PurgePrivateState(key=key, collection=collection)
        return ChaincodeMessage.PURGE_PRIVATE_DATA, purge.SerializeToString()
    metadata = shim_pb2.PutStateMetadata(key=key, collection=collection, metadata=record.metadata)
    return ChaincodeMessage.PUT_STATE_METADATA, metadata.SerializeToString()
