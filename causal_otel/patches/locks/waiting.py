"""A wait for a lock: where it is told, and what is told of it.

One that takes as long as slow plumbing is a span of its own. The others are added up on the span that was current, once
they are a millisecond together. Nothing is told where no span is recorded, nor below one that has ended: a consumer
that a request has started inherits the request's span, and waits for ever.

A lock may be waited for a hundred thousand times a second, for microseconds each. So what is known only at the
beginning is noted there, in a tuple, and everything else is asked at the end of waits that took a while.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.context import SPAN_KEY
from causal_otel.instrument.errors import Errors, error_name, mark_failed
from causal_otel.instrument.parts import LEAST
from causal_otel.instrument.stopwatch import unix_time
from causal_otel.names import (
    CAUSAL_LOCK_HOLDER,
    CAUSAL_LOCK_KIND,
    CAUSAL_LOCK_SIZE,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOCK_WAITING,
)
from causal_otel.patches.locks.callers import is_told_elsewhere
from causal_otel.patches.locks.holders import current_in, is_here, links, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causal_otel.instrument.tracing import Tracing

__all__ = ["Begun", "Look", "Waits"]

_NS = 1_000_000_000
_SHORT = 100_000
"""Nanoseconds; a wait that is shorter does not even count for a sum."""
_SUM = "_causal_lock_wait"
"""The attribute of a span object in which its short waits are added up."""

_current = context.current
_ERRORS = Errors(lambda error: None if type(error).__name__ == "QueueShutDown" else error_name(error))
"""A queue that is shut down says so to whoever waits by an exception, which is no failure."""

Begun = tuple["Context", int | None, Any, Any, int]
"""A wait under way: the context in which it began, how many waited already, the task that held the lock and what was
current in that, and when it began, by ``perf_counter_ns()``."""

Look = tuple[int | None, Any]
"""What a lock knows when somebody begins to wait: how many do already, and the task that holds it, if that is known."""


class Waits:
    """Tells of all waits of one kind.

    Args:
        tracing: the handle.
        kind: such as ``asyncio.Queue.get``.
        look: what a lock of that kind knows.
        size: how many may hold it at a time, or how many items the queue takes, where that is not always one.

    Both read private attributes: where they raise, nothing is known.
    """

    def __init__(
        self,
        tracing: Tracing[Any],
        kind: str,
        look: Callable[[Any], Look],
        size: Callable[[Any], Any] = lambda lock: None,
    ) -> None:
        self._tracing = tracing
        self._kind = kind
        self._name = f"wait {kind.partition('.')[2]}"
        self._look = look
        self._size = size
        self._excluded = tracing.excluded is not None and tracing.excluded(kind)
        self._slow = tracing.slow_plumbing * _NS

    def around(
        self, original: Callable[..., Any], is_busy: Callable[[Any], object] = lambda lock: True
    ) -> Callable[..., Any]:
        """A replacement for ``original``, a method that waits.

        Args:
            original: a coroutine function that takes a lock first.
            is_busy: whether it has to wait for that. It reads private attributes: where it raises ``AttributeError``,
                nothing is told.
        """

        @functools.wraps(original)
        async def call(lock: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                busy = is_busy(lock)
            except AttributeError:
                busy = False
            if busy:
                return await self.during(original, lock, *args, **kwargs)
            return await original(lock, *args, **kwargs)

        return call

    async def during(self, original: Callable[..., Any], lock: Any, *args: Any, **kwargs: Any) -> Any:
        """What ``original`` returns, which is about to wait for ``lock``."""
        begun = self.begin(lock)
        if begun is None:
            return await original(lock, *args, **kwargs)
        try:
            result = await original(lock, *args, **kwargs)
        except BaseException as error:
            self.end(lock, begun, error)
            raise
        if perf_counter_ns() - begun[4] >= _SHORT:
            self.end(lock, begun)
        return result

    def begin(self, lock: Any) -> Begun | None:
        """Somebody begins to wait for ``lock``, in the current context; None: nobody is told."""
        current = _current()
        if not current or self._excluded or not self._tracing.active:
            return None
        try:
            span: Any = current.get(SPAN_KEY)
            if span is None or not span.is_recording():
                return None
            try:
                waiting, holder = self._look(lock)
            except (AttributeError, TypeError):  # a version of the library that has not been seen yet
                waiting = holder = None
            return current, waiting, holder, None if holder is None else current_in(holder), perf_counter_ns()
        except Exception:
            faults.report(f"locks: {self._kind}")
            return None

    def end(
        self,
        lock: Any,
        begun: Begun,
        error: BaseException | None = None,
        learned: dict[str, Any] | None = None,
        *,
        is_own: bool = False,
    ) -> None:
        """A wait is over. Never raises.

        Args:
            lock: what was waited for.
            begun: what :meth:`begin` has returned.
            error: what ended it, if it was not that the lock was had.
            learned: more attributes of its span.
            is_own: whether it is known that the application itself has waited, and no driver.
        """
        until = perf_counter_ns()
        current, since = begun[0], begun[4]
        if until - since < _SHORT or not self._tracing.active:
            return
        try:
            span: Any = current[SPAN_KEY]
            if not span.is_recording() or context.is_suppressed(current) or (not is_own and is_told_elsewhere()):
                return
            if until - since < self._slow:
                _add(span, since, until)
            else:
                self._record(lock, span, begun, until, error, learned)
        except Exception:
            faults.report(f"locks: {self._kind}")

    def _record(
        self,
        lock: Any,
        parent: Span,
        begun: Begun,
        until: int,
        error: BaseException | None,
        learned: dict[str, Any] | None,
    ) -> None:
        current, waiting, holder, held_in, since = begun
        attributes: dict[str, Any] = {
            CAUSAL_LOCK_WAIT: (until - since) / _NS,
            CAUSAL_LOCK_KIND: self._kind,
            **(learned or {}),
        }
        if waiting is not None:
            attributes[CAUSAL_LOCK_WAITING] = waiting
        try:
            size = self._size(lock)
        except (AttributeError, TypeError):
            size = None
        if isinstance(size, int) and size > 0:  # a limiter may be unlimited, and a semaphore that signals has none
            attributes[CAUSAL_LOCK_SIZE] = size
        linked = None
        if holder is not None and is_here(holder):
            linked = links(held_in)
            if (name := name_of(holder)) is not None:
                attributes[CAUSAL_LOCK_HOLDER] = name
        span = self._tracing.start(self._name, SpanKind.INTERNAL, attributes, current, unix_time(parent, since), linked)
        if error is not None:
            mark_failed(span, error, _ERRORS)
        span.end()


def _add(span: Any, since: int, until: int) -> None:
    """Add a short wait to those of ``span``. Of waits that overlap, as of gathered calls, each moment counts once.

    Args:
        span: whose it is.
        since: when it began, by ``perf_counter_ns()``.
        until: when it ended.
    """
    counted, together = getattr(span, _SUM, (0, 0))
    together += max(0, until - max(since, counted))
    with suppress(AttributeError):  # another provider's, without room for it
        setattr(span, _SUM, (max(until, counted), together))
    if together >= LEAST * _NS:
        span.set_attribute(CAUSAL_LOCK_WAIT, together / _NS)
