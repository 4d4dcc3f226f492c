"""The thread that looks, some times a second, at what runs inside recorded spans.

The user's threads note where they work (:mod:`~causal_otel.engine.thread_contexts`), once for each trace or job, and
write down what was seen when a span ends. Nothing else of this runs on them. A look first asks what span is current in
each thread that has noted where it works. Frames are read only where there is one that is recorded: in a loop that
waits, none is. The sample is the current span's. What runs below it, in a span of its own, is that one's. So a profile
is of the span's own time.

What is seen is a thread that works for the span: it computes, waits for the GIL, or waits in a call that blocks. A
coroutine that awaits is in no thread, and is not seen.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from random import Random
from time import perf_counter_ns
from typing import TYPE_CHECKING

from causal_otel._internal import faults, process
from causal_otel.causality.thread_times import not_counted
from causal_otel.engine import context, thread_contexts
from causal_otel.engine.span import Span
from causal_otel.profiling.profile import Profile, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Sampler", "unavailable"]

_LINGER = 2_000_000_000
"""Nanoseconds without a recorded span after which nobody looks, but for once a second."""
_DOZE = 1.0
"""Seconds. A connection that was open for long may begin to work without a trace or a job that begins."""


def unavailable() -> str | None:
    """Why nothing can be profiled in this process; None: it can."""
    gil = getattr(sys, "_is_gil_enabled", None)
    if gil is not None and not gil():
        return "on a free-threaded build another thread's frames cannot be read while it runs"
    if not hasattr(sys, "_current_frames") or sys.implementation.name != "cpython":
        return f"{sys.implementation.name} does not show the frames of its threads"
    for module, patched in (("gevent.monkey", "saved"), ("eventlet.patcher", "already_patched")):
        found = sys.modules.get(module)
        if found is not None and getattr(found, patched, None):
            return f"{module.partition('.')[0]} has replaced threads by greenlets, which no thread sees from outside"
    if context.variable is None:
        return "OTEL_PYTHON_CONTEXT names a runtime context whose current span no other thread can read"
    return None


class Sampler:
    """Looks at the threads of this process until it is closed. The thread is started where the first trace begins.

    Args:
        rate: how many times a second.

    Attributes:
        period: seconds between two looks, in the mean. Each is another, so that they do not fall in step with timers.
        looks: how often it has looked.
        samples: how many stacks were read.
    """

    def __init__(self, rate: float) -> None:
        self.period = 1 / rate
        self.looks = 0
        self.samples = 0
        self._uniform = Random().uniform
        self._closed = False
        self._begin()
        process.at_fork(in_child=self._begin)
        self._watch_no_more = thread_contexts.watch(self._began)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._dozes = False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Look no more. The thread is gone when it wakes up next."""
        self._closed = True
        self._watch_no_more()
        self._wake.set()

    def observe(self, observer: Callable[[Span, int], None]) -> Callable[[Span, int], None]:
        """What the engine tells of long spans: that a span says what was seen of it, besides what ``observer`` does."""

        def observe(span: Span, end: int) -> None:
            observer(span, end)
            profile = span._profile
            if profile is not None:
                try:
                    span._profile = None
                    span.set_attributes(profile.attributes(self.period))
                except Exception:
                    faults.report("profiling: a span's end")

        return observe

    def _began(self) -> None:
        """A trace or a job begins, in its thread."""
        if self._dozes:
            self._wake.set()
        elif self._thread is None:
            self._start()

    def _start(self) -> None:
        if self._closed or not self._lock.acquire(blocking=False):
            return  # another thread starts it, or a signal has come while this one does
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="causal-otel-profiler", daemon=True)
                thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
                self._thread = thread
                with contextlib.suppress(RuntimeError):  # the process ends
                    thread.start()
        finally:
            self._lock.release()

    def _run(self) -> None:
        count = not_counted()
        try:
            self._until_closed()
        except Exception:
            faults.report("profiling: sampler")
        finally:
            count()

    def _until_closed(self) -> None:
        least, most = self.period * 0.5, self.period * 1.5
        needed = perf_counter_ns()
        while not self._closed:
            # To wait for an event with a timeout takes half as much again.
            time.sleep(self._uniform(least, most))
            if self._look():
                needed = perf_counter_ns()
            elif perf_counter_ns() - needed > _LINGER:
                self._dozes = True
                if self._wake.wait(_DOZE) or self._look():
                    needed = perf_counter_ns()
                self._dozes = False
                self._wake.clear()

    def _look(self) -> bool:
        """Take a sample of each thread that works for a recorded span; whether there is any."""
        self.looks += 1
        try:
            current = {ident: span for ident in list(thread_contexts.known) if (span := _recorded(ident)) is not None}
            if current:
                self._sample(current)
        except Exception:
            faults.report("profiling: sampler")
            return False
        return bool(current)

    def _sample(self, current: dict[int, Span]) -> None:
        frames = sys._current_frames()
        del frames[threading.get_ident()]  # or this frame would hold itself, and those of all threads with it
        for ident, span in current.items():
            frame = frames.get(ident)
            if frame is None:  # the thread has ended since, and another may get its number
                thread_contexts.known.pop(ident, None)
            elif _recorded(ident) is span:  # or it has gone on to something else before its frames were read
                stack = stack_of(frame)
                if span._profile is None:
                    span._profile = Profile()
                span._profile.add(stack)
                self.samples += 1


def _recorded(ident: int) -> Span | None:
    """The span that is current in a thread, if that is one of ours that is recorded and has not ended."""
    where = thread_contexts.known.get(ident)
    found = None if where is None else thread_contexts.current_in(where)
    span = None if found is None else context.current_span(found)
    return span if isinstance(span, Span) and not span._end else None
