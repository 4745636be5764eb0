"""Contracts: a chaincode as classes whose methods are its functions, with typed arguments and generated metadata.

    @dataclass
    class Account:
        owner: str
        balance: int

    @contract
    class Accounts:
        @transaction
        async def open(self, stub: ChaincodeStub, name: str, balance: int = 0) -> Account:
            account = Account(stub.identity.msp_id, balance)
            await stub.put_state(name, to_json(account))
            return account

        @query
        async def read(self, stub: ChaincodeStub, name: str) -> Account:
            return from_json(await stub.get_state(name), Account)

    chaincode = contracts(Accounts())

Functions are called as `open` or `Accounts:open`; `org.hyperledger.fabric:GetMetadata` tells tools what there is.

    declaring    the decorators
    values       bytes of the wire to Python values and back
    signatures   a method's parameters
    chaincode    finding the function and calling it
    metadata     the description
"""

from goldengrain.chaincode.shim.contracts.chaincode import ContractChaincode, contracts
from goldengrain.chaincode.shim.contracts.declaring import after, before, contract, otherwise, query, transaction
from goldengrain.chaincode.shim.contracts.values import from_json, to_json

__all__ = [
    "ContractChaincode",
    "after",
    "before",
    "contract",
    "contracts",
    "from_json",
    "otherwise",
    "query",
    "to_json",
    "transaction",
]
