"""The benchmarks' chaincode: one function, `update KEY VALUE`, that reads a key and then writes it."""

from __future__ import annotations

import asyncio

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, Response, error, serve, success


class GetAndPut:
    """The chaincode."""

    async def init(self, stub: ChaincodeStub) -> Response:
        """Nothing to prepare."""
        return success()

    async def invoke(self, stub: ChaincodeStub) -> Response:
        """Read a key, write it, return the old value."""
        if stub.function != "update" or len(stub.parameters) != 2:
            return error("update KEY VALUE", 404)
        key, value = stub.parameters
        before = await stub.get_state(key)
        await stub.put_state(key, value.encode())
        return success(before or b"")


if __name__ == "__main__":
    asyncio.run(serve(ChaincodeServer.from_environment(GetAndPut())))
