"""What a decorated function has returned decides how long its span lasts: until that is done, if it has to be awaited.

Its declaration does not tell. A plain function may return a coroutine, as any ``async`` function does behind somebody's
``functools.wraps``; or a future, or an async generator.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, isfuture
from collections.abc import AsyncGenerator, Coroutine
from types import NoneType
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel.engine import faults
from causal_otel.engine.context import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["Pending", "at_once", "is_pending", "named"]

_REMEMBERED = 256  # types; a program has few, unless it makes them


at_once: set[type] = {NoneType, bool, bytes, dict, float, int, list, str, tuple}
"""Types of results that are nothing to await, as far as :func:`is_pending` has seen: ask this first."""


def is_pending(kind: type) -> bool:
    """Whether a call that has returned an object of this type is not over yet."""
    if hasattr(kind, "__await__") or issubclass(kind, AsyncGenerator):
        return True
    if len(at_once) < _REMEMBERED:
        at_once.add(kind)
    return False


class Pending:
    """The span of a call until what that has returned is done: a coroutine, or anything else to be awaited.

    A coroutine that nobody awaits runs no ``finally``, nor does a generator that nobody iterates: their span ends with
    this object, which they refer to.

    Args:
        result: what the call has returned, of a type that :func:`is_pending`.
        span: is current while it is awaited, and not while the caller is at work.
        context: what else is; None: what is current then.
        finish: ends the span, which may have failed.
    """

    __slots__ = ("_context", "_finish", "_result", "_span")

    def __init__(
        self, result: Any, span: Span, context: Context | None, finish: Callable[[Span, BaseException | None], None]
    ) -> None:
        self._result = result
        self._span: Span | None = span
        self._context = context
        self._finish = finish

    def shown(self) -> Any:
        """What the caller gets for the result: for a coroutine another, a future itself, a proxy of anything else."""
        result = self._result
        if isfuture(result):
            result.add_done_callback(self._done)
            return result
        return named(self.awaited(), result) if isinstance(result, Coroutine) else _Awaitable(result, self)

    def take(self) -> Span | None:
        """The span, for whoever ends it; None: somebody has taken it."""
        span, self._span = self._span, None
        return span

    async def awaited(self) -> Any:
        """Await the result."""
        span = self.take()
        if span is None:
            return await self._result  # once more: it knows what to say to that
        activation = enter(span, self._context)
        try:
            result = await self._result
        except BaseException as error:
            activation.end()
            self._finish(span, error)
            raise
        activation.end()
        self._finish(span, None)
        return result

    def _done(self, future: Future[Any]) -> None:
        span = self.take()
        if span is not None:
            # Asking for the exception would keep asyncio from telling that nobody else has.
            error = CancelledError() if future.cancelled() else getattr(future, "_exception", None)
            self._finish(span, error)

    def __del__(self) -> None:
        span = self.take()
        if span is None:
            return
        if isinstance(self._result, Coroutine):
            try:
                self._result.close()  # ours in its place is what Python warns of
            except Exception:
                faults.report("span: a coroutine that nobody has awaited")
        self._finish(span, None)


def named(ours: Any, theirs: Any) -> Any:
    """Python names it in a warning if it is never awaited, and asyncio in a task's representation."""
    for name in ("__name__", "__qualname__"):
        setattr(ours, name, getattr(theirs, name, type(theirs).__name__))
    return ours


class _Awaitable(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic for type checkers only
    """Anything else: itself, but for being awaited."""

    def __init__(self, result: Any, pending: Pending) -> None:
        super().__init__(result)
        self._self_pending = pending

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_pending.awaited().__await__()
