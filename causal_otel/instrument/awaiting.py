"""What a call returns decides when it is over: at once, or when what it returned has been awaited.

How a function is declared does not tell. asyncpg's ``PreparedStatement.fetch`` is a plain function that returns a
coroutine, as is any ``async`` method behind somebody's ``functools.wraps``.

=============================  ======================================================================================
a coroutine, an awaitable      over when it has been awaited
an async generator             over with its last item; only the time spent waiting for items counts
an async context manager       over when it has been entered (or awaited, if it can be that as well)
anything else                  over at once
=============================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.pending import NEVER_PENDING, REMEMBERED, Awaitable, Pending, named_as
from causal_otel.instrument.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

__all__ = ["Call", "at_once", "ended", "goes_on", "watched"]


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
        """The driver has returned or raised, or was cancelled; ``GeneratorExit``: nobody awaited the result."""


def ended(call: Call, result: Any, error: BaseException | None, site: str) -> None:
    """Tell ``call`` how it ended. Never raises."""
    try:
        call.end(result, error)
    except Exception:
        faults.report(site)


at_once: set[type] = {*NEVER_PENDING}
"""Types of results that are nothing to await, as far as :func:`goes_on` has seen: ask this first."""


def goes_on(kind: type) -> bool:
    """Whether a call that returned an object of this type is over only when that object is done."""
    if issubclass(kind, AsyncGenerator):
        return True
    # What can be iterated as well, such as asyncpg's cursors, may never be awaited.
    if not hasattr(kind, "__aiter__") and (hasattr(kind, "__await__") or hasattr(kind, "__aenter__")):
        return True
    if len(at_once) < REMEMBERED:
        at_once.add(kind)
    return False


def watched(result: Any, call: Call, site: str) -> Any:
    """What the caller gets in place of ``result``: it behaves the same, and tells ``call`` when it is done.

    A coroutine for a coroutine, an async generator for an async generator, a future itself, and a proxy of anything
    else.

    Args:
        result: an object whose type :func:`goes_on`.
        call: is told once, also if nobody ever awaits it.
        site: see :func:`causal_otel._internal.faults.report`.
    """

    def enter() -> context.Activation | None:
        return None if call.inside is None else context.attach(call.inside)

    pending = Pending(result, enter, lambda result, error: ended(call, result, error, site))
    if isinstance(result, AsyncGenerator):
        return named_as(_items(result, pending, enter, call, site), result)
    return pending.substitute(_Managed)


async def _items(
    items: AsyncGenerator[Any, Any],
    pending: Pending,
    enter: Callable[[], context.Activation | None],
    call: Any,
    site: str,
) -> AsyncGenerator[Any, Any]:
    """Generate what ``items`` does. Nothing of ours is current while the caller has an item."""
    pending.take()  # from here on this generator ends the call
    stopwatch = Stopwatch()
    stopwatch.pause()
    failure: BaseException | None = None
    step: Callable[[], Any] = items.__anext__
    try:
        while True:
            activation = enter()
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
                step = partial(items.asend, (yield item))
            except GeneratorExit:
                await items.aclose()
                raise
            except BaseException as thrown:
                step = partial(items.athrow, thrown)
    except GeneratorExit:
        raise  # the caller has stopped reading, which is no failure of the operation
    except BaseException as error:
        failure = error
        raise
    finally:
        _ended_after(call, failure, stopwatch, site)


def _ended_after(call: Any, error: BaseException | None, stopwatch: Stopwatch, site: str) -> None:
    """Tell ``call`` that it is over; if it has a span, also how long the caller waited for items."""
    span = getattr(call, "span", None)
    try:
        if span is None:
            call.end(None, error)
        else:
            call.end(None, error, at=stopwatch.end_time(span), duration=stopwatch.total)
    except Exception:
        faults.report(site)


class _Managed(Awaitable):
    """A proxy of anything else that can be awaited or entered: only that is different."""

    def __aenter__(self) -> Any:
        return self._self_pending.awaited(self.__wrapped__.__aenter__)

    def __aexit__(self, *details: Any) -> Any:
        return self.__wrapped__.__aexit__(*details)
