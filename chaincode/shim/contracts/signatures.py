"""A method's parameters: from the signature and the annotations to values of one call.

    async def bid(self, stub: ChaincodeStub, auction: str, rounds: int = 1, *, price: int) -> Receipt

Parameters are the call's arguments in their order; those with a default may be left out from the end. Parameters after
`*` are read from the transient data under their own names: what only endorsers may see is declared as such, and no
error text repeats it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from goldengrain.chaincode.shim.contracts.values import Reader, reader_of
from goldengrain.chaincode.shim.errors import DeclarationError, InvalidArgument

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Parameter:
    """One parameter: its annotation, and how it is read. `default` is `inspect.Parameter.empty` where there is none."""

    name: str
    kind: Any
    default: Any
    read: Reader

    @property
    def required(self) -> bool:
        """Whether every call has to give it."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Signature:
    """What a function takes and returns. `returns` is None where it returns nothing."""

    parameters: tuple[Parameter, ...]
    transient: tuple[Parameter, ...]
    returns: Any

    def bind(self, args: Sequence[bytes]) -> list[Any]:
        """Read the arguments. Raises InvalidArgument for a wrong number, or one that is not of its type."""
        most, least = len(self.parameters), sum(parameter.required for parameter in self.parameters)
        if not least <= len(args) <= most:
            number = str(most) if least == most else f"{least} to {most}"
            names = ", ".join(parameter.name for parameter in self.parameters)
            raise InvalidArgument(f"takes {number} argument(s) ({names}), not {len(args)}")
        values = [_read(parameter, raw) for parameter, raw in zip(self.parameters, args, strict=False)]
        return values + [parameter.default for parameter in self.parameters[len(args) :]]

    def bind_transient(self, found: Mapping[str, bytes]) -> dict[str, Any]:
        """Read the transient fields. Raises InvalidArgument, which says nothing of their values."""
        values = {}
        for parameter in self.transient:
            if parameter.name in found:
                values[parameter.name] = _read_secret(parameter, found[parameter.name])
            elif parameter.required:
                raise InvalidArgument(f"the transient field {parameter.name} is missing")
            else:
                values[parameter.name] = parameter.default
        return values


def signature_of(method: Callable[..., Any], where: str) -> Signature:
    """Read a bound method's signature, of which the stub is the first parameter.

    Raises DeclarationError: no coroutine, no stub, a parameter without an annotation or of a type that it can't have.
    """
    if not inspect.iscoroutinefunction(method):
        raise DeclarationError(f"{where} has to be `async def`")
    try:
        hints = get_type_hints(method, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"{where}: {error}; annotations are looked up in the module that has the class"
        ) from error
    declared = list(inspect.signature(method).parameters.values())
    if not declared or declared[0].kind not in _POSITIONAL:
        raise DeclarationError(f"{where} has to take the stub first: `async def {method.__name__}(self, stub, …)`")
    arguments: list[Parameter] = []
    transient: list[Parameter] = []
    for parameter in declared[1:]:
        found = _parameter(parameter, hints, where)
        (arguments if parameter.kind in _POSITIONAL else transient).append(found)
    returns = hints.get("return")
    return Signature(tuple(arguments), tuple(transient), None if returns is type(None) else returns)


def _parameter(parameter: inspect.Parameter, hints: Mapping[str, Any], where: str) -> Parameter:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise DeclarationError(f"{where}: *{parameter.name} can't be described; name what the function takes")
    if parameter.name not in hints:
        raise DeclarationError(f"{where}: parameter {parameter.name} needs a type annotation")
    kind = hints[parameter.name]
    try:
        return Parameter(parameter.name, kind, parameter.default, reader_of(kind))
    except DeclarationError as error:
        raise DeclarationError(f"{where}: parameter {parameter.name}: {error}") from error


def _read(parameter: Parameter, raw: bytes) -> Any:
    try:
        return parameter.read(raw)
    except InvalidArgument as error:
        raise InvalidArgument(f"argument {parameter.name}: {error}") from error


def _read_secret(parameter: Parameter, raw: bytes) -> Any:
    try:
        return parameter.read(raw)
    except InvalidArgument:
        raise InvalidArgument(f"the transient field {parameter.name} is not of its type") from None
