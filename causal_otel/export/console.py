"""Traces on standard error: the spans of each, as a tree, when the last one in this process has ended."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from causal_otel._internal import faults, process
from causal_otel.export._console_tree import Row, forest, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["ConsoleExporter", "ConsoleProcessor"]

_REMEMBERED = 10_000
"""How many printed spans are remembered, to know a late child by its parent."""


class _Trace:
    """The spans of a trace that wait for their root."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.rows: dict[int, Row] = {}

    def take(self, top: int) -> list[Row]:
        """Remove and return a span and all that is below it."""
        children: dict[int, list[int]] = defaultdict(list)
        for row in self.rows.values():
            children[row.parent_id].append(row.span_id)
        taken: list[Row] = []
        waiting = [top]
        while waiting:
            span_id = waiting.pop()
            found = self.rows.pop(span_id, None)
            if found is not None:
                taken.append(found)
                waiting += children[span_id]
        return taken


class ConsoleExporter(SpanExporter):
    """Prints each trace as a tree when its root in this process ends, with what has ended below it.

    A span that ends after its parent was printed is printed then, with what is below it. Spans whose root has not
    ended are printed as they are when they are too many, too old (found out when the next span ends), or flushed.
    Safe from several threads; a forked child starts empty.

    Args:
        max_spans: how many spans may wait for their roots, over all traces.
        max_age: how long they may wait, in seconds.
    """

    def __init__(self, *, max_spans: int = 5000, max_age: float = 60.0) -> None:
        self._max_spans = max_spans
        self._max_age = max_age
        self._forked = False
        self._reset()
        process.at_fork(in_child=self._begin_in_child)

    def _begin_in_child(self) -> None:
        self._reset()
        self._forked = True

    def _reset(self) -> None:
        # Re-entrant, because a garbage collection inside the lock may end an abandoned span on this very thread;
        # that span is left in the queue, for the call that holds the lock.
        self._lock = threading.RLock()
        self._working = False
        self._came: deque[ReadableSpan] = deque()
        self._traces: OrderedDict[int, _Trace] = OrderedDict()  # the one that has waited longest is first
        self._count = 0
        self._printed: OrderedDict[int, None] = OrderedDict()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take ended spans; print what is complete with them."""
        self._came.extend(spans)
        return SpanExportResult.SUCCESS if self._work() else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Print what waits for its root as well."""
        return self._work(everything=True)

    def shutdown(self) -> None:
        """The same, at the end."""
        self._work(everything=True)

    def _work(self, everything: bool = False) -> bool:
        """Sort in what has come and print what is due; False if something could not be printed."""
        with self._lock:
            if self._working:
                return True
            self._working = True
            try:
                printed = self._print_complete()
                while self._traces and (everything or self._count > self._max_spans or self._oldest_is_due()):
                    trace = next(iter(self._traces.values()))
                    printed &= self._print(list(trace.rows.values()), "incomplete")
                    printed &= self._print_complete()
            except Exception:
                faults.report("console")
                return False
            finally:
                self._working = False
            return printed

    def _oldest_is_due(self) -> bool:
        return time.monotonic() - next(iter(self._traces.values())).since >= self._max_age

    def _print_complete(self) -> bool:
        if self._forked:
            self._forked = False
            self._flush_at_exit_of_child()
        tops: list[tuple[Row, str]] = []
        while self._came:
            try:
                row = Row.of(self._came.popleft())
            except Exception:
                faults.report("console")
                continue
            rows = self._traces.setdefault(row.trace_id, _Trace()).rows
            self._count += row.span_id not in rows
            rows[row.span_id] = row
            if row.top:
                tops.append((row, ""))
            elif row.parent_id in self._printed:
                tops.append((row, "late"))
        printed = True
        for top, remark in tops:
            trace = self._traces.get(top.trace_id)
            if trace is not None and (tree := trace.take(top.span_id)):
                printed &= self._print(tree, remark)
        return printed

    def _print(self, rows: Iterable[Row], remark: str) -> bool:
        """Print rows of one trace. They are forgotten first: what cannot be printed is not tried again."""
        nodes = forest(rows)
        trace_id = nodes[0].row.trace_id
        trace = self._traces[trace_id]
        self._count -= len(nodes)
        for node in nodes:
            trace.rows.pop(node.row.span_id, None)
            self._printed[node.row.span_id] = None
        if not trace.rows:
            del self._traces[trace_id]
        while len(self._printed) > _REMEMBERED:
            self._printed.popitem(last=False)
        stream = sys.stderr
        if stream is None:  # pythonw, or a daemon
            return False
        try:
            write(stream, nodes, remark)
        except Exception:
            faults.report("console: standard error")
            return False
        return True

    def _flush_at_exit_of_child(self) -> None:
        """A forked child leaves by ``os._exit``, after multiprocessing's finalizers alone; or as any program does."""
        from multiprocessing.util import Finalize

        Finalize(None, self.shutdown, exitpriority=0)
        atexit.register(self.shutdown)


class ConsoleProcessor(SpanProcessor):
    """Hands each sampled span to the exporter when it ends; unlike the SDK's simple processor it flushes it, too.

    Args:
        exporter: prints them.
    """

    def __init__(self, exporter: ConsoleExporter) -> None:
        self._exporter = exporter

    def on_end(self, span: ReadableSpan) -> None:
        """Print the span's trace, if it is complete now."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._exporter.export((span,))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Print incomplete traces as well."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """The same, at the end."""
        self._exporter.shutdown()
