"""The script chaincode as a program: every function of the shim, driven by the test."""

import asyncio
import logging
from typing import Any

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, serve
from tests.chaincode.shim.script import Script, text


class FullScript(Script):
    """Also reads history, which no recorded case does."""

    async def _history(self, stub: ChaincodeStub, key: str) -> list[list[Any]]:
        return [[change.tx_id, text(change.value), change.is_delete] async for change in stub.history(key)]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(serve(ChaincodeServer.from_environment(FullScript())))
