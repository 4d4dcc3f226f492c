"""Some of the traces that a query wants."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from causal_otel.collector.analysis.samples import sample
from causal_otel.collector.query import Query
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, SECOND, span, trace_id, traces

if TYPE_CHECKING:
    from causal_otel.collector.query import Found

NOW = time.time_ns()


def reader(count: int) -> MemoryReader:
    """So many traces, evenly over ten hours, the first one the newest."""
    step = 10 * HOUR // count
    return MemoryReader([traces(span("work", trace=n + 1, start=NOW - n * step - SECOND)) for n in range(count)])


def test_few_are_all_taken() -> None:
    """It is said that there are no others."""
    found = sample(reader(30), Query(NOW - 10 * HOUR, NOW), 100)
    assert found.all_of_them
    assert set(found.trace_ids) == {trace_id(n) for n in range(1, 31)}


def test_many_are_from_all_of_the_time() -> None:
    """Each tenth of it has its share, and there are no more than asked for; all match."""
    found = sample(reader(1000), Query(NOW - 10 * HOUR, NOW), 50, seconds=60)
    assert not found.all_of_them
    assert len(found.trace_ids) == 50 == len(set(found.trace_ids))
    tenths = sorted((int.from_bytes(each, "big") - 1) * 10 // 1000 for each in found.trace_ids)
    assert tenths == sorted(list(range(10)) * 5)


def test_where_a_time_has_few_the_newest_fill_up() -> None:
    """A time of which there is hardly anything costs no traces."""
    everything = reader(1000)
    found = sample(everything, Query(NOW - 100 * HOUR, NOW), 50)
    assert len(found.trace_ids) == 50
    assert set(everything.search(Query(0, NOW, limit=10)).trace_ids) <= set(found.trace_ids)


def test_when_its_time_is_over_it_is_not_asked_again() -> None:
    """One search, and no more than its deadline allows."""
    asked = []

    class Slow(MemoryReader):
        def search(self, query: Query, *, seconds: float = 2.0) -> Found:
            asked.append(seconds)
            return super().search(query, seconds=seconds)

    slow = Slow([traces(span("work", trace=n, start=NOW - n * SECOND)) for n in range(1, 50)])
    found = sample(slow, Query(0, NOW), 20, seconds=-1.0)
    assert asked == [-1.0]
    assert len(found.trace_ids) == 20
