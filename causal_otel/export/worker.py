"""The export worker: takes ended spans from any thread, encodes them in small slices, and hands them to the sender.

Ending a span is one ``deque.append`` and one comparison, without a lock. That is safe because the deque's methods are
single steps under the GIL, and because there is nothing else to keep consistent with them: a span may end in a
garbage collection, in a signal handler or in the middle of our own code, on any thread. All that must happen besides
(starting the threads, waking one, dropping the oldest) hangs on that comparison, with a mark that says at which length
the queue needs attention next: see :meth:`Worker.take`.

Two threads: one encodes, the other sends (:mod:`causal_otel.export.sender`), so that a back end that hangs never stops
spans from being taken. They are started by the first span that ends in a process, or by :meth:`Worker.recover` where
earlier processes have left something to send; each forked child gets its own, with its own queue and connections.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor

from causal_otel._internal import faults, process
from causal_otel._internal.throttled_log import ThrottledLog
from causal_otel.export import shutdown_hooks
from causal_otel.export.batcher import Batcher
from causal_otel.export.ledger import Flush, Ledger
from causal_otel.export.privacy import Policy
from causal_otel.export.sender import Sender
from causal_otel.export.signal import TRACES, Signal
from causal_otel.export.threads import Heartbeat, Threads
from causal_otel.transports import transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.trace import ReadableSpan

    from causal_otel.engine.redaction import Redaction
    from causal_otel.export.spool import Spool
    from causal_otel.export.status import ExportStatus
    from causal_otel.transports.transport import Outcome, Transport

__all__ = ["Worker"]

_MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""Encoded spans that may wait for the back end: some 50,000."""


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
        redaction: takes secrets out of what is exported; default: a policy with all rules.
        signal: what is exported, if not spans.

    Attributes:
        heartbeat: what the encoding thread does besides, if anything.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        destination: str = "the back end",
        max_queue_size: int = 8192,
        max_export_batch_size: int = 2048,
        schedule_delay: float = 5.0,
        timeout: float = 10.0,
        export_timeout: float = 30.0,
        exit_timeout: float = 5.0,
        max_backlog_bytes: int = _MAX_BACKLOG_BYTES,
        spool: Spool | None = None,
        observe: Callable[[float, Outcome], None] | None = None,
        redaction: Redaction | None = None,
        signal: Signal = TRACES,
    ) -> None:
        self._signal = signal
        self._make_transport = make_transport
        self._destination = destination
        self._max_queue_size = max_queue_size
        self._max_batch = min(max_export_batch_size, max_queue_size)
        # Start on a half-full queue: a batch as large as the queue would overflow it first.
        self._enough = min(self._max_batch, max(1, max_queue_size // 2))
        self._delay = schedule_delay
        self._timeout = timeout
        self._export_timeout = export_timeout
        self._exit_timeout = exit_timeout
        self._max_backlog_bytes = max_backlog_bytes
        self._spool = spool
        self._observe = observe or (lambda seconds, outcome: None)
        self._redaction = redaction or Policy()
        self._queue: deque[ReadableSpan] = deque()  # the same one for ever: the engine may keep take() at hand
        self._inherited: list[Sender] = []
        self.heartbeat: Heartbeat | None = None
        self._begin(Ledger())
        shutdown_hooks.register(self.shutdown)
        process.at_fork(in_child=self._forked)

    def _begin(self, ledger: Ledger, head: int = 0) -> None:
        """Begin anew: no thread runs, no connection is open, and all that waits is in the queue."""
        self._pid = os.getpid()
        self._ledger = ledger
        self._log = ThrottledLog(self._signal.noun)
        self._sender = Sender(
            self._make_transport,
            ledger,
            self._log,
            destination=self._destination,
            timeout=self._timeout,
            export_timeout=self._export_timeout,
            max_bytes=self._max_backlog_bytes,
            spool=self._spool,
            observe=self._observe,
            signal=self._signal,
        )
        places = self._queue, ledger, self._sender
        self._batcher = Batcher(*places, self._max_batch, self.take, head, self._redaction, self._signal)
        self._threads = Threads(encode=self._encode, send=self._sender.run)
        self._overflow_seen = ledger.dropped["queue_full"]
        # A lock used as a bell: releasing it wakes the encoding thread. That is a single step which never waits, unlike
        # all that `threading` builds with locks, so it may be done inside a garbage collection.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._urgent = False
        self._stopping = False
        self._closed = False
        self._mark = 1

    def _forked(self, own: Iterable[ReadableSpan] = ()) -> None:
        """In a child: what was inherited is the parent's, but for its ``own`` spans."""
        self._sender.abandon()
        # Not freed: finalizers of what it holds may wait for a lock that a thread of the parent held at the fork.
        self._inherited.append(self._sender)
        self._queue.clear()
        self._queue.extend(own)
        self._begin(Ledger())

    def _notice_fork(self) -> None:
        """A fork in C, such as uWSGI's, runs no hooks. So everything that is done seldom checks the process id.

        A span in the queue ended before the fork, and the parent exports it, or after it: its time tells. If in doubt
        it is sent twice rather than not at all.
        """
        if self._pid != os.getpid():
            born = process.started()
            own = [span for span in tuple(self._queue) if (span.end_time or 0) >= born]
            transport.importing.renew()
            if self._spool is not None:
                self._spool.forked()
            self._forked(own)

    # -- span processor -----------------------------------------------------------------------------------------

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span of any provider's, if it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self.take(span)

    def take(self, span: ReadableSpan) -> None:
        """Queue a sampled span.

        The mark is what makes this enough. The encoding thread sets it *before* it looks at the queue and goes to
        sleep; here the span is appended *before* the mark is read. So either the thread has seen the span, or we see
        the mark: no wake-up is lost, and none is needed while the thread is awake.
        """
        queue = self._queue
        queue.append(span)
        if len(queue) >= self._mark:
            self._attend()

    def _attend(self) -> None:
        """The queue has reached the mark: the threads are wanted, a batch is full, or the queue is."""
        try:
            self._notice_fork()
            if not self._stopping:
                self._launch()
            with self._ledger.lock:
                if not self._stopping:
                    self._mark = self._max_queue_size + 1
                over = len(self._queue) if self._closed else len(self._queue) - self._max_queue_size
                if over > 0:
                    self._batcher.discard(over, "shutdown" if self._closed else "queue_full")
            self._ring()
        except Exception:
            faults.report("export: span end")

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung and not heard yet
            self._bell.release()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended so far.

        At the end of the process, where Python starts no threads any more, it is done on the calling thread, as by
        :meth:`shutdown`: what cannot be delivered is lost then, or goes to the spool.

        Args:
            timeout_millis: how long to wait, in milliseconds.

        Returns:
            Whether all of it was delivered in that time; what went to the spool was not.
        """
        self._notice_fork()
        deadline = time.monotonic() + timeout_millis / 1000
        ledger, batcher = self._ledger, self._batcher
        with ledger.lock:
            flush = Flush(batcher.head + len(self._queue))
            if batcher.settled() >= flush.target:
                return True
            if self._closed:
                return False
            ledger.flushes.append(flush)
        try:
            self._launch()
            if self._threads.lacking():
                self.leave(min(self._exit_timeout, timeout_millis / 1000))
            with ledger.lock:
                self._urgent = True
            self._sender.hurry()
            self._ring()
            with ledger.lock:
                while batcher.settled() < flush.target:
                    left = deadline - time.monotonic()
                    if left <= 0 or flush.stuck:
                        return False
                    ledger.changed.wait(min(left, threading.TIMEOUT_MAX))
                return not flush.failed
        finally:
            with ledger.lock:
                ledger.flushes.remove(flush)

    def shutdown(self) -> None:
        """Export what is left and stop, within the exit timeout; one line in the log says what could not be."""
        self._end(self._exit_timeout)
        if self.heartbeat is not None:
            self.heartbeat.remove()
        shutdown_hooks.unregister(self.shutdown)

    def leave(self, timeout: float | None = None) -> None:
        """As :meth:`shutdown`, for a process that may live on: what ends then is exported as well.

        Args:
            timeout: instead of the exit timeout, in seconds.
        """
        if self._end(self._exit_timeout if timeout is None else timeout):
            self._begin(self._ledger, self._batcher.head)

    def _end(self, timeout: float) -> bool:
        """Export what is left and stop; False: somebody else has, or does."""
        self._notice_fork()
        deadline = time.monotonic() + timeout
        ledger, sender, batcher = self._ledger, self._sender, self._batcher
        with ledger.lock:
            if self._stopping:
                return False
            self._stopping = True
            self._mark = 0
            left = len(self._queue) + batcher.spans()
            before = (sum(ledger.dropped.values()), ledger.spooled)
        if left or self._threads.begun:
            self._log.muted = True
            sender.stop(deadline)
            self._ring()
            self._launch()
            if self._finish("encode", lambda: self._closed, deadline):
                self._finish("send", lambda: sender.done, deadline)
        with ledger.lock:
            self._closed = True
            batcher.discard(len(self._queue), "shutdown")
        if not sender.done:
            sender.give_up()
        sender.close()
        self._log.muted = False
        # What is still being encoded is counted as lost, or goes to the spool, when that is done.
        lost = sum(ledger.dropped.values()) - before[0] + batcher.in_encoding
        spooled = ledger.spooled - before[1]
        if lost or spooled:
            self._log.say(
                "shutdown",
                "%d of the last %d spans could not be delivered to %s within %g s (%s)%s",
                lost + spooled,
                left,
                self._destination,
                timeout,
                sender.problem or "no answer",
                f"; {spooled} of them are in the spool" if spooled else "",
            )
        return True

    def _finish(self, thread: str, done: Callable[[], bool], deadline: float) -> bool:
        """Wait for a thread to be done, or do its work here where Python would not start it; False: not in time."""
        self._threads.run(thread, deadline)
        with self._ledger.lock:
            while not done() and (rest := deadline - time.monotonic()) > 0:
                self._ledger.changed.wait(rest)
            return done()

    def recover(self) -> None:
        """Begin to send what earlier processes have left in the spool; starts no thread where there is nothing."""
        if self._spool is not None and self._spool.waiting():
            self._launch()

    def status(self) -> ExportStatus:
        """What has become of the spans of this process; looks into the spool directory."""
        return self.counts() if self._spool is None else replace(self.counts(), spooled_bytes=self._spool.size())

    def counts(self) -> ExportStatus:
        """The same without that look: ``spooled_bytes`` is zero."""
        from causal_otel.export.status import ExportStatus

        self._notice_fork()
        ledger = self._ledger
        with ledger.lock:
            dropped = dict(ledger.dropped)
            if self._spool is not None:
                dropped["spool_full"] = self._spool.dropped_spans
            return ExportStatus(
                queued=len(self._queue) + self._batcher.spans(),
                capacity=self._max_queue_size,
                in_flight=ledger.in_flight,
                exported=ledger.exported,
                dropped=dropped,
                spooled=ledger.spooled,
                recovered=ledger.recovered,
                damaged={} if self._spool is None else self._spool.damaged(),
                last_success=ledger.last_success,
                problem=self._sender.standing_problem,
            )

    # -- the encoding thread ------------------------------------------------------------------------------------

    def _launch(self) -> None:
        try:
            if self._threads.begin():
                shutdown_hooks.register_in_child(self.shutdown)
        except RuntimeError:  # the process is ending; shutdown() does the work itself then
            self._mark = self._max_queue_size + 1

    def _encode(self) -> None:
        """Encode full batches at once, and what else there is when it is time."""
        due = time.monotonic() + self._delay
        idle = False
        while True:
            rest = -1.0 if self.heartbeat is None else self.heartbeat.beat()
            with self._ledger.lock:
                urgent, self._urgent = self._urgent or self._stopping, False
                if not self._stopping:
                    self._mark = 1 if idle else self._enough
            waiting = len(self._queue)
            left = due - time.monotonic()
            if idle and not waiting and not urgent:
                if self._bell.acquire(timeout=rest):
                    idle, due = False, time.monotonic() + self._delay
                continue
            if waiting < self._enough and not urgent and left > 0:
                self._bell.acquire(timeout=left)
                continue
            with self._ledger.lock:
                if not self._stopping:
                    self._mark = self._max_queue_size + 1
            if urgent or left <= 0:
                idle = not waiting
                self._batcher.pack_all()
                due = time.monotonic() + self._delay
                self._say_overflow()
            else:
                self._batcher.pack()
            with self._ledger.lock:
                if self._stopping and not self._queue:
                    self._closed = True
                    break
        self._sender.finish()

    def _say_overflow(self) -> None:
        lost = self._ledger.dropped["queue_full"] - self._overflow_seen
        if lost:
            self._overflow_seen += lost
            self._log.say(
                "overflow", "%d spans are lost: more than %d were waiting to be exported", lost, self._max_queue_size
            )
