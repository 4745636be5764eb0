"""The decorators: they only note what a class and its methods are; `contracts()` checks and puts it together."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar, overload

Class = TypeVar("Class", bound=type)
Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "__goldengrain_contract__"


class Kind(Enum):
    """What a method is for."""

    TRANSACTION = "submit"
    QUERY = "evaluate"
    BEFORE = "before"
    AFTER = "after"
    OTHERWISE = "otherwise"

    @property
    def callable_by_clients(self) -> bool:
        """Whether clients call it by name."""
        return self in (Kind.TRANSACTION, Kind.QUERY)


@dataclass(frozen=True)
class DeclaredMethod:
    """What a decorator noted of a method; an empty name stands for the method's own."""

    kind: Kind
    name: str = ""


@dataclass(frozen=True)
class DeclaredContract:
    """What `@contract` noted of a class; empty fields stand for the class's name and docstring."""

    name: str = ""
    title: str = ""
    version: str = ""
    description: str = ""
    license: str = ""
    contact: dict[str, str] = field(default_factory=dict)


@overload
def contract(declared: Class, /) -> Class: ...
@overload
def contract(
    *,
    name: str = ...,
    title: str = ...,
    version: str = ...,
    description: str = ...,
    license: str = ...,
    contact: dict[str, str] | None = ...,
) -> Callable[[Class], Class]: ...
def contract(
    declared: Class | None = None,
    /,
    *,
    name: str = "",
    title: str = "",
    version: str = "",
    description: str = "",
    license: str = "",  # noqa: A002 - its name in the metadata
    contact: dict[str, str] | None = None,
) -> Class | Callable[[Class], Class]:
    """Declare a class to be a contract. All but the name is for the metadata alone.

    `contact` has the keys `name`, `url`, `email`; `license` is the licence's name.
    """
    mark = DeclaredContract(name, title, version, description, license, contact or {})

    def declare(one: Class) -> Class:
        setattr(one, _MARK, mark)
        return one

    return declare if declared is None else declare(declared)


@overload
def transaction(method: Method, /) -> Method: ...
@overload
def transaction(*, name: str) -> Callable[[Method], Method]: ...
def transaction(method: Method | None = None, /, *, name: str = "") -> Method | Callable[[Method], Method]:
    """Declare a coroutine method to be a function that clients submit. `name`: where it is not the method's."""
    declare: Callable[[Method], Method] = _method(DeclaredMethod(Kind.TRANSACTION, name))
    return declare if method is None else declare(method)


@overload
def query(method: Method, /) -> Method: ...
@overload
def query(*, name: str) -> Callable[[Method], Method]: ...
def query(method: Method | None = None, /, *, name: str = "") -> Method | Callable[[Method], Method]:
    """Declare a coroutine method to be a function that clients evaluate. One that writes is refused."""
    declare: Callable[[Method], Method] = _method(DeclaredMethod(Kind.QUERY, name))
    return declare if method is None else declare(method)


def before(method: Method) -> Method:
    """Declare `async def …(self, stub)` to run before every function of its contract; what it raises refuses."""
    declare: Callable[[Method], Method] = _method(DeclaredMethod(Kind.BEFORE))
    return declare(method)


def after(method: Method) -> Method:
    """Declare `async def …(self, stub, result)` to run after every function of its contract that has returned."""
    declare: Callable[[Method], Method] = _method(DeclaredMethod(Kind.AFTER))
    return declare(method)


def otherwise(method: Method) -> Method:
    """Declare `async def …(self, stub)` to answer calls of functions that its contract does not have."""
    declare: Callable[[Method], Method] = _method(DeclaredMethod(Kind.OTHERWISE))
    return declare(method)


def contract_mark(declared: type) -> DeclaredContract | None:
    """What was noted of a class itself, not of one that it is derived from."""
    mark = vars(declared).get(_MARK)
    return mark if isinstance(mark, DeclaredContract) else None


def method_mark(method: object) -> DeclaredMethod | None:
    """What was noted of a method."""
    mark = getattr(method, _MARK, None)
    return mark if isinstance(mark, DeclaredMethod) else None


def _method(mark: DeclaredMethod) -> Callable[[Method], Method]:
    def declare(method: Method) -> Method:
        setattr(method, _MARK, mark)
        return method

    return declare
