"""A chaincode shim for Hyperledger Fabric: chaincode as a service in Python, on asyncio.

    from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, Response, error, serve, success

    class Greeter:
        async def init(self, stub: ChaincodeStub) -> Response:
            return success()

        async def invoke(self, stub: ChaincodeStub) -> Response:
            if stub.function != "greet":
                return error(f"no function {stub.function}", 404)
            name = await stub.get_state("name")
            return success(b"hello " + (name or b"world"))

    asyncio.run(serve(ChaincodeServer.from_environment(Greeter())))

`example` is a complete one. Peers of Fabric 2.5 and newer connect to the server; nothing here knows the market.
"""

from goldengrain.chaincode.shim.chaincode import Chaincode, Guard
from goldengrain.chaincode.shim.errors import (
    InvalidArgument,
    InvalidKey,
    PeerRefused,
    ServerError,
    ShimError,
    StreamLost,
    TransactionEnded,
)
from goldengrain.chaincode.shim.identity import ClientIdentity
from goldengrain.chaincode.shim.key_policies import organizations_of, signed_by
from goldengrain.chaincode.shim.keys import composite_key, split_composite_key
from goldengrain.chaincode.shim.proposal import Timestamp
from goldengrain.chaincode.shim.queries import KV, KeyModification, Page, QueryIterator
from goldengrain.chaincode.shim.responses import Response, error, success
from goldengrain.chaincode.shim.server import ChaincodeServer, serve
from goldengrain.chaincode.shim.state import PrivateData
from goldengrain.chaincode.shim.stub import ChaincodeStub
from goldengrain.chaincode.shim.tls import TLSOptions

__all__ = [
    "KV",
    "Chaincode",
    "ChaincodeServer",
    "ChaincodeStub",
    "ClientIdentity",
    "Guard",
    "InvalidArgument",
    "InvalidKey",
    "KeyModification",
    "Page",
    "PeerRefused",
    "PrivateData",
    "QueryIterator",
    "Response",
    "ServerError",
    "ShimError",
    "StreamLost",
    "TLSOptions",
    "Timestamp",
    "TransactionEnded",
    "composite_key",
    "error",
    "organizations_of",
    "serve",
    "signed_by",
    "split_composite_key",
    "success",
]
