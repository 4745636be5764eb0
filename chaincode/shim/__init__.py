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

`contracts` makes functions with typed arguments out of a class's methods. `example` is a complete chaincode. Peers of
Fabric 2.5 and newer connect to the server; nothing here knows the market.
"""

from goldengrain.chaincode.shim.chaincode import Chaincode, Guard
from goldengrain.chaincode.shim.clock import ClockWindow
from goldengrain.chaincode.shim.contracts import (
    ContractChaincode,
    after,
    before,
    contract,
    contracts,
    from_json,
    otherwise,
    query,
    to_json,
    transaction,
)
from goldengrain.chaincode.shim.errors import (
    DeclarationError,
    InvalidArgument,
    InvalidKey,
    PeerRefused,
    Refusal,
    ServerError,
    ShimError,
    StreamLost,
    TimestampRefused,
    TransactionEnded,
    Unauthorized,
    UnknownFunction,
)
from goldengrain.chaincode.shim.identity import ClientIdentity
from goldengrain.chaincode.shim.key_policies import KeyPolicy, organizations_of, signed_by
from goldengrain.chaincode.shim.keys import composite_key, implicit_collection, split_composite_key
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
    "ClockWindow",
    "ContractChaincode",
    "DeclarationError",
    "Guard",
    "InvalidArgument",
    "InvalidKey",
    "KeyModification",
    "KeyPolicy",
    "Page",
    "PeerRefused",
    "PrivateData",
    "QueryIterator",
    "Refusal",
    "Response",
    "ServerError",
    "ShimError",
    "StreamLost",
    "TLSOptions",
    "Timestamp",
    "TimestampRefused",
    "TransactionEnded",
    "Unauthorized",
    "UnknownFunction",
    "after",
    "before",
    "composite_key",
    "contract",
    "contracts",
    "error",
    "from_json",
    "implicit_collection",
    "organizations_of",
    "otherwise",
    "query",
    "serve",
    "signed_by",
    "split_composite_key",
    "success",
    "to_json",
    "transaction",
]
