"""What a request waited until a thread was free for it: anyio's forty, which synchronous endpoints share.

The wait is a part of the request's time, or of that of the background task that has asked for the thread, whatever
spans of the user's are between. Waits that overlap, as those of calls that are gathered, count once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument.parts import LEAST
from causal_otel.names import CAUSAL_THREADPOOL_WAIT

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causal_otel.instrument.tracing import Tracing

__all__ = ["wrap_run_sync"]

_SPANS = 1024
"""Of how many spans, the latest that have waited, it is remembered what they have."""

_SCOPE = "causal_otel.asgi"

_waited: dict[int, tuple[float, float]] = {}
"""By a span's id: until when its waits are counted, by ``perf_counter()``, and what they are together, in seconds."""


class _Job:
    """A function that notes when a thread begins with it."""

    __slots__ = ("_function", "began")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.began: float | None = None

    def __call__(self, *args: Any) -> Any:
        self.began = perf_counter()
        return self._function(*args)


def wrap_run_sync(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps anyio's ``to_thread.run_sync``."""

    @functools.wraps(original)
    async def run_sync(*args: Any, **options: Any) -> Any:
        span = context.current_span()
        if span is None or not (args and callable(args[0])) or not tracing.active:
            return await original(*args, **options)
        job = _Job(args[0])
        called = perf_counter()
        try:
            return await original(job, *args[1:], **options)
        finally:
            until = job.began or perf_counter()  # it was cancelled before there was a thread
            if until - called >= LEAST:
                _note(span, called, until)

    return run_sync


def _note(current: Span, since: float, until: float) -> None:
    try:
        span = _ours_around(current)
        if span is None or not span.is_recording():
            return
        key = span.get_span_context().span_id
        counted, together = _waited.pop(key, (since, 0.0))
        together += max(0.0, until - max(since, counted))
        if len(_waited) >= _SPANS:
            del _waited[next(iter(_waited))]
        _waited[key] = max(until, counted), together
        span.set_attribute(CAUSAL_THREADPOOL_WAIT, together)
    except Exception:
        faults.report("asgi: wait for a thread")


def _ours_around(span: Span | None) -> Span | None:
    """The span of this patch that ``span`` is in, by the blocks that are open: a request's, or a background task's."""
    while span is not None and getattr(getattr(span, "instrumentation_scope", None), "name", None) != _SCOPE:
        token = getattr(span, "_token", None)  # of its block, if it is one of ours
        before = None if token is None else token.old_value
        span = before.get(context.SPAN_KEY) if isinstance(before, dict) else None
    return span
