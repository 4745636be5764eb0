"""The recorded chaincode's script language on our shim: function `script`, argument a JSON list of operations."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from goldengrain.chaincode.shim import KV, ChaincodeStub, PeerRefused, Response, error, signed_by, success
from goldengrain.chaincode.shim.state import StateSpace

WRITES = {"put", "del", "fill", "putc", "setvp", "putmeta", "pput", "pdel", "ppurge"}


class Script:
    """Writes leave one by one, as the recorded chaincode's did; those inside `batch` leave together."""

    def __init__(self) -> None:
        self.organization = ""

    async def init(self, stub: ChaincodeStub) -> Response:
        return await self.invoke(stub)

    async def invoke(self, stub: ChaincodeStub) -> Response:
        if stub.function != "script":
            return error(f"unknown function {stub.function}")
        results: list[Any] = []
        for name, *arguments in json.loads(stub.parameters[0]):
            if name == "return":
                status, message, *payload = arguments
                return Response(status, message, value(stub, payload[0]) if payload else b"")
            if name == "failon" and self._number in arguments[0]:
                return error(arguments[2], arguments[1])
            results.append(await self._result(stub, name, arguments))
        return success(json.dumps(results, separators=(",", ":")).encode())

    async def _result(self, stub: ChaincodeStub, name: str, arguments: list[Any]) -> Any:
        try:
            result = await getattr(self, f"_{name}")(stub, *arguments)
            if name in WRITES or name == "batch":
                await stub.flush_writes()
        except PeerRefused as refusal:
            return {"error": str(refusal)}
        return result

    @property
    def _number(self) -> int:
        return int(self.organization.removeprefix("Org").removesuffix("MSP"))

    async def _batch(self, stub: ChaincodeStub, operations: list[list[Any]]) -> str:
        for name, *arguments in operations:
            await getattr(self, f"_{name}")(stub, *arguments)
        return ""

    async def _get(self, stub: ChaincodeStub, key: str) -> str:
        return text(await stub.get_state(key))

    async def _put(self, stub: ChaincodeStub, key: str, new: str) -> str:
        await stub.put_state(key, value(stub, new))
        return ""

    async def _del(self, stub: ChaincodeStub, key: str) -> str:
        await stub.del_state(key)
        return ""

    async def _fill(self, stub: ChaincodeStub, prefix: str, *numbers: int) -> int:
        keys = range(*numbers)
        for number in keys:
            await stub.put_state(f"{prefix}{number:04}", f"v{number}".encode())
        return len(keys)

    async def _putc(self, stub: ChaincodeStub, object_type: str, attributes: list[str], new: str) -> str:
        return await self._put(stub, stub.composite_key(object_type, attributes), new)

    async def _getc(self, stub: ChaincodeStub, object_type: str, attributes: list[str]) -> str:
        return await self._get(stub, stub.composite_key(object_type, attributes))

    async def _range(
        self, stub: ChaincodeStub, start: str, end: str, limit: int | None = None, close: bool = True
    ) -> dict[str, Any]:
        return await found(stub.range(start, end), limit)

    async def _rangec(self, stub: ChaincodeStub, object_type: str, attributes: list[str]) -> dict[str, Any]:
        return await found(stub.range_composite(object_type, attributes))

    async def _rangep(self, stub: ChaincodeStub, start: str, end: str, size: int, bookmark: str) -> dict[str, Any]:
        items, following = await stub.range_page(start, end, size, bookmark)
        return {**summary(items), "fetched": len(items), "bookmark": following}

    async def _rangecp(
        self, stub: ChaincodeStub, object_type: str, attributes: list[str], size: int, bookmark: str
    ) -> dict[str, Any]:
        items, following = await stub.range_composite_page(object_type, attributes, size, bookmark)
        return {**summary(items), "fetched": len(items), "bookmark": following}

    async def _query(self, stub: ChaincodeStub, query: str, collection: str = "") -> dict[str, Any]:
        return await found(stub.private_data(collection).query(query) if collection else stub.query(query))

    async def _multi(self, stub: ChaincodeStub, keys: list[str], collection: str = "") -> list[str]:
        read = stub.private_data(collection).get_many if collection else stub.get_states
        return [text(read_value) for read_value in await read(keys)]

    async def _getmeta(self, stub: ChaincodeStub, key: str) -> list[list[str]]:
        return [[name, hexadecimal(raw)] for name, raw in (await stub.metadata(key)).items()]

    async def _setvp(self, stub: ChaincodeStub, key: str, number: int, organizations: list[str]) -> str:
        await stub.set_validation_parameter(key, signed_by(*organizations, at_least=number))
        return ""

    async def _putmeta(self, stub: ChaincodeStub, key: str, name: str, raw: str) -> str:
        stub._writes.put_metadata("", key, name, raw.encode())
        return ""

    async def _pput(self, stub: ChaincodeStub, collection: str, key: str, new: str) -> str:
        await stub.private_data(collection).put(key, value(stub, new))
        return ""

    async def _pget(self, stub: ChaincodeStub, collection: str, key: str) -> str:
        return text(await stub.private_data(collection).get(key))

    async def _pdel(self, stub: ChaincodeStub, collection: str, key: str) -> str:
        await stub.private_data(collection).delete(key)
        return ""

    async def _ppurge(self, stub: ChaincodeStub, collection: str, key: str) -> str:
        await stub.private_data(collection).purge(key)
        return ""

    async def _phash(self, stub: ChaincodeStub, collection: str, key: str) -> str:
        return hexadecimal(await stub.private_data(collection).hash(key) or b"")

    async def _prange(self, stub: ChaincodeStub, collection: str, start: str, end: str) -> dict[str, Any]:
        space: StateSpace = stub.private_data(collection)
        return await found(space.range(start, end))

    async def _event(self, stub: ChaincodeStub, name: str, payload: str) -> None:
        stub.set_event(name, value(stub, payload))

    async def _fullevent(self, stub: ChaincodeStub, chaincode: str, tx_id: str, name: str, payload: str) -> None:
        stub.set_event(name, payload.encode())

    async def _invoke(self, stub: ChaincodeStub, name: str, args: list[str], channel: str = "") -> dict[str, Any]:
        answer = await stub.invoke_chaincode(name, [arg.encode() for arg in args], channel)
        return {
            "type": "COMPLETED",
            "status": answer.status,
            "message": answer.message,
            "payload": text(answer.payload),
        }

    async def _info(self, stub: ChaincodeStub) -> dict[str, Any]:
        seconds, nanos = stub.timestamp
        when = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
        return {
            "txid": stub.tx_id,
            "channel": stub.channel_id,
            "creator_msp": stub.identity.msp_id,
            "ts": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "transient": sorted(stub.transient),
        }

    async def _org(self, stub: ChaincodeStub) -> int:
        return self._number

    async def _failon(self, stub: ChaincodeStub, *_: Any) -> None:
        return None

    async def _panicon(self, stub: ChaincodeStub, organizations: list[int]) -> None:
        return None


def value(stub: ChaincodeStub, argument: str) -> bytes:
    """`@t:name` is a transient value, `@hex:` bytes, anything else text."""
    if argument.startswith("@t:"):
        return stub.transient[argument[3:]]
    return bytes.fromhex(argument[5:]) if argument.startswith("@hex:") else argument.encode()


def text(raw: bytes | None) -> str:
    """Bytes as the recorded chaincode printed them."""
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError:
        return hexadecimal(raw or b"")


def hexadecimal(raw: bytes) -> str:
    return f"@hex:{raw.hex()}"


async def found(results: AsyncIterator[KV], limit: int | None = None) -> dict[str, Any]:
    items: list[KV] = []
    async with results as iterator:  # type: ignore[attr-defined]
        async for item in iterator:
            items.append(item)
            if len(items) == limit:
                break
    return summary(items)


def summary(items: list[KV]) -> dict[str, Any]:
    pairs = [[key, text(raw)] for key, raw in items]
    return {"n": len(pairs), "first": pairs[:3], "last": pairs[-1:]}
