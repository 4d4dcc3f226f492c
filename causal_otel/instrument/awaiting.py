"""What a call returns decides when it is over: at once, or when what it returned has been awaited.

Its declaration does not tell. asyncpg's ``PreparedStatement.fetch`` is a plain function that returns a coroutine, as is
any ``async`` method behind somebody's ``functools.wraps``.

=============================  ======================================================================================
a coroutine, an awaitable      over when it has been awaited
an async generator             over with its last item; only the time spent waiting for items counts
an async context manager       over when it has been entered (or awaited, if it can be that as well)
anything else                  over at once
=============================  ======================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol

import wrapt

from causal_otel.engine import context, faults
from causal_otel.engine.pending import named
from causal_otel.instrument.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.context import Context

__all__ = ["Call", "at_once", "ended", "goes_on", "watched"]

_REMEMBERED = 256  # types; drivers have few, unless they make them


class Call(Protocol):
    """A traced call under way. It is told how it ended, once; what it raises then is contained."""

    @property
    def args(self) -> tuple[Any, ...] | None:
        """The positional arguments that the driver is given; None: the caller's."""

    @property
    def inside(self) -> Context | None:
        """The context that is current while the driver works and while its result is awaited; None: the caller's.

        Not in between, where the caller is at work.
        """

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The driver has returned or raised, or the call was cancelled; ``GeneratorExit``: nobody waited for it."""


def ended(call: Call, result: Any, error: BaseException | None, site: str) -> None:
    """Tell ``call`` how it ended. Never raises."""
    try:
        call.end(result, error)
    except Exception:
        faults.report(site)


at_once: set[type] = {NoneType, bool, bytes, dict, float, int, list, str, tuple}
"""Types of results that are nothing to await, as far as :func:`goes_on` has seen: ask this first."""


def goes_on(kind: type) -> bool:
    """Whether a call that returned an object of this type is over only when that has been awaited."""
    if issubclass(kind, AsyncGenerator):
        return True
    # What can be iterated as well, such as asyncpg's cursors, may never be awaited.
    if not hasattr(kind, "__aiter__") and (hasattr(kind, "__await__") or hasattr(kind, "__aenter__")):
        return True
    if len(at_once) < _REMEMBERED:
        at_once.add(kind)
    return False


def watched(result: Any, call: Call, site: str) -> Any:
    """What the caller gets instead of ``result``, which ``call`` returned: the same to him, and it tells ``call``.

    A coroutine for a coroutine, an async generator for an async generator, a future itself, and a proxy of anything
    else.

    Args:
        result: an object whose type :func:`goes_on`.
        call: is told once, also if nobody ever awaits it.
        site: see :func:`causal_otel.engine.faults.report`.
    """
    if asyncio.isfuture(result):
        result.add_done_callback(_Watch(None, call, site).done)
        return result
    watch = _Watch(result, call, site)
    if isinstance(result, Coroutine):
        return named(watch.awaited(), result)
    if isinstance(result, AsyncGenerator):
        return named(watch.items(), result)
    return _Proxy(result, watch)


class _Watch:
    """Holds a call until what it returned is awaited. A coroutine that nobody awaits runs no ``finally``."""

    __slots__ = ("_call", "_result", "_site")

    def __init__(self, result: Any, call: Call, site: str) -> None:
        self._result = result
        self._site = site
        self._call: Call | None = call

    def _taken(self) -> Call | None:
        call, self._call = self._call, None
        return call

    async def awaited(self, method: Callable[[], Any] | None = None) -> Any:
        """Await the result, or what ``method()`` of it returns."""
        call = self._taken()
        awaitable = self._result if method is None else method()
        if call is None:
            return await awaitable  # once more: it knows what to say to that
        activation = None if call.inside is None else context.attach(call.inside)
        try:
            result = await awaitable
        except BaseException as error:
            if activation is not None:
                activation.end()
            ended(call, None, error, self._site)
            raise
        if activation is not None:
            activation.end()
        ended(call, result, None, self._site)
        return result

    async def items(self) -> AsyncGenerator[Any, Any]:
        """Generate what the result does. Nothing of ours is current while the caller has an item."""
        call = self._taken()
        if call is None:
            return
        items, inside = self._result, call.inside
        stopwatch = Stopwatch()
        stopwatch.pause()
        failure: BaseException | None = None
        step: Callable[[], Any] = items.__anext__
        try:
            while True:
                activation = None if inside is None else context.attach(inside)
                stopwatch.resume()
                try:
                    item = await step()
                except StopAsyncIteration:
                    return
                finally:
                    stopwatch.pause()
                    if activation is not None:
                        activation.end()
                try:
                    sent = yield item
                except GeneratorExit:
                    await items.aclose()
                    raise
                except BaseException as thrown:
                    step = _later(items.athrow, thrown)
                else:
                    step = items.__anext__ if sent is None else _later(items.asend, sent)
        except GeneratorExit:
            raise  # the caller has stopped: how far it reads is no business of the operation
        except BaseException as error:
            failure = error
            raise
        finally:
            _ended_after(call, failure, stopwatch, self._site)

    def done(self, future: asyncio.Future[Any]) -> None:
        """A future is done."""
        call = self._taken()
        if call is None:
            return
        # Asking for the exception would keep asyncio from telling that nobody else has.
        error = asyncio.CancelledError() if future.cancelled() else getattr(future, "_exception", None)
        ended(call, future.result() if error is None else None, error, self._site)

    def __del__(self) -> None:
        call = self._taken()
        if call is None:
            return
        if isinstance(self._result, Coroutine):
            try:
                self._result.close()  # ours in its place is what Python warns of
            except Exception:
                faults.report(self._site)
        ended(call, None, GeneratorExit(), self._site)


def _later(method: Callable[[Any], Any], value: Any) -> Callable[[], Any]:
    return lambda: method(value)


def _ended_after(call: Any, error: BaseException | None, stopwatch: Stopwatch, site: str) -> None:
    """Tell ``call`` that it is over, and how long it was waited for, if it has a span to tell that of."""
    span = getattr(call, "span", None)
    try:
        if span is None:
            call.end(None, error)
        else:
            call.end(None, error, at=stopwatch.end_time(span), duration=stopwatch.total)
    except Exception:
        faults.report(site)


class _Proxy(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic for type checkers only
    """Anything else: itself, but for being awaited or entered."""

    def __init__(self, result: Any, watch: _Watch) -> None:
        super().__init__(result)
        self._self_watch = watch

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_watch.awaited().__await__()

    def __aenter__(self) -> Any:
        return self._self_watch.awaited(self.__wrapped__.__aenter__)

    def __aexit__(self, *details: Any) -> Any:
        return self.__wrapped__.__aexit__(*details)
