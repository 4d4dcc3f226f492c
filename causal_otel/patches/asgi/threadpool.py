"""What a request did in anyio's forty threads, which synchronous endpoints share: waiting for one, and computing.

The wait is a part of the request's time, or of that of the background task that has asked for the thread, whatever
spans of the user's are between. Waits that overlap, as those of calls that are gathered, count once. While threads are
free, no wait is measured. What threads have computed adds up.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from time import perf_counter, thread_time_ns
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context, thread_contexts
from causal_otel.instrument.jobs import Around
from causal_otel.instrument.parts import LEAST

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causal_otel.instrument.tracing import Tracing

__all__ = ["computed", "take_computed", "take_wait", "waits", "wrap_run_sync"]

_SCOPE = "causal_otel.asgi"

_LEAST = 1_000_000
"""Nanoseconds from which on it is noted what a call has computed."""

_SPANS = 1024
"""Of how many spans, the latest that have waited, it is remembered."""

waits: dict[int, tuple[float, float]] = {}
"""By a span's id, until it ends: until when its waits are counted, by ``perf_counter()``, and their sum in seconds."""

computed: dict[int, int] = {}
"""By a span's id, until it ends: how many nanoseconds threads have computed for it."""

_asking: dict[Any, int] = {}
"""How many calls are under way, by what limits their threads."""


class _Job(Around):
    """A function that notes when a thread begins with it, and how long that computes."""

    __slots__ = ("began", "computed")

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.began: float | None = None
        self.computed = 0

    def __call__(self, *args: Any) -> Any:
        self.began = perf_counter()
        watched = thread_contexts.watching is not None
        before = thread_contexts.begin_work() if watched else None
        since = thread_time_ns()
        try:
            return self.function(*args)
        finally:
            self.computed = thread_time_ns() - since
            if watched:
                thread_contexts.end(before)


def wrap_run_sync(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps anyio's ``to_thread.run_sync``."""

    @functools.wraps(original)
    async def run_sync(*args: Any, **options: Any) -> Any:
        span = context.current_span()
        if span is None or not (tracing.active and span.is_recording() and args and callable(args[0])):
            return await original(*args, **options)
        limiter, is_full = _ask(options)
        job = _Job(args[0])
        called = perf_counter()
        try:
            return await original(job, *args[1:], **options)
        finally:
            _leave(limiter)
            until = job.began or perf_counter()  # it was cancelled before there was a thread
            waited = is_full and until - called >= LEAST
            ran = job.computed if tracing.options.cpu_time else 0
            if waited or ran >= _LEAST:
                _note(span, called, until if waited else called, ran)

    return run_sync


def _ask(options: dict[str, Any]) -> tuple[Any, bool]:
    """What limits the threads of a call with these options, and whether the call has to wait for one."""
    try:
        limiter = options.get("limiter")
        if limiter is None:
            limiter = sys.modules["anyio.to_thread"].current_default_thread_limiter()
        threads, free = limiter.total_tokens, limiter.available_tokens
        # A call lets others go first before it takes a thread: of many at once all find threads that are free.
        asking = _asking[limiter] = _asking.get(limiter, 0) + 1
        return limiter, free <= 0 or asking > threads
    except Exception:
        faults.report("asgi: free threads")
        return None, False


def _leave(limiter: Any) -> None:
    """A call that has asked ``limiter`` is over."""
    asking = _asking.pop(limiter, 0)
    if asking > 1:
        _asking[limiter] = asking - 1


def _note(current: Span, since: float, until: float, ran: int) -> None:
    """Note for the span of this patch that ``current`` is in what it has waited, and what a thread has computed."""
    try:
        span = _ours_around(current)
        if span is None or not span.is_recording():
            return
        key = span.get_span_context().span_id
        if until > since:
            counted, together = waits.pop(key, (since, 0.0))
            together += max(0.0, until - max(since, counted))
            _remember(waits, key, (max(until, counted), together))
        if ran >= _LEAST:
            _remember(computed, key, computed.pop(key, 0) + ran)
    except Exception:
        faults.report("asgi: work in a thread")


def _remember(known: dict[int, Any], key: int, value: Any) -> None:
    if len(known) >= _SPANS:
        del known[next(iter(known))]
    known[key] = value


def take_wait(span: Span) -> float:
    """How many seconds ``span``, which is about to end, has waited for threads. Ask first if there are any waits."""
    return waits.pop(span.get_span_context().span_id, (0.0, 0.0))[1]


def take_computed(span: Span) -> int:
    """How many nanoseconds threads have computed for ``span``, which is about to end. Ask first if any have."""
    return computed.pop(span.get_span_context().span_id, 0)


def _ours_around(span: Span | None) -> Span | None:
    """The span of this patch that ``span`` is in, by the blocks that are open: a request's, or a background task's."""
    while span is not None and getattr(getattr(span, "instrumentation_scope", None), "name", None) != _SCOPE:
        token = getattr(span, "_token", None)  # of its block, if it is one of ours
        before = None if token is None else token.old_value
        span = before.get(context.SPAN_KEY) if isinstance(before, dict) else None
    return span
