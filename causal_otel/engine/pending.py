"""A call that returns an awaitable is over when that has been awaited, not when the call returns.

How a function is declared does not tell. A plain function may return a coroutine, as any ``async`` function does behind
somebody's ``functools.wraps``; or a future, or an async generator.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, isfuture
from collections.abc import AsyncGenerator, Coroutine
from types import CoroutineType, NoneType
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel._internal import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from causal_otel.engine.context import Activation

__all__ = ["NEVER_PENDING", "REMEMBERED", "Awaitable", "Pending", "at_once", "is_pending", "named_as"]

REMEMBERED = 256  # types; a program has few, unless it makes them


NEVER_PENDING: frozenset[type] = frozenset({NoneType, bool, bytes, dict, float, int, list, str, tuple})
"""Types that most calls return, and that nobody awaits."""

at_once: set[type] = {*NEVER_PENDING}
"""Types of results that are nothing to await, as far as :func:`is_pending` has seen: ask this first."""


def is_pending(kind: type) -> bool:
    """Whether a call that has returned an object of this type is not over yet."""
    if hasattr(kind, "__await__") or issubclass(kind, AsyncGenerator):
        return True
    if len(at_once) < REMEMBERED:
        at_once.add(kind)
    return False


class Pending:
    """A call that has returned a coroutine, or another awaitable, that is not done yet.

    A coroutine that nobody awaits runs no ``finally``, nor does a generator that nobody iterates. Both refer to this
    object, which is freed with them and then ends the call.

    Args:
        result: what the call has returned.
        enter: begins what is current while the result is awaited, and not while the caller is at work; None: nothing.
        end: is told once how it ended: a result, or an error; ``GeneratorExit``: nobody has awaited it. Never raises.
    """

    __slots__ = ("_end", "_enter", "_result")

    def __init__(
        self,
        result: Any,
        enter: Callable[[], Activation | None] | None,
        end: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._result = result
        self._enter = enter
        self._end: Callable[[Any, BaseException | None], None] | None = end

    def substitute(self, proxy: type[Awaitable] | None = None) -> Any:
        """What the caller gets: another coroutine in place of a coroutine, a future itself, a proxy of anything else.

        Args:
            proxy: its class; None: one that is told of being awaited.
        """
        result = self._result
        if type(result) is CoroutineType:  # nearly always, and the other questions take longer
            return named_as(self.awaited(), result)
        if isfuture(result):
            self._result = None  # it refers to this object
            result.add_done_callback(self._done)
            return result
        return named_as(self.awaited(), result) if isinstance(result, Coroutine) else (proxy or Awaitable)(result, self)

    def take(self) -> Callable[[Any, BaseException | None], None] | None:
        """``end``, for whoever calls it; None: somebody has taken it."""
        end, self._end = self._end, None
        return end

    async def awaited(self, method: Callable[[], Any] | None = None) -> Any:
        """Await the result, or what ``method()`` of it returns."""
        end = self.take()
        awaitable = self._result if method is None else method()
        if end is None:
            return await awaitable  # awaited again, to which it may object
        activation = None if self._enter is None else self._enter()
        try:
            result = await awaitable
        except BaseException as error:
            if activation is not None:
                activation.end()
            end(None, error)
            raise
        if activation is not None:
            activation.end()
        end(result, None)
        return result

    def _done(self, future: Future[Any]) -> None:
        end = self.take()
        if end is not None:
            # future.exception() would keep asyncio from warning that nobody has retrieved the exception.
            error = CancelledError() if future.cancelled() else getattr(future, "_exception", None)
            end(future.result() if error is None else None, error)

    def __del__(self) -> None:
        end = self.take()
        if end is None:
            return
        if isinstance(self._result, Coroutine):
            try:
                self._result.close()  # Python warns of our coroutine in its place
            except Exception:
                faults.report("a coroutine that nobody has awaited")
        end(None, GeneratorExit())


def named_as(ours: Any, theirs: Any) -> Any:
    """Give ``ours`` the names of ``theirs``, which Python's "never awaited" warnings and asyncio's tasks show."""
    ours.__name__ = getattr(theirs, "__name__", type(theirs).__name__)
    ours.__qualname__ = getattr(theirs, "__qualname__", type(theirs).__name__)
    return ours


class Awaitable(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic for type checkers only
    """A proxy of anything else that a call has returned: only awaiting it is different."""

    def __init__(self, result: Any, pending: Pending) -> None:
        super().__init__(result)
        self._self_pending = pending

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_pending.awaited().__await__()
