"""The benchmarks' chaincode: `update KEY VALUE` reads a key and then writes it, `put KEY VALUE` only writes."""

from __future__ import annotations

import asyncio

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, Response, error, serve, success


class GetAndPut:
    """The chaincode."""

    async def init(self, stub: ChaincodeStub) -> Response:
        """Nothing to prepare."""
        return success()

    async def invoke(self, stub: ChaincodeStub) -> Response:
        """Write a key; `update` reads it first and returns the old value."""
        if stub.function not in ("update", "put") or len(stub.parameters) != 2:
            return error("update KEY VALUE, or put KEY VALUE", 404)
        key, value = stub.parameters
        before = await stub.get_state(key) if stub.function == "update" else None
        await stub.put_state(key, value.encode())
        return success(before or b"")


if __name__ == "__main__":
    asyncio.run(serve(ChaincodeServer.from_environment(GetAndPut())))
