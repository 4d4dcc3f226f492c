"""Searches in the store beside DuckDB and plain SQLite: the same spans, the same questions, in one run.

``CAUSAL_OTEL_BENCH_SPANS`` tells how many spans (default: 60,000), ``CAUSAL_OTEL_BENCH_DAYS`` over how many days
(default: 6). With ``CAUSAL_OTEL_BENCH_STORE``, a directory, the stores are kept there and used again.

``python -m benchmarks.collector.bench_search`` prints the 95th percentile of every kind of question without pytest,
``--no-rows`` without the other two.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.collector.generate import OPERATIONS, SERVICES, USERS, requests
from benchmarks.collector.rows import DuckRows, SqliteRows
from causal_otel.collector.expressions import Compare, tags
from causal_otel.collector.query import Query
from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import close_day, is_due
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

SPANS = int(os.environ.get("CAUSAL_OTEL_BENCH_SPANS", "60000"))
DAYS = int(os.environ.get("CAUSAL_OTEL_BENCH_DAYS", "6"))
QUESTIONS = 30
"""Of each kind, no two the same."""

MILLISECOND = 10**6
_IN_FLIGHT = 64

Kind = Callable[[random.Random], dict[str, Any]]


def _service(rng: random.Random) -> dict[str, Any]:
    return {"service": rng.choice(SERVICES)}


def _operation(rng: random.Random) -> dict[str, Any]:
    service = rng.choice(SERVICES)
    return {"service": service, "operation": rng.choice(OPERATIONS[service])}


def _user(rng: random.Random) -> tuple[tuple[str, str], ...]:
    return (("user.id", f"user-{rng.randrange(USERS)}"),)


KINDS: dict[str, Kind] = {
    "service": _service,
    "service, operation": _operation,
    "service, user.id": lambda rng: {**_service(rng), "where": tags(_user(rng))},
    "service, operation, user.id": lambda rng: {**_operation(rng), "where": tags(_user(rng))},
    "service, duration": lambda rng: {**_service(rng), "shortest": rng.randrange(100, 1000) * MILLISECOND},
    "service, operation, status, duration": lambda rng: {
        **_operation(rng),
        "where": tags((("http.response.status_code", "404"),)),
        "shortest": rng.randrange(20, 200) * MILLISECOND,
    },
    "service, errors": lambda rng: {**_service(rng), "errors": True},
    "no service: newest": lambda _: {},
    "no service: user.id": lambda rng: {"where": tags(_user(rng))},
    "no service: request.id of nobody": lambda rng: {"where": tags((("request.id", rng.randbytes(8).hex()),))},
    "no service: duration": lambda rng: {"shortest": rng.randrange(500, 3000) * MILLISECOND},
    "no service: duration of nobody": lambda rng: {"shortest": 10**6 * MILLISECOND + rng.randrange(1000)},
    "no service: frequent tag, rare duration": lambda rng: {
        "where": tags((("http.response.status_code", "404"),)),
        "shortest": rng.randrange(1000, 4000) * MILLISECOND,
    },
    "no service: two tags never together": lambda rng: {
        "where": tags((("http.response.status_code", "500"), ("db.namespace", rng.choice(SERVICES)[:-8]))),
    },
    "no service: error=true": lambda _: {"where": tags((("error", "true"),))},
}

OF_OURS: dict[str, Kind] = {
    "service, part of an operation": lambda rng: {**_service(rng), "operation_like": rng.choice(["get", "SELECT*"])},
    "service, status>=500": lambda rng: {
        **_service(rng),
        "where": Compare("http.response.status_code", ">=", "500"),
    },
    "no service: status>=500": lambda rng: {
        "where": Compare("http.response.status_code", ">=", str(500 - rng.randrange(3)))
    },
    "no service: longest": lambda _: {"sort": "longest"},
    "service: longest": lambda rng: {**_service(rng), "sort": "longest"},
    "service, operation: most errors": lambda rng: {**_operation(rng), "sort": "errors"},
    "no service: user.id, most spans": lambda rng: {"where": tags(_user(rng)), "sort": "spans"},
}
"""Questions that only the store is asked."""


class Ours:
    """The store."""

    name = "causal_otel"

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "store"
        self.reader = Reader(self._directory)

    def load(self, bodies: Iterator[bytes]) -> None:
        """Put the spans in, and close the days that are over."""
        writer = Writer(self._directory)
        writer.start()
        try:
            waiting: deque[Any] = deque()
            for body in bodies:
                waiting.append(writer.put(body))
                if len(waiting) > _IN_FLIGHT:
                    waiting.popleft().result(60)
            for future in waiting:
                future.result(60)
        finally:
            writer.close(60)
        now = time.time()
        files = days.day_files(self._directory)
        for day, path in files.items():
            if is_due(path, day, now):
                beside = [files[near] for near in (day - 1, day + 1) if near in files]
                for _ in close_day(path, now=now, beside=beside, release=lambda: None):
                    pass

    def search(self, query: Query) -> Any:
        """The first traces."""
        found = self.reader.search(query, seconds=60)
        assert found.complete
        return found.trace_ids

    def trace(self, trace_id: bytes) -> Any:
        """Its spans."""
        return self.reader.trace(trace_id)

    def close(self) -> None:
        """Close the files."""
        self.reader.close()


@contextmanager
def stores(*kinds: Callable[[Path], Any]) -> Iterator[list[Any]]:
    """Stores with the same spans in each."""
    end = time.time_ns() - 60 * 10**9
    with tempfile.TemporaryDirectory() as temporary:
        kept = os.environ.get("CAUSAL_OTEL_BENCH_STORE")
        made = []
        for kind in kinds:
            directory = Path(kept or temporary) / f"{kind.__name__}-{SPANS}-{DAYS}"
            full = directory.exists()
            directory.mkdir(parents=True, exist_ok=True)
            made.append(kind(directory))
            if not full:
                begun = time.perf_counter()
                made[-1].load(requests(SPANS, end=end, days=DAYS))
                took = time.perf_counter() - begun
                print(f"{made[-1].name}: {SPANS} spans over {DAYS} days in {took:.0f} s")
        try:
            yield made
        finally:
            for each in made:
                each.close()


def questions(kind: Kind) -> list[Query]:
    """Queries of a kind: always the same ones."""
    rng = random.Random(7)
    return [Query(0, time.time_ns(), **kind(rng)) for _ in range(QUESTIONS)]


def p95(times: list[float]) -> float:
    """Of some durations."""
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def timed(ask: Callable[[Any], object], asked: list[Any]) -> list[float]:
    """How long each answer takes, in seconds."""
    times = []
    for each in asked:
        begun = time.perf_counter()
        ask(each)
        times.append(time.perf_counter() - begun)
    return times


@pytest.fixture(scope="module")
def peers() -> Iterator[dict[str, Any]]:
    with stores(Ours, SqliteRows, DuckRows) as made:
        yield {each.name: each for each in made}


@pytest.mark.parametrize("peer", [Ours.name, SqliteRows.name, DuckRows.name])
@pytest.mark.parametrize("kind", KINDS)
def test_search(kind: str, peer: str, peers: dict[str, Any], benchmark: BenchmarkFixture) -> None:
    """All questions of a kind, one after the other: what a round takes is theirs together."""
    asked = questions(KINDS[kind])
    benchmark.group = f"search: {kind}, {QUESTIONS} times"
    store = peers[peer]
    taken: list[float] = []
    benchmark.pedantic(lambda: taken.extend(timed(store.search, asked)), rounds=1, warmup_rounds=1)
    benchmark.extra_info["p95 (ms)"] = round(p95(taken) * 1000, 2)


@pytest.mark.parametrize("peer", [Ours.name, SqliteRows.name, DuckRows.name])
def test_trace_by_id(peer: str, peers: dict[str, Any], benchmark: BenchmarkFixture) -> None:
    """Without a hint at its time."""
    ids = list(peers[Ours.name].reader.trace_ids(0, time.time_ns()))
    asked = random.Random(7).sample(ids, min(QUESTIONS, len(ids)))
    benchmark.group = f"trace by id, {len(asked)} times"
    store = peers[peer]
    benchmark.pedantic(lambda: timed(store.trace, asked), rounds=2, warmup_rounds=1)


def test_all_find_the_same(peers: dict[str, Any]) -> None:
    """Or the comparison would be of different things."""
    for kind in KINDS.values():
        for query in questions(kind)[:5]:
            ours, rows, columns = (peers[each.name].search(query) for each in (Ours, SqliteRows, DuckRows))
            assert [each.hex() for each in ours] == rows
            assert set(columns) <= set(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collector.bench_search")
    parser.add_argument("--no-rows", action="store_true", help="only ours")
    kinds = [Ours] if parser.parse_args().no_rows else [Ours, SqliteRows, DuckRows]
    with stores(*kinds) as made:
        print("p95 (median), ms".ljust(44), *(each.name.rjust(24) for each in made))

        def line(title: str, times: list[list[float]]) -> None:
            cells = [f"{p95(each) * 1000:.1f} ({statistics.median(each) * 1000:.1f})".rjust(24) for each in times]
            print(title.ljust(44), *cells, flush=True)

        reader = made[0].reader
        for name, kind in KINDS.items():
            asked = questions(kind)
            line(name, [timed(each.search, asked) for each in made])
        for name, kind in OF_OURS.items():
            line(name, [timed(made[0].search, questions(kind))])
        newest = [reader.search(query).trace_ids for query in questions(_operation)]
        line("summaries of 20", [timed(reader.summaries, newest)])
        ids = [trace_id for some in newest for trace_id in some] or [bytes(16)]
        line("trace by id", [timed(each.trace, ids[:200]) for each in made])
        now = time.time_ns()
        for hours in (1, 24, 720):
            spans = [(now - hours * 3600 * 10**9, now)] * 5
            line(f"statistics of {hours} hours", [timed(lambda span: reader.statistics(*span), spans)])
        line("services", [timed(lambda _: reader.services(), [None] * 10)])
        line("volume", [timed(lambda _: reader.volume(), [None] * 5)])
        for day in reader.volume().days[-3:]:
            print(day, f"{day.bytes / max(1, day.spans):.0f} bytes a span")


if __name__ == "__main__":
    main()
