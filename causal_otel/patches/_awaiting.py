"""What a call returns decides when it is over: at once, or when what it returned has been awaited.

Its declaration does not tell. asyncpg's ``PreparedStatement.fetch`` is a plain function that returns a coroutine, as is
any ``async`` method behind somebody's ``functools.wraps``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol

import wrapt

from causal_otel.engine import context, faults

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.context import Context

__all__ = ["Call", "Inside", "at_once", "failed", "goes_on", "watched"]

_REMEMBERED = 256  # types; drivers have few, unless they make them


class Call(Protocol):
    """A traced call under way. It is told how it ended, once; what it raises then is contained."""

    def succeeded(self, result: Any) -> None:
        """The driver has returned ``result``."""

    def failed(self, error: BaseException) -> None:
        """The driver has raised ``error``, or the call was cancelled; ``GeneratorExit``: nobody waited for its end."""


class Inside:
    """A call during which a context is current: while the driver's function runs, and while its result is awaited.

    Not in between, where the caller is at work. A call that is just that has no span of its own.

    Args:
        inside: the context.
    """

    def __init__(self, inside: Context) -> None:
        self.inside = inside

    def succeeded(self, result: Any) -> None:
        """It is over."""

    def failed(self, error: BaseException) -> None:
        """It is over."""


def _succeeded(call: Call, result: Any, site: str) -> None:
    """Tell ``call`` that it returned ``result``. Never raises."""
    try:
        call.succeeded(result)
    except Exception:
        faults.report(site)


def failed(call: Call, error: BaseException, site: str) -> None:
    """Tell ``call`` that it failed with ``error``. Never raises."""
    try:
        call.failed(error)
    except Exception:
        faults.report(site)


at_once: set[type] = {NoneType, bool, bytes, dict, float, int, list, str, tuple}
"""Types of results that are nothing to await, as far as :func:`goes_on` has seen: ask this first."""


def goes_on(kind: type) -> bool:
    """Whether a call that returned an object of this type is over only when that has been awaited.

    An awaitable that is more than that, such as the context manager of ``pool.acquire()``, is a result like any other:
    the caller may never await it.
    """
    if hasattr(kind, "__await__") and not any(hasattr(kind, other) for other in ("__aenter__", "__aiter__")):
        return True
    if len(at_once) < _REMEMBERED:
        at_once.add(kind)
    return False


def watched(awaitable: Any, call: Call, site: str) -> Any:
    """What the caller gets instead of ``awaitable``, which ``call`` returned: the same to him, and it tells ``call``.

    A coroutine for a coroutine, a future itself, and a proxy of anything else.

    Args:
        awaitable: an object whose type :func:`goes_on`.
        call: is told once, also if nobody ever awaits it.
        site: see :func:`causal_otel.engine.faults.report`.
    """
    if asyncio.isfuture(awaitable):
        awaitable.add_done_callback(_Watch(None, call, site).done)
        return awaitable
    watch = _Watch(awaitable, call, site)
    if not isinstance(awaitable, Coroutine):
        return _Awaitable(awaitable, watch)
    coroutine = watch.result()
    # Python names it in a warning if it is never awaited, and asyncio in a task's representation.
    for name in ("__name__", "__qualname__"):
        setattr(coroutine, name, getattr(awaitable, name, type(awaitable).__name__))
    return coroutine


class _Watch:
    """Holds a call until what it returned is awaited. A coroutine that nobody awaits runs no ``finally``."""

    __slots__ = ("_awaitable", "_call", "_site")

    def __init__(self, awaitable: Any, call: Call, site: str) -> None:
        self._awaitable = awaitable
        self._site = site
        self._call: Call | None = call

    def _taken(self) -> Call | None:
        call, self._call = self._call, None
        return call

    async def result(self) -> Any:
        """Await it."""
        awaitable, site, call = self._awaitable, self._site, self._taken()
        if call is None:
            return await awaitable  # once more: it knows what to say to that
        activation = context.attach(call.inside) if isinstance(call, Inside) else None
        try:
            result = await awaitable
        except BaseException as error:
            if activation is not None:
                activation.end()
            failed(call, error, site)
            raise
        if activation is not None:
            activation.end()
        _succeeded(call, result, site)
        return result

    def done(self, future: asyncio.Future[Any]) -> None:
        """A future is done."""
        call = self._taken()
        if call is None:
            return
        # Asking for the exception would keep asyncio from telling that nobody else has.
        error = asyncio.CancelledError() if future.cancelled() else getattr(future, "_exception", None)
        if error is None:
            _succeeded(call, future.result(), self._site)
        else:
            failed(call, error, self._site)

    def __del__(self) -> None:
        call = self._taken()
        if call is None:
            return
        if isinstance(self._awaitable, Coroutine):
            try:
                self._awaitable.close()  # ours in its place is what Python warns of
            except Exception:
                faults.report(self._site)
        failed(call, GeneratorExit(), self._site)


class _Awaitable(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic for type checkers only
    """Any other awaitable: itself, but for being awaited."""

    def __init__(self, awaitable: Any, watch: _Watch) -> None:
        super().__init__(awaitable)
        self._self_watch = watch

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_watch.result().__await__()
