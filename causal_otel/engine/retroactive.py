"""Retroactive sampling: traces that are not sampled are buffered until it is known whether they are worth having.

A local root that the sampler drops records all the same, and so does everything under it in this process. The ended
spans wait in a :class:`BufferedTrace`. The trace becomes a sampled one if one of them has the status ERROR, if the root
takes long enough, or if somebody calls :meth:`BufferedTrace.promote`: what waits is delivered, spans that end later are
delivered at once, and requests to other processes say ``sampled``. Otherwise the trace is forgotten a few seconds after
its root has ended.

Everything is bounded, and what the bounds cost is counted: see :class:`Buffer`.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from opentelemetry.trace import StatusCode, TraceFlags, TraceState

from causal_otel.engine.threshold import with_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from causal_otel.engine.local_trace import LocalTrace

__all__ = ["KEEP_KEY", "Buffer", "BufferLimits", "BufferedTrace", "EndedSpan"]

KEEP_KEY = "causal"
"""The key in ``tracestate`` that asks the next process to keep its part of the trace; its value is ``keep``."""

_SPAN_BYTES, _ATTRIBUTE_BYTES, _EVENT_BYTES = 400, 120, 1200  # about
_ERROR: int = StatusCode.ERROR.value
_NS = 1_000_000_000


class BufferLimits(NamedTuple):
    """How much is buffered, at the most.

    Args:
        traces: how many traces, those included whose root has ended and that only wait to be forgotten.
        spans: how many spans of one trace; beyond that its oldest go.
        size: how many bytes of all traces, about; beyond that the oldest are emptied.
        age: after how many seconds a trace that goes on is emptied. What follows is buffered again.
        grace: for how many seconds a trace waits after its root has ended well, should another process find
            something wrong with it and come back.
    """

    traces: int = 1000
    spans: int = 1000
    size: int = 32 * 1024 * 1024
    age: float = 300.0
    grace: float = 5.0


class EndedSpan(Protocol):
    """What is looked at of a span: one of :class:`~causal_otel.engine.span.Span`, which knows of this module."""

    @property
    def _attributes(self) -> Mapping[str, Any] | None: ...
    @property
    def _events(self) -> Sequence[Any] | None: ...
    @property
    def _status(self) -> int: ...
    @property
    def _start(self) -> int: ...
    @property
    def _end(self) -> int: ...


class BufferedTrace:
    """The ended spans of a local root that is not sampled."""

    __slots__ = ("_buffer", "_dropped", "_local", "_root", "_size", "_spans", "_until")

    def __init__(self, buffer: Buffer, local: LocalTrace, until: int) -> None:
        self._buffer = buffer
        self._local = local
        self._root: EndedSpan | None = None
        self._spans: deque[EndedSpan] = deque()
        self._size = 0
        self._until = until
        self._dropped = False

    def begin(self, root: EndedSpan) -> None:
        """Say which span is the local root."""
        self._root = root

    def take(self, span: EndedSpan) -> None:
        """Buffer an ended span, or promote the trace because of it."""
        buffer = self._buffer
        attributes, events = span._attributes, span._events
        size = _SPAN_BYTES
        if attributes:
            size += _ATTRIBUTE_BYTES * len(attributes)
        if events:
            size += _EVENT_BYTES * len(events)
        self._size += size
        buffer.size += size
        self._spans.append(span)
        if span._status == _ERROR or self._local.flags & 1 or self._is_slow(span):
            self.promote()
            return
        if span is self._root:
            self._root = None
            buffer.start_grace(self)
        elif len(self._spans) > buffer.limits.spans:
            self._spans.popleft()
            buffer.evicted["spans"] += 1
        if self._dropped:
            self.forget()  # nobody would look at it again
        elif buffer.size > buffer.limits.size:
            buffer.shrink()

    def _is_slow(self, span: EndedSpan) -> bool:
        """Whether the root has taken long already: one that streams for hours would tell too late by its own end."""
        slow, root = self._buffer.slow, self._root
        return slow is not None and root is not None and span._end - root._start >= slow

    def promote(self) -> None:
        """Make the trace a sampled one, with what the process has buffered of it below other local roots."""
        self._buffer.promote(self._local.trace_id)
        self.promote_part()  # again: the buffer no longer knows a trace that was dropped meanwhile

    def promote_part(self) -> None:
        """Make what is below this local root a sampled trace. Safe from any thread, and as often as one likes."""
        local = self._local
        if not local.flags & TraceFlags.SAMPLED:
            local.trace_state = _asking_to_keep(local.trace_state)
            # Spans that end from now on are delivered at once. A span whose take() has begun already looks at the flag
            # again after it was appended.
            local.flags |= TraceFlags.SAMPLED
            self._buffer.promoted += 1
        deliver = self._buffer.deliver
        while True:
            try:
                span = self._spans.popleft()
            except IndexError:
                break
            deliver(span)
        self._buffer.drop(self)

    def drop(self) -> int:
        """Empty it, and buffer nothing more of it; how many spans there were. A failure still promotes it."""
        self._dropped = True
        return self.forget()

    def forget(self) -> int:
        """Empty it; how many spans there were."""
        count = len(self._spans)
        self._spans.clear()
        self._buffer.size -= self._size
        self._size = 0
        return count

    @property
    def trace_id(self) -> int:
        """The trace's."""
        return self._local.trace_id

    @property
    def until(self) -> int:
        """When it is looked at again, by ``perf_counter_ns()``."""
        return self._until

    def wait(self, until: int) -> None:
        """Have it looked at again then."""
        self._until = until


def _asking_to_keep(state: TraceState | None) -> TraceState:
    """The trace state of a promoted trace: without a threshold, and asking the next process to keep its part."""
    rest = with_threshold(state, None) or TraceState()
    return TraceState([(KEEP_KEY, "keep"), *((key, value) for key, value in rest.items() if key != KEEP_KEY)])


class Buffer:
    """Everything that is buffered in a process.

    Args:
        deliver: takes the spans of traces that were promoted.
        slow: the root's duration in seconds from which on a trace is promoted; None: however long it takes.
        limits: how much is buffered.

    Attributes:
        size: bytes buffered, about.
        promoted: traces that became sampled ones.
        evicted: what the limits have cost, by their names: ``traces``, ``spans``, ``size`` (traces) and ``age``
            (traces that were emptied).
    """

    def __init__(
        self, deliver: Callable[[Any], None], slow: float | None = None, limits: BufferLimits | None = None
    ) -> None:
        self.deliver = deliver
        self.slow = None if slow is None else int(slow * _NS)
        self.limits = limits or BufferLimits()
        self.size = 0
        self.promoted = 0
        self.evicted: Counter[str] = Counter()
        self._running: OrderedDict[BufferedTrace, None] = OrderedDict()  # who is due next comes first
        self._over: OrderedDict[BufferedTrace, None] = OrderedDict()  # those whose root has ended; likewise
        self._lock = threading.RLock()  # a garbage collection in here may end spans on this very thread
        self._by_trace: dict[int, tuple[BufferedTrace, ...]] = {}  # a process may have several roots in one trace

    def empty_copy(self) -> Buffer:
        """Another one like it, which is empty: for a forked child, which leaves this one to its parent."""
        self._lock = threading.RLock()  # traces begun there go on using it, and whoever held it may not be here
        return Buffer(self.deliver, None if self.slow is None else self.slow / _NS, self.limits)

    def __len__(self) -> int:
        return len(self._running) + len(self._over)

    def add(self, local: LocalTrace) -> BufferedTrace | None:
        """Begin to buffer a local root's part of a trace; None: too many traces are under way."""
        now = perf_counter_ns()
        with self._lock:
            self._sweep(now)
            if len(self) >= self.limits.traces and not self._make_room():
                self.evicted["traces"] += 1
                return None
            found = BufferedTrace(self, local, now + int(self.limits.age * _NS))
            self._running[found] = None
            self._by_trace[local.trace_id] = (*self._by_trace.get(local.trace_id, ()), found)
            return found

    def promote(self, trace_id: int) -> None:
        """Promote all that is buffered of a trace: something is wrong with it here, or another process says so."""
        for buffered in self._by_trace.get(trace_id, ()):
            buffered.promote_part()

    def start_grace(self, buffered: BufferedTrace) -> None:
        """Its root has ended well: forget it soon."""
        buffered.wait(perf_counter_ns() + int(self.limits.grace * _NS))
        with self._lock:
            if buffered in self._running:
                del self._running[buffered]
                self._over[buffered] = None

    def drop(self, buffered: BufferedTrace) -> int:
        """Remove a trace; how many spans it had."""
        with self._lock:
            self._running.pop(buffered, None)
            self._over.pop(buffered, None)
            others = tuple(each for each in self._by_trace.get(buffered.trace_id, ()) if each is not buffered)
            if others:
                self._by_trace[buffered.trace_id] = others
            else:
                self._by_trace.pop(buffered.trace_id, None)
            return buffered.drop()

    def shrink(self) -> None:
        """Let go of the oldest traces until what is left is within the size; first of those that are over."""
        with self._lock:
            while self.size > self.limits.size and self._make_room():
                self.evicted["size"] += 1
            for buffered in tuple(self._running):
                if self.size <= self.limits.size:
                    break
                if buffered.forget():
                    self.evicted["size"] += 1

    def _make_room(self) -> bool:
        over = next(iter(self._over), None)
        if over is not None:
            self.drop(over)
        return over is not None

    def _sweep(self, now: int) -> None:
        """Look at those that are due. Done whenever a trace begins, and cheap where nothing is."""
        while (buffered := next(iter(self._over), None)) and buffered.until <= now:
            self.drop(buffered)
        while (buffered := next(iter(self._running), None)) and buffered.until <= now:
            if buffered.forget():
                self.evicted["age"] += 1
            buffered.wait(now + int(self.limits.age * _NS) + 1)
            self._running.move_to_end(buffered)
