"""Traces as pages show them. Large ones stay in memory for a while, because the next click needs them again."""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from causal_otel.collector.analysis import Explained, build, log_views
from causal_otel.collector.analysis.neighbours import traces_beside
from causal_otel.collector.query import Linking
from causal_otel.collector.reading import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.analysis import TraceLogsView, TraceView
    from causal_otel.collector.reading import Reading

__all__ = ["Shown", "Views"]

_Answer = TypeVar("_Answer")

_KEPT_SPANS = 120_000
_KEPT_SECONDS = 60.0
_BESIDE_SECONDS = 0.5


_NO_LINKS = Linking()


class Shown(NamedTuple):
    """A trace as it was received and as it is shown, its log records, what explains it, and what links to it."""

    message: TracesData
    view: TraceView
    logs: TraceLogsView
    explained: Explained
    linking: Linking = _NO_LINKS
    """The spans of other traces that link to it."""


class Views:
    """Builds traces, and keeps the large ones that were looked at last: a minute long, and 120,000 spans at the most.

    Args:
        reading: what traces are read by.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._kept: OrderedDict[bytes, tuple[float, Shown]] = OrderedDict()
        self._lock = threading.Lock()  # guards `_kept`
        self.built = 0
        """How many were built so far."""

    async def fresh(self, trace_id: bytes | None, show: Callable[[Shown | None], _Answer]) -> _Answer:
        """What ``show`` makes of the trace as it is now, or of None if there is none; in a thread, and in turn."""
        if trace_id is None:
            return await self._reading.run(lambda: show(None), large=False)
        return await self._reading.traces([trace_id], lambda: show(self._built(trace_id)))

    async def recent(
        self, trace_id: bytes | None, show: Callable[[Shown | None], _Answer], *, all_spans: bool = False
    ) -> _Answer:
        """Likewise of the trace as a page showed it within the last minute; if none did, as it is now.

        Args:
            trace_id: which one.
            show: makes the answer.
            all_spans: whether it looks at every span, so that it takes its turn though the trace is kept.
        """
        if trace_id is None:
            return await self.fresh(None, show)
        kept = self._recently(trace_id)
        if kept is not None:
            return await self._reading.run(lambda: show(kept), large=all_spans)
        # Another request may have built it while this one waited for its turn.
        return await self._reading.traces([trace_id], lambda: show(self._recently(trace_id) or self._built(trace_id)))

    def _recently(self, trace_id: bytes) -> Shown | None:
        with self._lock:
            found = self._kept.get(trace_id)
            if found is None or time.monotonic() - found[0] >= _KEPT_SECONDS:
                return None
            self._kept.move_to_end(trace_id)
            return found[1]

    def _built(self, trace_id: bytes) -> Shown | None:
        message = self._reading.reader.trace(trace_id)
        if message is None:
            return None
        self.built += 1
        view = build(message)
        logs = log_views(self._reading.reader.logs(trace_id), view)
        linking = self._reading.reader.linked_from(trace_id)
        shown = Shown(message, view, logs, Explained(view, partial(self._beside, view)), linking)
        if len(shown.view.spans) >= LARGE:
            self._keep(trace_id, shown)
        return shown

    def _beside(self, view: TraceView) -> list[TraceView]:
        """Others that help to explain it, fewer than for a command, and no large ones: somebody waits for the page."""
        return traces_beside(
            self._reading.reader,
            view,
            seconds=_BESIDE_SECONDS,
            within=_BESIDE_SECONDS,
            most_spans=LARGE - 1,
            span_count=self._reading.reader.span_count,
        )

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
