"""Matches of several days in one order, and the later ones of a trace."""

from __future__ import annotations

import heapq
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING

from causal_otel.collector.matching import matching_span
from causal_otel.collector.query import Cursor, Found
from causal_otel.collector.store.days import hour_of
from causal_otel.collector.store.limits import within_range
from causal_otel.collector.store.open_days import OutOfTime, Skipped
from causal_otel.collector.store.schema import SPREAD

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from causal_otel.collector.query import Query
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["Later", "Match", "merged"]

Match = tuple[int, bytes]
"""When the matching span starts, and the trace id; without one: nothing that follows comes before that start."""


def merged(
    streams: Sequence[Generator[Match, None, None]],
    query: Query,
    deadline: Deadline,
    taken: dict[bytes, int],
    *,
    ascending: bool = False,
) -> Found:
    """The first matches of several days.

    Args:
        streams: of each day, what :meth:`DaySearch.matches` yields.
        query: how many are wanted.
        deadline: when to stop.
        taken: gets the traces, with the start of the span that matches.
        ascending: the earliest come first.
    """
    complete = True
    try:
        for start, trace_id in heapq.merge(*streams, key=itemgetter(0), reverse=not ascending):
            if trace_id and trace_id not in taken:
                taken[trace_id] = start
                if len(taken) == query.limit:
                    break
            deadline.check()
    except OutOfTime:
        complete = False
    finally:
        for stream in streams:
            stream.close()
    places = [Cursor(0, start, trace_id) for trace_id, start in taken.items()]
    if not places:
        return Found((), complete)
    return Found(tuple(taken), complete, None, places[0], places[-1])


class Later:
    """Finds out whether a trace has a match that starts late.

    Args:
        days: where to look.
        query: what matches.
    """

    def __init__(self, days: Sequence[OpenDay], query: Query) -> None:
        self._days = days
        self._query = query

    def has(self, trace_id: bytes, start: int, deadline: Deadline) -> bool:
        """Whether it has one that starts at a Unix time in nanoseconds or after it."""
        query = replace(self._query, start=max(start, self._query.start))
        within = within_range(query.start) - SPREAD, within_range(query.end)
        for day in self._days:
            with suppress(Skipped), day.reading(deadline) as db:
                # A day's file may have spans of other times: those beside midnight, and those from a wrong clock.
                hours = db.hours()
                if hours is None or hours[1] < hour_of(within_range(start)) or hours[0] > hour_of(query.end):
                    continue
                for (body,) in db.execute(
                    "SELECT body FROM chunk WHERE trace_id = ? AND start BETWEEN ? AND ?", (trace_id, *within)
                ).fetchall():
                    trace = db.unpack(body)
                    if trace is not None and matching_span(trace, query) is not None:
                        return True
        return False
