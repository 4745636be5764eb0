"""`ContractChaincode`: finds the function that a call names, reads its arguments, answers with what it returns."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from goldengrain.chaincode.shim.contracts import metadata
from goldengrain.chaincode.shim.contracts.declaring import DeclaredContract, Kind, contract_mark, method_mark
from goldengrain.chaincode.shim.contracts.signatures import Signature, signature_of
from goldengrain.chaincode.shim.contracts.values import answer
from goldengrain.chaincode.shim.errors import DeclarationError, InvalidArgument, UnknownFunction
from goldengrain.chaincode.shim.responses import Response, success
from goldengrain.chaincode.shim.stub import ChaincodeStub

SYSTEM = "org.hyperledger.fabric"
GET_METADATA = f"{SYSTEM}:GetMetadata"
SEPARATOR = ":"

Hook = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Function:
    """A function of a contract that clients call."""

    name: str
    kind: Kind
    method: Hook
    signature: Signature


@dataclass
class Contract:
    """A contract put together: its functions by name, and what runs around them."""

    name: str
    declared: DeclaredContract
    description: str
    functions: dict[str, Function] = field(default_factory=dict)
    hooks: dict[Kind, Hook] = field(default_factory=dict)


class ContractChaincode:
    """A chaincode of one or more contracts; the first one's functions are called without its name too.

    Calls marked as initialisation are calls like any other: name the function that prepares the ledger.

    Attributes:
        members: the contracts by name.
        default: the one whose functions are called without its name.
        metadata: the description as JSON, as `org.hyperledger.fabric:GetMetadata` returns it.

    """

    def __init__(self, members: list[Contract], title: str = "", version: str = "") -> None:
        """Take contracts put together by `contracts()`."""
        self.members = {member.name: member for member in members}
        self.default = members[0]
        self.metadata = metadata.document(members, title, version)

    async def init(self, stub: ChaincodeStub) -> Response:
        """Call a function, as `invoke` does."""
        return await self.invoke(stub)

    async def invoke(self, stub: ChaincodeStub) -> Response:
        """Call a function. Raises UnknownFunction, InvalidArgument, and what the function raises."""
        if stub.function == GET_METADATA:
            return success(self.metadata)
        contract, name = self._find(stub.function)
        if (begin := contract.hooks.get(Kind.BEFORE)) is not None:
            await begin(stub)
        function = contract.functions.get(name)
        result = await (self._otherwise(contract, name, stub) if function is None else _call(function, stub))
        if (finish := contract.hooks.get(Kind.AFTER)) is not None:
            await finish(stub, result)
        return answer(result)

    def _find(self, called: str) -> tuple[Contract, str]:
        owner, separator, name = called.rpartition(SEPARATOR)
        if not separator:
            return self.default, called
        if owner not in self.members:
            raise UnknownFunction(f"no contract {owner}: one of {', '.join(self.members)}")
        return self.members[owner], name

    async def _otherwise(self, contract: Contract, name: str, stub: ChaincodeStub) -> Any:
        hook = contract.hooks.get(Kind.OTHERWISE)
        if hook is None:
            known = ", ".join(contract.functions) or "it has none"
            raise UnknownFunction(f"no function {name!r} in {contract.name}: {known}")
        return await hook(stub)


async def _call(function: Function, stub: ChaincodeStub) -> Any:
    try:
        values = function.signature.bind(stub.args[1:])
        secrets = function.signature.bind_transient(stub.transient) if function.signature.transient else {}
    except InvalidArgument as error:
        raise InvalidArgument(f"{function.name}: {error}") from error
    result = await function.method(stub, *values, **secrets)
    if function.kind is Kind.QUERY and stub.writes:
        raise InvalidArgument(f"{function.name} is a query and must not write: declare it with @transaction")
    return result


def contracts(first: object, *others: object, title: str = "", version: str = "") -> ContractChaincode:
    """Put instances of `@contract` classes together into a chaincode; `title` and `version` are for its metadata.

    Raises DeclarationError for a class that cannot be served, and for two contracts or functions of one name.
    """
    members = [_put_together(instance) for instance in (first, *others)]
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"two contracts are called {name}: give one of them another name")
        if not name or SEPARATOR in name or name == SYSTEM:
            raise DeclarationError(f"a contract can't be called {name!r}")
    return ContractChaincode(members, title, version)


def _put_together(instance: object) -> Contract:
    owner = type(instance)
    declared = contract_mark(owner)
    if declared is None:
        raise DeclarationError(f"{owner.__name__} is not declared with @contract (hand over an instance of the class)")
    description = declared.description or inspect.cleandoc(vars(owner).get("__doc__") or "")
    found = Contract(declared.name or owner.__name__, declared, description)
    for attribute, method in _methods(instance).items():
        mark = method_mark(method)
        if mark is None:
            continue
        where = f"{owner.__name__}.{attribute}"
        if mark.kind.callable_by_clients:
            name = mark.name or attribute
            if name in found.functions or SEPARATOR in name:
                raise DeclarationError(f"{where}: a function can't be called {name!r}, or another one is")
            found.functions[name] = Function(name, mark.kind, method, signature_of(method, where))
        elif mark.kind in found.hooks or not inspect.iscoroutinefunction(method):
            raise DeclarationError(f"{where}: one @{mark.kind.value} a contract, and it has to be `async def`")
        else:
            found.hooks[mark.kind] = method
    return found


def _methods(instance: object) -> Mapping[str, Any]:
    """Bound methods, those of base classes first, each class's in the order of its source."""
    names: dict[str, None] = {}
    for base in reversed(type(instance).__mro__):
        names.update(dict.fromkeys(vars(base)))
    return {name: getattr(instance, name) for name in names if callable(getattr(type(instance), name, None))}
