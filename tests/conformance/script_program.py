"""The script chaincode as a program: every function of the shim, driven by the test."""

import asyncio
import logging
from typing import Any

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, serve, signed_by
from tests.chaincode.shim.script import Script, hexadecimal, summary, text


class FullScript(Script):
    """Also does what no recorded case does."""

    async def _history(self, stub: ChaincodeStub, key: str) -> list[list[Any]]:
        return [[change.tx_id, text(change.value), change.is_delete] async for change in stub.history(key)]

    async def _psetvp(self, stub: ChaincodeStub, collection: str, key: str, number: int, names: list[str]) -> str:
        await stub.private_data(collection).set_validation_parameter(key, signed_by(*names, at_least=number))
        return ""

    async def _getmeta(self, stub: ChaincodeStub, key: str, collection: str = "") -> list[list[str]]:
        if not collection:
            return await super()._getmeta(stub, key)
        found = await stub.private_data(collection).metadata(key)
        return [[name, hexadecimal(raw)] for name, raw in found.items()]

    async def _queryp(self, stub: ChaincodeStub, query: str, size: int) -> list[list[str]]:
        """Every page of a rich query."""
        pages, bookmark = list[list[str]](), ""
        while (page := await stub.query_page(query, size, bookmark)).items:
            pages.append([item.key for item in page.items])
            bookmark = page.bookmark
        return pages

    async def _rangeallp(self, stub: ChaincodeStub, size: int, bookmark: str) -> dict[str, Any]:
        items, following = await stub.range_all_composite_page(size, bookmark)
        return {**summary(items), "bookmark": following}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(serve(ChaincodeServer.from_environment(FullScript())))
