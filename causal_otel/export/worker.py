"""The export worker: a bounded queue, batches sent by a thread of its own, flushing, forking and leaving.

Ending a span only appends it to the queue. The thread is started by the first span that ends in a process, so that
importing and installing start none (``os.fork()`` warns about threads) and every forked child gets its own thread,
queue and connections.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from causal_otel.engine import faults
from causal_otel.engine.context import suppression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["ExportStatus", "Worker"]


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """What has become of this process's spans so far."""

    queued: int = 0
    exported: int = 0
    dropped_queue_full: int = 0
    """Lost because they came faster than they could be sent."""
    dropped_export_failed: int = 0
    """Lost because the back end could not be reached or refused them."""

    def __str__(self) -> str:
        lost = self.dropped_queue_full + self.dropped_export_failed
        return f"{self.exported} exported, {self.queued} waiting, {lost} lost"


class Worker(SpanProcessor):
    """Exports ended spans in batches. A span processor of the SDK, usable with any provider.

    Args:
        make_exporter: makes the exporter; called by the thread, once in every process.
        max_queue_size: how many spans may wait; the oldest are dropped, and counted, beyond that.
        max_export_batch_size: how many spans go in one export, at the most.
        schedule_delay: how long a span waits for its batch to fill, in seconds.
        exit_timeout: how long :meth:`shutdown` may take, in seconds, whatever the back end does.
    """

    def __init__(
        self,
        make_exporter: Callable[[], SpanExporter],
        *,
        max_queue_size: int = 2048,
        max_export_batch_size: int = 512,
        schedule_delay: float = 5.0,
        exit_timeout: float = 5.0,
    ) -> None:
        self._make_exporter = make_exporter
        self._max_queue_size = max_queue_size
        self._max_batch = min(max_export_batch_size, max_queue_size)
        self._delay = schedule_delay
        self._exit_timeout = exit_timeout
        self._home = os.getpid()
        self._reset()
        if hasattr(os, "register_at_fork"):
            this = weakref.ref(self)

            def in_child() -> None:
                worker = this()
                if worker is not None:
                    worker._reset()

            os.register_at_fork(after_in_child=in_child)

    def _reset(self) -> None:
        """Begin anew: nothing waits, no thread runs, no connection is open. What was inherited is the parent's."""
        self._queue: deque[ReadableSpan] = deque()
        # Re-entrant, because a garbage collection inside the lock may end an abandoned span on this very thread.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._exporter: SpanExporter | None = None
        self._stopping = False
        self._urgent = False
        self._ended = 0
        self._exported = 0
        self._failed = 0
        self._overflowed = 0

    # -- span processor -----------------------------------------------------------------------------------------

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a sampled span; wakes the thread only when a batch is full."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        with self._lock:
            if self._stopping:
                return
            self._ended += 1
            self._queue.append(span)
            if len(self._queue) > self._max_queue_size:
                self._queue.popleft()
                self._overflowed += 1
            if self._thread is None:
                self._start()
            elif len(self._queue) == self._max_batch:
                self._changed.notify_all()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended so far.

        Args:
            timeout_millis: how long to wait, in milliseconds.

        Returns:
            Whether all of it reached the back end in that time.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        with self._lock:
            target = self._ended
            lost = self._failed + self._overflowed
            self._urgent = True
            self._changed.notify_all()
            while self._settled() < target:
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None or not self._thread.is_alive():
                    return False
                self._changed.wait(left)
            return self._failed + self._overflowed == lost

    def shutdown(self) -> None:
        """Export what is left and stop, within the exit timeout."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._exit_timeout)
            if thread.is_alive() and self._exporter is not None:
                self._exporter.shutdown()  # ends its waiting between retries
        atexit.unregister(self.shutdown)

    def status(self) -> ExportStatus:
        """The counts so far, in this process."""
        with self._lock:
            return ExportStatus(len(self._queue), self._exported, self._overflowed, self._failed)

    # -- thread -------------------------------------------------------------------------------------------------

    def _settled(self) -> int:
        return self._exported + self._failed + self._overflowed

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="causal-otel-export", daemon=True)
        self._thread.start()
        if os.getpid() == self._home:
            atexit.register(self.shutdown)
        else:
            # A forked child leaves by os._exit: no atexit, only multiprocessing's own finalizers run. They are
            # registered here, at the first span, because multiprocessing clears them while the child starts.
            from multiprocessing.util import Finalize

            Finalize(None, self.shutdown, exitpriority=0)
            atexit.register(self.shutdown)  # for a plain os.fork() whose child leaves normally

    def _run(self) -> None:
        with suppression():
            try:
                self._exporter = self._make_exporter()
                while batch := self._next_batch():
                    self._export(batch)
            except Exception:
                faults.report("export worker")
            finally:
                if self._exporter is not None:
                    self._exporter.shutdown()

    def _next_batch(self) -> Sequence[ReadableSpan]:
        """Wait for a full batch, the delay, a flush or the end; empty: it is the end."""
        with self._lock:
            due = time.monotonic() + self._delay
            while not self._stopping and len(self._queue) < self._max_batch:
                if self._queue and (self._urgent or time.monotonic() >= due):
                    break
                if self._queue:
                    self._changed.wait(due - time.monotonic())
                else:
                    self._urgent = False
                    self._changed.wait(self._delay)
                    due = time.monotonic() + self._delay if not self._queue else due
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]

    def _export(self, batch: Sequence[ReadableSpan]) -> None:
        assert self._exporter is not None
        try:
            delivered = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:
            delivered = False
            faults.report(f"exporter {type(self._exporter).__name__}")
        with self._lock:
            if delivered:
                self._exported += len(batch)
            else:
                self._failed += len(batch)
            self._changed.notify_all()
