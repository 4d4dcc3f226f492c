"""What is measured of pools of connections, wherever it goes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from causal_otel.metrics.cells import Cells
from causal_otel.metrics.feed import Feed
from causal_otel.metrics.pools import LEVELS, Pools
from causal_otel.metrics.reader import Reader

NAME = "db.client.connection.pool.name"
STATE = "db.client.connection.state"


class Pool:
    """A driver's pool."""

    def __init__(self, idle: int, used: int) -> None:
        self.now = idle, used


def _counts(pool: Pool) -> tuple[int, int]:
    return pool.now


class Collector:
    """Both ways that metrics go: the user's provider, and our own reader."""

    def __init__(self, kind: str, preference: str = "cumulative") -> None:
        self.cells = Cells()
        self._reader: Any = None
        if kind == "provider":
            self._reader = InMemoryMetricReader()
            self.provider = MeterProvider([self._reader], shutdown_on_exit=False)
            self._feed = Feed(self.provider, self.cells, LEVELS)
        else:
            self.ours = Reader(
                self.cells,
                lambda: pytest.fail("nothing is exported here"),
                Resource({}),
                interval=60.0,
                timeout=60.0,
                preference=preference,
            )

    def collect(self) -> dict[str, Any]:
        """The metrics, by name."""
        if self._reader is None:
            return {metric.name: metric for metric in self.ours._ours()}
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self) -> None:
        if self._reader is not None:
            self._feed.close()
            self.provider.shutdown()


def _values(metric: Any) -> dict[Any, Any]:
    return {tuple(point.attributes.values()): point.value for point in metric.data.data_points}


@pytest.mark.parametrize("kind", ["provider", "reader"])
def test_a_pool_is_measured(kind: str) -> None:
    """Times are histograms, waits and timeouts are counted, connections are asked for; a pool that dies has none."""
    collector = Collector(kind)
    pools = Pools(collector.cells)
    first, second = Pool(2, 1), Pool(1, 4)
    meter = pools.meter("db:5432/shop", first, _counts)
    pools.meter("db:5432/shop", second, _counts)
    for change in (1, 1, -1):
        meter.pending(change)
    meter.waited(0.25)
    meter.created(0.5)
    meter.used(2.0)
    meter.timed_out()
    found = collector.collect()
    assert set(found) == {
        f"db.client.connection.{name}"
        for name in ("count", "create_time", "pending_requests", "timeouts", "use_time", "wait_time")
    }
    assert _values(found["db.client.connection.count"]) == {("db:5432/shop", "idle"): 3, ("db:5432/shop", "used"): 5}
    assert _values(found["db.client.connection.pending_requests"]) == {("db:5432/shop",): 1}
    assert _values(found["db.client.connection.timeouts"]) == {("db:5432/shop",): 1}
    assert found["db.client.connection.timeouts"].data.is_monotonic
    assert not found["db.client.connection.count"].data.is_monotonic
    for name, value in (("wait_time", 0.25), ("create_time", 0.5), ("use_time", 2.0)):
        metric = found[f"db.client.connection.{name}"]
        [point] = metric.data.data_points
        assert (metric.unit, point.count, point.sum, dict(point.attributes)) == ("s", 1, value, {NAME: "db:5432/shop"})
    first.now = 0, 3
    del second
    meter.pending(-1)
    found = collector.collect()
    assert _values(found["db.client.connection.count"]) == {("db:5432/shop", "idle"): 0, ("db:5432/shop", "used"): 3}
    assert _values(found["db.client.connection.pending_requests"]) == {("db:5432/shop",): 0}
    collector.close()


def test_timeouts_by_delta() -> None:
    """Where counters are asked for by delta, timeouts are told once; levels are what they are."""
    collector = Collector("reader", "delta")
    pool = Pool(1, 0)
    meter = Pools(collector.cells).meter("db", pool, _counts)
    meter.timed_out()
    first, second = collector.collect(), collector.collect()
    for found, timeouts in ((first, 1), (second, 0)):
        assert found["db.client.connection.timeouts"].data.aggregation_temporality is AggregationTemporality.DELTA
        assert _values(found["db.client.connection.timeouts"]) == {("db",): timeouts}
        assert _values(found["db.client.connection.count"]) == {("db", "idle"): 1, ("db", "used"): 0}


def test_a_pool_that_cannot_be_asked_costs_its_count_only() -> None:
    """What the driver raises is contained; the other pools are counted."""
    collector = Collector("reader")
    pools, broken, pool = Pools(collector.cells), Pool(1, 1), Pool(2, 3)
    pools.meter("broken", broken, lambda pool: pool.nothing)
    pools.meter("db", pool, _counts)
    found = _values(collector.collect()["db.client.connection.count"])
    assert {key: value for key, value in found.items() if key[0] == "db"} == {("db", "idle"): 2, ("db", "used"): 3}
