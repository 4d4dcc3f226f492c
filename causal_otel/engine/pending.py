"""A call is over when what it has returned is done: for a coroutine or anything else to be awaited, when it has been.

Its declaration does not tell. A plain function may return a coroutine, as any ``async`` function does behind somebody's
``functools.wraps``; or a future, or an async generator.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, isfuture
from collections.abc import AsyncGenerator, Coroutine
from types import NoneType
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel._internal import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from causal_otel.engine.context import Activation

__all__ = ["NEVER_PENDING", "REMEMBERED", "Awaitable", "Pending", "at_once", "is_pending", "named"]

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
    """A call until what it has returned is done: a coroutine, or anything else to be awaited.

    A coroutine that nobody awaits runs no ``finally``, nor does a generator that nobody iterates: their call ends with
    this object, which they refer to.

    Args:
        result: what the call has returned.
        enter: begins what is current while the result is awaited, and not while the caller is at work; None: nothing.
        end: is told once how it ended: a result, or an error; ``GeneratorExit``: nobody has awaited it. Never raises.
    """

    __slots__ = ("_end", "_enter", "_result")

    def __init__(
        self,
        result: Any,
        enter: Callable[[], Activation | None],
        end: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._result = result
        self._enter = enter
        self._end: Callable[[Any, BaseException | None], None] | None = end

    def shown(self, proxy: type[Awaitable] | None = None) -> Any:
        """What the caller gets for the result: for a coroutine another, a future itself, a proxy of anything else.

        Args:
            proxy: its class; None: one that is told of being awaited.
        """
        result = self._result
        if isfuture(result):
            self._result = None  # it refers to this object
            result.add_done_callback(self._done)
            return result
        return named(self.awaited(), result) if isinstance(result, Coroutine) else (proxy or Awaitable)(result, self)

    def take(self) -> Callable[[Any, BaseException | None], None] | None:
        """``end``, for whoever calls it; None: somebody has taken it."""
        end, self._end = self._end, None
        return end

    async def awaited(self, method: Callable[[], Any] | None = None) -> Any:
        """Await the result, or what ``method()`` of it returns."""
        end = self.take()
        awaitable = self._result if method is None else method()
        if end is None:
            return await awaitable  # once more: it knows what to say to that
        activation = self._enter()
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
            # Asking for the exception would keep asyncio from telling that nobody else has.
            error = CancelledError() if future.cancelled() else getattr(future, "_exception", None)
            end(future.result() if error is None else None, error)

    def __del__(self) -> None:
        end = self.take()
        if end is None:
            return
        if isinstance(self._result, Coroutine):
            try:
                self._result.close()  # ours in its place is what Python warns of
            except Exception:
                faults.report("a coroutine that nobody has awaited")
        end(None, GeneratorExit())


def named(ours: Any, theirs: Any) -> Any:
    """Python names it in a warning if it is never awaited, and asyncio in a task's representation."""
    for name in ("__name__", "__qualname__"):
        setattr(ours, name, getattr(theirs, name, type(theirs).__name__))
    return ours


class Awaitable(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic for type checkers only
    """Anything else that a call has returned: itself, but for being awaited."""

    def __init__(self, result: Any, pending: Pending) -> None:
        super().__init__(result)
        self._self_pending = pending

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_pending.awaited().__await__()
