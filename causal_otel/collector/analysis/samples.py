"""Some of the traces that a query wants, from all of its time: for what is computed from whole traces."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.collector.store.days import midnight

if TYPE_CHECKING:
    from causal_otel.collector.query import Query, TraceReader

__all__ = ["Sample", "sample"]

_SLICES = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """Traces that match a query.

    Attributes:
        trace_ids: 16 bytes each.
        all_of_them: whether there are no others.
    """

    trace_ids: tuple[bytes, ...]
    all_of_them: bool


def sample(reader: TraceReader, query: Query, most: int, *, seconds: float = 2.0) -> Sample:
    """At most ``most`` of the traces, for at most about ``seconds``.

    If there are more, they are from ten equal parts of the time, the newest of each: those that are newest of all say
    little of what was before.
    """
    until = time.monotonic() + seconds
    wanted = replace(query, limit=most, sort="newest")
    newest = reader.search(wanted, seconds=seconds)
    if newest.complete and len(newest.trace_ids) < most:
        return Sample(newest.trace_ids, all_of_them=True)
    days = reader.volume().days
    start = max(query.start, int(midnight(days[0].day) * 10**9) if days else 0)
    end = min(query.end, time.time_ns() + 3600 * 10**9)
    found: dict[bytes, None] = {}
    for number in range(_SLICES):
        left = until - time.monotonic()
        if left <= 0 or end <= start:
            break
        first, last = (start + (end - start) * each // _SLICES for each in (number, number + 1))
        part = replace(wanted, start=first, end=last - 1 if number < _SLICES - 1 else end, limit=most // _SLICES)
        found.update(dict.fromkeys(reader.search(part, seconds=left).trace_ids))
    # Where some parts of the time have few, the newest of all fill up what is left.
    for trace_id in newest.trace_ids:
        if len(found) >= most:
            break
        found.setdefault(trace_id)
    return Sample(tuple(found), all_of_them=False)
