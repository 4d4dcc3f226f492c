"""The figures of the runtime, from a store and by brute force."""

from __future__ import annotations

import random
from pathlib import Path

from causal_otel.collector.store.reader import Reader
from causal_otel.collector.trends.periods import DAY, Period
from causal_otel.collector.trends.runtime import runtime
from tests.collector.oracle import MemoryReader
from tests.collector.spans import NOON, span, traces
from tests.collector.store.stores import write
from tests.collector.web.test_runtime_page import POOL, held_up


def test_the_store_tells_what_its_spans_tell(tmp_path: Path) -> None:
    """Every figure, in the same order; of flags, which are equal, any trace may be the one with the largest."""
    chance = random.Random(3)
    messages = [
        traces(*held_up(NOON, number, chance), service="shop" if number % 4 else "bank") for number in range(1, 40)
    ]
    expected = write(tmp_path, messages)
    period = Period(NOON - DAY, NOON)
    with Reader(tmp_path) as reader:
        for service in (None, "shop", "bank", "nobody"):
            found, wanted = runtime(reader, service, period), runtime(expected, service, period)
            assert found.stalls == wanted.stalls
            assert found.lags == wanted.lags
            assert [each.waits for each in found.pools] == [each.waits for each in wanted.pools]
            assert found.queues == wanted.queues
            assert [(each.operation, each.cancelled.trend, each.unawaited.trend) for each in found.tasks] == [
                (each.operation, each.cancelled.trend, each.unawaited.trend) for each in wanted.tasks
            ]
    assert bool(wanted.stalls or wanted.lags or wanted.pools or wanted.queues or wanted.tasks) is False


def test_what_is_told_again_above_counts_once() -> None:
    """A wait below a request is the query's; the request has it besides, for where its own time went."""
    query = span("SELECT", trace=1, id=2, parent=1, start=NOON, kind=3, tags={"causal.pool.wait": 0.004, **POOL})
    request = span("GET /", trace=1, id=1, start=NOON, kind=2)
    (pool,) = runtime(MemoryReader([traces(request, query)]), None, Period(NOON - DAY, NOON)).pools
    assert (pool.pool, pool.waits.spans, pool.waits.total) == ("postgresql db.internal:5432/shop", 1, 4_000_000)


def test_the_size_of_a_pool_is_the_largest_that_was_told() -> None:
    """Processes may have pools of several sizes; one that tells none has none."""
    waits = [
        span("SELECT", trace=number, start=NOON, kind=3, tags={"causal.pool.wait": 0.1, **POOL, **size})
        for number, size in enumerate(({"causal.pool.size": 4}, {"causal.pool.size": 8}, {}), 1)
    ]
    for count, expected in ((3, 8), (1, 4)):
        (pool,) = runtime(MemoryReader([traces(*waits[:count])]), None, Period(NOON - DAY, NOON)).pools
        assert pool.size == expected
    (pool,) = runtime(MemoryReader([traces(waits[2])]), None, Period(NOON - DAY, NOON)).pools
    assert pool.size == 0
