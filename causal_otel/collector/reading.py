"""Reads whole traces for pages, JSON and Jaeger's APIs: large ones one after the other.

A trace of 50,000 spans takes Python seconds to read and show. If several were read at once, the threads that receive
spans would have to wait for all of them, since only one thread runs Python at a time. A request that waits for its turn
occupies no thread, and the one whose turn it is has a thread of its own, so small traces are answered meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from causal_otel.collector.query import Found, Query, Summary, TraceReader

__all__ = ["LARGE", "LARGE_DOCUMENT", "Reading"]

_Answer = TypeVar("_Answer")

LARGE = 2000
"""Spans, in all traces of a request together, from which on the request counts as large and takes its turn."""

LARGE_DOCUMENT = 1_000_000
"""Bytes of OTLP JSON with about :data:`LARGE` spans."""


class Reading:
    """Reads traces in threads, for one event loop, and large ones in turn. All readers of a process share one.

    Args:
        reader: what traces are read from. What it tells besides whole traces may be asked of it in any thread.
    """

    def __init__(self, reader: TraceReader) -> None:
        self.reader = reader
        self._turn = CapacityLimiter(1)
        # Lists of traces read them too, but show only a line of each: they are not to wait for whole ones.
        self._list_turn = CapacityLimiter(1)
        self._search_turn = CapacityLimiter(1)

    async def traces(self, trace_ids: Sequence[bytes], work: Callable[[], _Answer]) -> _Answer:
        """What ``work`` returns, which reads those traces and makes the answer of them; in turn if they are large."""
        return await self.run(work, large=await self._are_large(trace_ids))

    async def run(self, work: Callable[[], _Answer], *, large: bool) -> _Answer:
        """What ``work`` returns, in turn if ``large``: for traces that are not read from the store."""
        return await to_thread.run_sync(work, limiter=self._turn if large else None)

    async def summaries(self, trace_ids: Sequence[bytes], work: Callable[[list[Summary]], _Answer]) -> _Answer:
        """What ``work`` makes of the summaries of those traces that are there, in their order; in turn if large."""
        limiter = self._list_turn if await self._are_large(trace_ids) else None
        return await to_thread.run_sync(lambda: work(self.reader.summaries(trace_ids)), limiter=limiter)

    async def lists(self, work: Callable[[], _Answer]) -> _Answer:
        """What ``work`` returns, which may read large traces and shows a line of each; in the turn of summaries."""
        return await to_thread.run_sync(work, limiter=self._list_turn)

    async def search(self, query: Query) -> Found:
        """Find traces to be read whole. One such search at a time: Grafana asks several, for seconds each."""
        return await to_thread.run_sync(self.reader.search, query, limiter=self._search_turn)

    async def _are_large(self, trace_ids: Sequence[bytes]) -> bool:
        return await to_thread.run_sync(self.reader.span_count, trace_ids) >= LARGE
