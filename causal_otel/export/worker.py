"""The export worker: takes ended spans from any thread, encodes them in small slices, and hands them to the sender.

Ending a span is one ``deque.append`` and one comparison, without a lock. That is safe because the deque's methods are
single steps under the GIL, and because there is nothing else to keep consistent with them: a span may end in a
garbage collection, in a signal handler or in the middle of our own code, on any thread. All that must happen besides
(starting the threads, waking one, dropping the oldest) hangs on that comparison, with a mark that says at which length
the queue needs attention next: see :meth:`Worker.on_end`.

Two threads: one encodes, the other sends (:mod:`causal_otel.export.sender`), so that a back end that hangs never stops
spans from being taken. They are started by the first span that ends in a process: importing and installing start none,
and each forked child gets its own, with its own queue and connections.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import replace
from sys import getrefcount
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor

from causal_otel.engine import faults
from causal_otel.engine.context import suppression
from causal_otel.engine.span import Span
from causal_otel.export import leaving
from causal_otel.export.encoder import Encoder
from causal_otel.export.ledger import ExportStatus, Flush, Ledger
from causal_otel.export.notices import Notices
from causal_otel.export.sender import Batch, Sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from causal_otel.export.encoder import Request
    from causal_otel.export.spool import Spool
    from causal_otel.export.transport import Outcome, Transport

__all__ = ["Worker"]

_SLICE = 64
"""Spans encoded at a stretch: two tenths of a millisecond, in which an event loop may have to wait for the GIL."""

_BREATH = 10e-6
"""Seconds between two slices. Zero would give the GIL away and mostly take it back before another thread woke up."""

_MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""Encoded spans that may wait for the back end: some 50,000."""

_LAUNCH_SECONDS = 1.0

_REFERENCES = 3
"""To a span that only the list, the loop over it and the question refer to."""


class Worker(SpanProcessor):
    """Exports ended spans in batches. A span processor of the SDK, usable with any provider.

    Args:
        make_transport: called by the sending thread, once in every process.
        destination: what the log and the status call the back end.
        max_queue_size: how many spans may wait to be encoded; the oldest are dropped, and counted, beyond that.
        max_export_batch_size: how many spans go in one request, at the most.
        schedule_delay: how long a span waits for its batch to fill, in seconds.
        timeout: how long one attempt to send a batch may take, in seconds.
        export_timeout: how long one batch may take, with all attempts and the pauses between them, in seconds.
        exit_timeout: how long :meth:`shutdown` may take, in seconds, whatever the back end does.
        max_backlog_bytes: how much may wait for the back end, encoded.
        spool: where to put what cannot be delivered; None: nowhere.
        observe: told of every attempt to send: how many seconds it took and what came of it.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        destination: str = "the back end",
        max_queue_size: int = 2048,
        max_export_batch_size: int = 512,
        schedule_delay: float = 5.0,
        timeout: float = 10.0,
        export_timeout: float = 30.0,
        exit_timeout: float = 5.0,
        max_backlog_bytes: int = _MAX_BACKLOG_BYTES,
        spool: Spool | None = None,
        observe: Callable[[float, Outcome], None] | None = None,
    ) -> None:
        self._make_transport = make_transport
        self._destination = destination
        self._max_queue_size = max_queue_size
        self._max_batch = min(max_export_batch_size, max_queue_size)
        self._delay = schedule_delay
        self._timeout = timeout
        self._export_timeout = export_timeout
        self._exit_timeout = exit_timeout
        self._max_backlog_bytes = max_backlog_bytes
        self._spool = spool
        self._observe = observe or (lambda seconds, outcome: None)
        self._queue: deque[ReadableSpan] = deque()  # the same one for ever: the engine may keep on_end at hand
        self._inherited: list[Sender] = []
        self._reset()
        leaving.register(self.shutdown)
        if hasattr(os, "register_at_fork"):
            this = weakref.ref(self)

            def in_child() -> None:
                worker = this()
                if worker is not None:
                    worker._forked()

            os.register_at_fork(after_in_child=in_child)

    def _reset(self) -> None:
        """Begin anew: nothing waits, no thread runs, no connection is open."""
        self._pid = os.getpid()
        self._queue.clear()
        self._ledger = Ledger()
        self._notices = Notices()
        self._sender = Sender(
            self._make_transport,
            self._ledger,
            self._notices,
            destination=self._destination,
            timeout=self._timeout,
            export_timeout=self._export_timeout,
            max_bytes=self._max_backlog_bytes,
            spool=self._spool,
            observe=self._observe,
        )
        self._encoder: Encoder | None = None
        self._head = 0  # how many spans have left the queue
        self._encoding: int | None = None  # the position of the first of those being encoded
        self._overflow_seen = 0
        # A lock used as a bell: locked is silent. Releasing one takes a single step and never waits, unlike all that
        # `threading` builds with it, so it may be rung from inside a garbage collection.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._threads: list[threading.Thread] = []
        self._launched = threading.Event()
        self._unlaunched = [True]  # whoever pops it starts the threads
        self._urgent = False
        self._stopping = False
        self._closed = False
        self._mark = 1

    def _forked(self) -> None:
        """In a child: what was inherited is the parent's."""
        self._sender.abandon()
        # Kept, since finalizers of what it holds may want a lock that a thread of the parent held at the fork.
        self._inherited.append(self._sender)
        self._reset()

    # -- span processor -----------------------------------------------------------------------------------------

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a sampled span.

        The mark is what makes this enough. The encoding thread sets it *before* it looks at the queue and goes to
        sleep; here the span is appended *before* the mark is read. So either the thread has seen the span, or we see
        the mark: no wake-up is lost, and none is needed while the thread is awake.
        """
        try:
            if not span._flags & 1:  # type: ignore[attr-defined]  # ours have them at hand
                return
        except AttributeError:
            context = span.context
            if context is None or not context.trace_flags.sampled:
                return
        queue = self._queue
        queue.append(span)
        if len(queue) >= self._mark:
            self._attend()

    def _attend(self) -> None:
        """The queue has reached the mark: the threads are wanted, a batch is full, or the queue is."""
        try:
            if self._pid != os.getpid():
                # A fork in C that ran no hooks. What waits cannot be told apart: better twice than not at all.
                waiting = tuple(self._queue)
                self._forked()
                self._queue.extend(waiting)
            if self._unlaunched:
                self._launch()
            with self._ledger.lock:
                if not self._stopping:
                    self._mark = self._max_queue_size + 1
                over = len(self._queue) if self._closed else len(self._queue) - self._max_queue_size
                if over > 0:
                    lost = len(self._popped(over))
                    self._ledger.drop(lost, "shutdown" if self._closed else "queue_full", self._head)
                    self._head += lost
            self._ring()
        except Exception:
            faults.report("export: span end")

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung and not heard yet
            self._bell.release()

    def _popped(self, most: int) -> list[ReadableSpan]:
        """The oldest spans, up to ``most``; called with the lock. Others do not pop, but a collection in here may."""
        spans: list[ReadableSpan] = []
        try:
            while len(spans) < most:
                spans.append(self._queue.popleft())
        except IndexError:
            pass
        return spans

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended so far.

        Args:
            timeout_millis: how long to wait, in milliseconds.

        Returns:
            Whether all of it was delivered in that time; what went to the spool was not.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        ledger = self._ledger
        with ledger.lock:
            flush = Flush(self._head + len(self._queue))
            if self._settled() >= flush.target:
                return True
            if self._closed:
                return False
            ledger.flushes.append(flush)
        try:
            if self._unlaunched:
                self._launch()
            with ledger.lock:
                self._urgent = True
            self._sender.hurry()
            self._ring()
            with ledger.lock:
                while self._settled() < flush.target:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    ledger.changed.wait(min(left, threading.TIMEOUT_MAX))
                return not flush.failed
        finally:
            with ledger.lock:
                ledger.flushes.remove(flush)

    def _settled(self) -> int:
        """The position before which every span is accounted for. Called with the lock."""
        floor = self._sender.floor()
        positions = [position for position in (floor, self._encoding) if position is not None]
        return min(positions, default=self._head)

    def shutdown(self) -> None:
        """Export what is left and stop, within the exit timeout; one line in the log says what could not be."""
        if self._pid != os.getpid():
            self._forked()
        deadline = time.monotonic() + self._exit_timeout
        ledger, sender = self._ledger, self._sender
        with ledger.lock:
            if self._stopping:
                return
            self._stopping = True
            self._mark = 0
            left = len(self._queue) + self._waiting()
            before = (sum(ledger.dropped.values()), ledger.spooled)
        leaving.unregister(self.shutdown)
        if left or not self._unlaunched:
            self._notices.muted = True
            sender.stop(deadline)
            self._ring()
            if self._alive():
                with ledger.lock:
                    while not (self._closed and sender.done) and (rest := deadline - time.monotonic()) > 0:
                        ledger.changed.wait(rest)
            elif not self._unlaunched or left:
                with suppression():  # too late to start threads: Python refuses that at its end
                    self._encode_all()
                    sender.finish()
                    sender.run()
        with ledger.lock:
            self._closed = True
            rest_of_queue = len(self._popped(len(self._queue)))
            self._head += rest_of_queue
        if rest_of_queue:
            ledger.drop(rest_of_queue, "shutdown", 0)
        if not sender.done:
            sender.give_up()
        sender.close()
        self._notices.muted = False
        lost = sum(ledger.dropped.values()) - before[0]
        spooled = ledger.spooled - before[1]
        if lost or spooled:
            self._notices.say(
                "shutdown",
                "%d of the last %d spans could not be delivered to %s within %g s (%s)%s",
                *(lost + spooled, left, self._destination, self._exit_timeout, sender.problem or "no answer"),
                f"; {spooled} of them are in the spool" if spooled else "",
            )

    def _alive(self) -> bool:
        """Whether there are threads that will see to the rest."""
        if self._unlaunched:
            self._launch()
        self._launched.wait(_LAUNCH_SECONDS)
        return bool(self._threads) and all(
            thread.is_alive() or (thread is self._threads[0] and self._closed) for thread in self._threads
        )

    def status(self) -> ExportStatus:
        """What has become of the spans of this process; looks into the spool directory."""
        return self.counts() if self._spool is None else replace(self.counts(), spooled_bytes=self._spool.size())

    def counts(self) -> ExportStatus:
        """The same without that look: ``spooled_bytes`` is zero."""
        ledger = self._ledger
        with ledger.lock:
            dropped = dict(ledger.dropped)
            if self._spool is not None:
                dropped["spool_full"] = self._spool.dropped_spans
            return ExportStatus(
                queued=len(self._queue) + self._waiting(),
                capacity=self._max_queue_size,
                in_flight=ledger.in_flight,
                exported=ledger.exported,
                dropped=dropped,
                spooled=ledger.spooled,
                recovered=ledger.recovered,
                last_success=ledger.last_success,
            )

    def _waiting(self) -> int:
        """How many spans have left the queue and are not accounted for. Called with the lock."""
        return self._sender.spans() + (0 if self._encoding is None else self._head - self._encoding)

    # -- threads ------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        """Start the threads, from a bare one.

        ``Thread.start()`` waits until its thread has got the GIL, which may take several milliseconds, and ending a
        span waits for nothing.
        """
        try:
            self._unlaunched.pop()
        except IndexError:
            return
        try:
            leaving.register_in_child(self.shutdown)
            _thread.start_new_thread(self._start_threads, ())
        except RuntimeError:  # the process is ending; shutdown() does the work itself then
            self._launched.set()
            self._mark = self._max_queue_size + 1

    def _start_threads(self) -> None:
        try:
            threads = [
                threading.Thread(target=self._run, args=(body,), name=f"causal-otel-{name}", daemon=True)
                for name, body in (("encode", self._encode), ("send", self._sender.run))
            ]
            for thread in threads:
                thread.start()
            self._threads = threads
        except RuntimeError:  # as above
            pass
        finally:
            self._launched.set()

    def _run(self, body: Callable[[], None]) -> None:
        try:
            with suppression():
                body()
        except Exception:
            faults.report("export: thread")

    def _encode(self) -> None:
        """Encode full batches at once, and what else there is when it is time."""
        due = time.monotonic() + self._delay
        idle = False
        while True:
            with self._ledger.lock:
                urgent, self._urgent = self._urgent or self._stopping, False
                if not self._stopping:
                    self._mark = 1 if idle else self._max_batch
            waiting = len(self._queue)
            left = due - time.monotonic()
            if idle and not waiting and not urgent:
                self._bell.acquire()
                idle, due = False, time.monotonic() + self._delay
                continue
            if waiting < self._max_batch and not urgent and left > 0:
                self._bell.acquire(timeout=left)
                continue
            with self._ledger.lock:
                if not self._stopping:
                    self._mark = self._max_queue_size + 1
            if urgent or left <= 0:
                idle = not waiting
                self._encode_all()
                due = time.monotonic() + self._delay
                self._say_overflow()
            else:
                self._encode_batch()
            with self._ledger.lock:
                if self._stopping and not self._queue:
                    self._closed = True
                    break
        self._sender.finish()

    def _encode_all(self) -> None:
        while self._queue:
            self._encode_batch()

    def _encode_batch(self) -> None:
        """Take up to a batch of spans, encode them, and hand them over."""
        if self._encoder is None:
            self._encoder = Encoder()
        encoder, ledger = self._encoder, self._ledger
        batch = encoder.batch()
        count = lost = 0
        requests: list[Request] = []
        with ledger.lock:
            first = self._encoding = self._head
        try:
            skipped = encoder.skipped
            while count < self._max_batch:
                with ledger.lock:
                    spans = self._popped(min(_SLICE, self._max_batch - count))
                    self._head += len(spans)
                if not spans:
                    break
                count += len(spans)
                batch.add(spans)
                self._forget(spans)
                del spans
                time.sleep(_BREATH)
            requests = batch.finish()
            lost = encoder.skipped - skipped
        except Exception:
            faults.report("export: encoding")
            self._encoder, lost = None, count
        with ledger.lock:
            if lost:
                ledger.drop(lost, "encoding", first)
            self._sender.put(Batch(payload, spans_in_it, first) for payload, spans_in_it in requests)
            self._encoding = None
            ledger.changed.notify_all()
        self._sender.make_room()

    def _forget(self, spans: list[ReadableSpan]) -> None:
        """Empty the spans that somebody still refers to: a task may keep its request's context for hours."""
        for span in spans:
            if getrefcount(span) > _REFERENCES and isinstance(span, Span) and span.provider.deliver == self.on_end:
                span.forget()  # nobody but us was given it

    def _say_overflow(self) -> None:
        lost = self._ledger.dropped["queue_full"] - self._overflow_seen
        if lost:
            self._overflow_seen += lost
            self._notices.say(
                "overflow", "%d spans are lost: more than %d were waiting to be exported", lost, self._max_queue_size
            )
