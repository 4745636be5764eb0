"""How the synchronous client is derived from the asynchronous one.

The asynchronous classes are the only ones with any logic. A synchronous class names the methods of its counterpart,
nothing more; the types of arguments and results follow from there::

    class Contract(Blocking[aio.Contract]):
        evaluate = blocking(aio.Contract.evaluate)                       # async def -> waits for the result
        propose = direct(aio.Contract.propose, Proposal)                 # def -> result wrapped as Proposal
        events = direct(aio.Contract.events, Stream[Event])

Everything runs on one event loop in a background thread; calls may come from any other thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from goldengrain.gateway.errors import GatewayError

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W")
T = TypeVar("T")


class BackgroundLoop:
    """An event loop in a daemon thread, started at first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine to its end and return its result; interrupting the wait cancels it."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise GatewayError("the synchronous client cannot be called from its own event loop's thread")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], R]) -> R:
        """Run a plain function where the event loop runs."""

        async def called() -> R:
            return function()

        return self.run(called())

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="goldengrain-gateway", daemon=True)
                self._thread.start()
            return self._loop


LOOP = BackgroundLoop()
"""The loop that all synchronous clients of a process share."""


class Blocking(Generic[A]):
    """Base of the synchronous classes: holds the asynchronous object (``asynchronous``) that does the work."""

    def __init__(self, asynchronous: A) -> None:
        self.asynchronous = asynchronous

    def __repr__(self) -> str:
        return f"<blocking {self.asynchronous!r}>"


def _wrapped(kind: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if kind is None else kind(value)


class Method(Generic[P, R]):
    """A method of a synchronous class, made of one of its asynchronous counterpart."""

    def __init__(self, name: str, doc: str | None, call: Callable[[Any, Any, Any], Any]) -> None:
        self._name = name
        self._call = call
        self.__doc__ = doc

    def __get__(self, instance: Any, owner: type[Any]) -> Callable[P, R]:
        if instance is None:
            return cast("Callable[P, R]", self)

        def method(*args: P.args, **kwargs: P.kwargs) -> R:
            return cast("R", self._call(instance.asynchronous, args, kwargs))

        method.__name__ = self._name
        method.__doc__ = self.__doc__
        return method


@overload
def blocking(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Method[P, R]: ...


@overload
def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Any]], wrap: Callable[[Any], W]
) -> Method[P, W]: ...


def blocking(method: Callable[..., Coroutine[Any, Any, Any]], wrap: Callable[[Any], Any] | None = None) -> Any:
    """Make a method that waits for an asynchronous one, its result wrapped by ``wrap``."""

    def call(target: Any, args: Any, kwargs: Any) -> Any:
        return _wrapped(wrap, LOOP.run(method(target, *args, **kwargs)))

    return Method(method.__name__, method.__doc__, call)


@overload
def direct(method: Callable[Concatenate[Any, P], R]) -> Method[P, R]: ...


@overload
def direct(method: Callable[Concatenate[Any, P], Any], wrap: Callable[[Any], W]) -> Method[P, W]: ...


def direct(method: Callable[..., Any], wrap: Callable[[Any], Any] | None = None) -> Any:
    """Make a method of one that does not wait, run where the event loop runs; its result wrapped by ``wrap``."""

    def call(target: Any, args: Any, kwargs: Any) -> Any:
        return _wrapped(wrap, LOOP.call(lambda: method(target, *args, **kwargs)))

    return Method(method.__name__, method.__doc__, call)


def iterating(method: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> Method[P, Iterator[T]]:
    """Make a method that returns an iterator of one that returns an asynchronous iterator."""

    def call(target: Any, args: Any, kwargs: Any) -> Any:
        return _iterated(method(target, *args, **kwargs))

    return Method(method.__name__, method.__doc__, call)


def _iterated(items: AsyncIterator[T]) -> Iterator[T]:
    async def following() -> tuple[bool, T | None]:
        try:
            return True, await anext(items)
        except StopAsyncIteration:
            return False, None

    try:
        while True:
            there, item = LOOP.run(following())
            if not there:
                return
            yield cast("T", item)
    finally:
        if isinstance(items, AsyncGenerator):
            LOOP.run(items.aclose())


class Attribute(Generic[T]):
    """An attribute or property passed through from the asynchronous object; ``wrap`` makes its synchronous form."""

    def __init__(self, wrap: Callable[[Any], T] | None = None) -> None:
        self._wrap = wrap
        self._name = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type[Any]) -> T:
        if instance is None:
            return cast("T", self)
        return cast("T", _wrapped(self._wrap, getattr(instance.asynchronous, self._name)))
