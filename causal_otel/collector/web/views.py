"""Traces as pages show them: built one at a time where they are large, and kept for what is clicked on next.

Building a trace of 50,000 spans is a second of Python. Several at once would share the interpreter with the threads
that take spans in, each of which then waits for all of them.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.analysis import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.analysis import TraceView
    from causal_otel.collector.query import TraceReader

__all__ = ["Shown", "Views"]

LARGE = 2000
"""Spans from which on a trace is built while no other such one is, and is worth keeping."""
_KEPT_SPANS = 120_000
_KEPT_SECONDS = 60.0


class Shown(NamedTuple):
    """A trace as it was received and as it is shown."""

    message: TracesData
    view: TraceView


class Views:
    """Builds traces, and keeps the large ones that were looked at last: a minute long, and 120,000 spans at the most.

    Args:
        reader: what traces are read from.
    """

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._one_large = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, Shown]] = OrderedDict()
        self._lock = threading.Lock()  # of what is kept
        self.built = 0
        """How many were built so far."""

    @contextlib.contextmanager
    def fresh(self, trace_id: bytes | None) -> Iterator[Shown | None]:
        """The trace as it is now; None if there is none. While the block lasts no other large one is built."""
        message = self._reader.trace(trace_id) if trace_id else None
        if trace_id is None or message is None:
            yield None
        elif _spans(message) < LARGE:
            yield self._build(message)
        else:
            with self._one_large:
                shown = self._build(message)
                self._keep(trace_id, shown)
                yield shown

    def recent(self, trace_id: bytes | None) -> Shown | None:
        """The trace as a page showed it within the last minute, or as it is now; None if there is none."""
        with self._lock:
            found = self._kept.get(trace_id or b"")
            if found is not None and time.monotonic() - found[0] < _KEPT_SECONDS:
                self._kept.move_to_end(trace_id or b"")
                return found[1]
        with self.fresh(trace_id) as shown:
            return shown

    def _build(self, message: TracesData) -> Shown:
        self.built += 1
        return Shown(message, build(message))

    def _keep(self, trace_id: bytes, shown: Shown) -> None:
        with self._lock:
            self._kept.pop(trace_id, None)
            self._kept[trace_id] = time.monotonic(), shown
            left = sum(len(each.view.spans) for _, each in self._kept.values())
            while left > _KEPT_SPANS:
                _, (_, oldest) = self._kept.popitem(last=False)
                left -= len(oldest.view.spans)
        timer = threading.Timer(_KEPT_SECONDS, _forget, (weakref.ref(self),))
        timer.daemon = True
        timer.start()

    def _forget_old(self) -> None:
        with self._lock:
            for trace_id, (since, _) in list(self._kept.items()):
                if time.monotonic() - since >= _KEPT_SECONDS:
                    del self._kept[trace_id]


def _forget(views: weakref.ref[Views]) -> None:
    found = views()
    if found is not None:
        found._forget_old()


def _spans(message: TracesData) -> int:
    return sum(len(scoped.spans) for group in message.resource_spans for scoped in group.scope_spans)
