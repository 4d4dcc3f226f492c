"""The pages of operations and services, and Jaeger's metrics, over a month: how long the server takes for an answer.

The store is that of :mod:`.bench_search`, with its settings. ``CAUSAL_OTEL_BENCH_SPANS=1000000
CAUSAL_OTEL_BENCH_DAYS=30`` with ``CAUSAL_OTEL_BENCH_STORE`` is a month of a hundred and twenty operations.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from benchmarks.collector.bench_search import DAYS, SPANS, Ours, stores
from benchmarks.collector.generate import OPERATIONS, SERVICES
from causal_otel.collector import web
from causal_otel.collector.jaeger import legacy
from causal_otel.collector.reading import Reading
from causal_otel.collector.trends.window import HOUR
from causal_otel.collector.web.addresses import operation_address, service_address, with_parameters
from causal_otel.collector.web.trend_state import written

if TYPE_CHECKING:
    from causal_otel.collector.store.reader import Reader

_ROUNDS = 20


def _operation(rng: random.Random, **more: str) -> str:
    service = rng.choice(SERVICES)
    place = rng.randrange(12)
    kind, system = ("client", "postgresql") if place % 2 else ("server", "http")
    return operation_address(service, OPERATIONS[service][place], kind=kind, system=system, **more)


def _metric(rng: random.Random, metric: str, **more: str) -> str:
    given = {"service": rng.choice(SERVICES), "quantile": "0.95", "step": "60000", "ratePer": "600000", **more}
    return with_parameters(f"/api/metrics/{metric}", {**given, "lookback": str(2 * 86_400_000)})


_MOMENT = written(time.time_ns() - (DAYS // 2) * 24 * HOUR)
ASKED: dict[str, Callable[[random.Random], str]] = {
    "operation, 30 days": lambda rng: _operation(rng, lookback="30d"),
    "operation, 30 days, before and after": lambda rng: _operation(rng, lookback="30d", moment=_MOMENT),
    "operation, 30 days, versions": lambda rng: _operation(rng, lookback="30d", version="1.4.2", against="1.4.1"),
    "operation, 7 days by the hour": lambda rng: _operation(rng, lookback="7d"),
    "service, 30 days": lambda rng: service_address(rng.choice(SERVICES), lookback="30d"),
    "service, 7 days by the hour": lambda rng: service_address(rng.choice(SERVICES), lookback="7d"),
    "Jaeger: latencies, 2 days": lambda rng: _metric(rng, "latencies"),
    "Jaeger: calls by operation, 2 days": lambda rng: _metric(rng, "calls", groupByOperation="true"),
}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with stores(Ours) as (ours,):
        yield TestClient(_application(ours.reader))


def _application(reader: Reader) -> Starlette:
    reading = Reading(reader)
    return Starlette(routes=[*legacy.routes(reading), *web.routes(reading, status=dict, put=None)])


@pytest.mark.parametrize("what", ASKED)
def test_server(client: TestClient, what: str) -> None:
    """What the server takes to answer."""
    rng = random.Random(1)
    seconds, processor, size = [], [], 0
    for _ in range(_ROUNDS):
        address = ASKED[what](rng)
        started, used = time.perf_counter(), time.process_time()
        answer = client.get(address)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
        assert answer.status_code == 200
        size = max(size, len(answer.content))
    ordered = sorted(seconds)
    print(
        f"{what}, {SPANS} spans: {statistics.median(ordered) * 1000:.0f} ms, p95"
        f" {ordered[round(_ROUNDS * 0.95) - 1] * 1000:.0f}, of the processor {statistics.median(processor) * 1000:.0f};"
        f" {size / 1000:.0f} kB"
    )
