"""A key-value store: the smallest complete chaincode, and the one that the conformance tests run.

    CHAINCODE_SERVER_ADDRESS=127.0.0.1:9999 CHAINCODE_ID=kv:<sha256> python -m goldengrain.chaincode.shim.example

| function | arguments | answer |
| --- | --- | --- |
| put | key, value | empty |
| get | key | the value; 404 if there is none |
| delete | key | empty |
| range | start, end | JSON: [[key, value], …], values as text |
| add | key, number | the new sum: reads, then writes |
| event | name, payload | empty; the transaction's event |
| whoami | | the sender's MSP id and common name as JSON |
| fail | message | 422 with that message, and nothing written |
| crash | | an exception: 500 with its class |
"""

import asyncio
import json
import logging

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, Response, error, serve, success

ARGUMENTS = {"put": 2, "get": 1, "delete": 1, "range": 2, "add": 2, "event": 2, "whoami": 0, "fail": 1, "crash": 0}


class KeyValueStore:
    """The chaincode."""

    async def init(self, stub: ChaincodeStub) -> Response:
        """Nothing to prepare."""
        return success()

    async def invoke(self, stub: ChaincodeStub) -> Response:
        """Call the function that the first argument names."""
        wanted = ARGUMENTS.get(stub.function)
        if wanted is None:
            return error(f"no function {stub.function!r}: one of {', '.join(ARGUMENTS)}", 404)
        if len(stub.parameters) != wanted:
            return error(f"{stub.function} takes {wanted} argument(s), not {len(stub.parameters)}", 400)
        answer = await getattr(self, f"_{stub.function}")(stub, *stub.parameters)
        return answer if isinstance(answer, Response) else success(answer or b"")

    async def _put(self, stub: ChaincodeStub, key: str, value: str) -> None:
        await stub.put_state(key, value.encode())

    async def _get(self, stub: ChaincodeStub, key: str) -> bytes | Response:
        value = await stub.get_state(key)
        return error(f"no key {key!r}", 404) if value is None else value

    async def _delete(self, stub: ChaincodeStub, key: str) -> None:
        await stub.del_state(key)

    async def _range(self, stub: ChaincodeStub, start: str, end: str) -> bytes:
        return json.dumps(
            [[key, value.decode(errors="replace")] async for key, value in stub.range(start, end)]
        ).encode()

    async def _add(self, stub: ChaincodeStub, key: str, number: str) -> bytes | Response:
        try:
            total = str(int(await stub.get_state(key) or b"0") + int(number)).encode()
        except ValueError:
            return error("not a whole number", 400)
        await stub.put_state(key, total)
        return total

    async def _event(self, stub: ChaincodeStub, name: str, payload: str) -> None:
        stub.set_event(name, payload.encode())

    async def _whoami(self, stub: ChaincodeStub) -> bytes:
        return json.dumps({"msp_id": stub.identity.msp_id, "common_name": stub.identity.common_name}).encode()

    async def _fail(self, stub: ChaincodeStub, message: str) -> Response:
        await stub.put_state("never", b"written")
        return error(message, 422)

    async def _crash(self, stub: ChaincodeStub) -> None:
        raise RuntimeError(f"secret of {stub.tx_id}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(ChaincodeServer.from_environment(KeyValueStore())))
