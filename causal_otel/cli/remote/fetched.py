"""Traces that another back end was asked for whole, and kept as long as the command runs: they are compared here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.cli.stored import CommandError
from causal_otel.collector.matching import matching_span, summary
from causal_otel.collector.query import SORTS, Counted, Found

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Query, Summary, TraceLogs

__all__ = ["FetchedSource"]


class FetchedSource:
    """See :class:`causal_otel.cli.source.Source`; a subclass knows how to ask.

    What another back end understands of a query differs from one to the next, so its answers are candidates: whether
    they satisfy the query is decided here.
    """

    name = ""
    """What it is, for complaints."""

    def __init__(self) -> None:
        self._kept: dict[bytes, TracesData] = {}
        self._counted = Counted(0, complete=False)

    def candidates(self, query: Query) -> tuple[dict[bytes, TracesData | None], bool]:
        """Traces that may satisfy the query, by their ids, and whether these are all.

        A trace that the answer does not hold whole is None: it is asked for.
        """
        raise NotImplementedError

    def ask(self, trace_id: bytes) -> TracesData | None:
        """A trace, from the back end."""
        raise NotImplementedError

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        """Find traces, in the order that the query asks for; another one than by time is that of the newest."""
        if query.logs:
            raise CommandError(f"{self.name} has no log records to search: leave --logs out")
        found, all_seen = self.candidates(query)
        ranked: list[tuple[int, int, bytes]] = []
        for trace_id, message in found.items():
            if message is not None:
                self._kept[trace_id] = message
            trace = self.trace(trace_id)
            span = None if trace is None else matching_span(trace, query)
            if trace is not None and span is not None:
                rank = SORTS[query.sort](summary(trace)) if query.sort != "newest" else 0
                ranked.append((rank, span.start_time_unix_nano, trace_id))
        ranked.sort(key=lambda each: (-each[0], -each[1], each[2]))
        if query.sort == "oldest":
            ranked.reverse()
        self._counted = Counted(len(ranked), complete=all_seen)
        since = None
        if query.sort != "newest" and not all_seen:
            since = min((start for _, start, _ in ranked), default=None)
        complete = all_seen or query.sort == "newest"
        return Found(tuple(trace_id for _, _, trace_id in ranked[: query.limit]), complete, since)

    def count(self, query: Query, *, seconds: float = 0.5) -> Counted:
        """What the last search has counted: whoever counts has searched for the same before."""
        return self._counted

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        """One for each of those traces that are there, in the order asked for."""
        return [summary(trace) for trace_id in trace_ids if (trace := self.trace(trace_id)) is not None]

    def trace(self, trace_id: bytes) -> TracesData | None:
        """All spans of a trace; None if there is none."""
        if trace_id not in self._kept and (found := self.ask(trace_id)) is not None:
            self._kept[trace_id] = found
        return self._kept.get(trace_id)

    def logs(self, trace_id: bytes, *, most: int = 0) -> TraceLogs | None:
        """There are none.

        Raises:
            CommandError: Always: they were asked for.
        """
        raise CommandError(f"{self.name} has no log records: leave --logs out")
