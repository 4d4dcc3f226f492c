"""The sending of a message that is under way, and the parts of its time: waiting for the broker's pool, connecting."""

from __future__ import annotations

import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import Context, create_key

from causal_otel._internal import faults
from causal_otel.engine.context import SPAN_KEY, SUPPRESSED, begin, current, restore
from causal_otel.instrument.calls import inside
from causal_otel.instrument.parts import LEAST, forget, note, noted, tell
from causal_otel.names import CAUSAL_CONNECT, CAUSAL_POOL_SIZE, CAUSAL_POOL_WAIT, CAUSAL_POOL_WAITING

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["DUE", "SENDING", "Sending", "by_beat", "wrap_acquire", "wrap_connect"]

SENDING = create_key("causal-otel-celery-sending")
"""The key in a context of the :class:`Sending` that is under way."""


DUE = create_key("causal-otel-celery-due")
"""The key in a context in which beat sends what is due."""

by_beat = inside(lambda: Context({**current(), DUE: True}), always=True)
"""The wrapper of ``celery.beat.Scheduler.apply_async``."""


class Sending:
    """A message that is being sent.

    Attributes:
        running: the operation; None: it is neither recorded nor measured.
        outer: the context in which it is sent.
        span: whose identity the message carries; None: that of what is current in ``outer``.
        inside: the context that is current meanwhile.
        began: by ``perf_counter()``.
    """

    __slots__ = ("began", "inside", "outer", "running", "span")

    def __init__(self, running: Running | None, outer: Context, span: Span | None) -> None:
        self.running = running
        self.outer = outer
        self.span = span
        self.inside: Any = {**outer, SENDING: self} if span is None else {**outer, SENDING: self, SPAN_KEY: span}
        self.began = perf_counter()


def wrap_acquire(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """``kombu.resource.Resource.acquire``: of the pool of producers, and inside it of that of connections."""

    @functools.wraps(original)
    def acquire(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if SENDING not in current() or not _is_exhausted(self):
            return original(self, *args, **kwargs)
        waiting = _waiting(self)
        began = perf_counter()
        try:
            return original(self, *args, **kwargs)
        finally:
            seconds = perf_counter() - began
            if seconds >= LEAST:
                _note_wait(self, seconds - noted(began), waiting)

    return acquire


def _is_exhausted(pool: Any) -> bool:
    """Whether a pool has nothing to hand out; so as well where that cannot be seen."""
    try:
        return not pool._resource.queue
    except AttributeError:
        return True


def _waiting(pool: Any) -> int:
    """How many wait for a free member of a pool, by what its queue keeps for itself."""
    try:
        return len(pool._resource.not_empty._waiters)
    except AttributeError:  # gevent's and eventlet's queues are others
        return 0


def _note_wait(pool: Any, seconds: float, waiting: int) -> None:
    try:
        if seconds >= LEAST:
            note(CAUSAL_POOL_WAIT, seconds)
            tell(CAUSAL_POOL_SIZE, pool.limit or 0)
            tell(CAUSAL_POOL_WAITING, waiting)
    except Exception:
        faults.report("celery: broker pool")


def wrap_connect(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Methods of ``kombu.connection.Connection`` that connect: of Redis' only opening a channel does."""

    @functools.wraps(original)
    def connect(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        context = current()
        if SENDING not in context:
            return original(self, *args, **kwargs)
        token = begin(cast("Context", {**context, **SUPPRESSED}))
        began = perf_counter()
        try:
            return original(self, *args, **kwargs)
        finally:
            seconds = perf_counter() - began
            restore(token)
            forget(began)
            note(CAUSAL_CONNECT, seconds)

    return connect
