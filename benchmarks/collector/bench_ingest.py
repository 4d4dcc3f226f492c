"""Taking spans in, beside plain SQLite and DuckDB: CPU time of the process and bytes on the disk, both a span.

The store acknowledges batches of 512 as they come; one variant has every batch wait for the one before, the other keeps
as many on their way as ten services do. The other two are given 20,000 spans at a time.

``CAUSAL_OTEL_BENCH_SPANS`` tells how many spans (default: 40,000). ``python -m benchmarks.collector.bench_ingest``
prints the table without pytest.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from benchmarks.collector.generate import requests
from benchmarks.collector.rows import DuckRows, SqliteRows
from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import close_day
from causal_otel.collector.store.writer import Kept, Writer

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

SPANS = int(os.environ.get("CAUSAL_OTEL_BENCH_SPANS", "40000"))
_ROUNDS = 3
_NOON = 1_795_348_800
_DAYS = 0.45
"""Before noon: all on one day."""
_SECONDS = 60.0


class Taken(NamedTuple):
    """What a span has cost.

    Attributes:
        microseconds: of CPU time, on all threads.
        size: bytes on the disk.
        closed_size: the same once the day was compacted; what is not compacted stays as it is.
        closing: microseconds of CPU time that compaction took.
    """

    microseconds: float
    size: float
    closed_size: float
    closing: float = 0.0


def _bodies() -> list[bytes]:
    return list(requests(SPANS, end=_NOON * 10**9, days=_DAYS))


def _ours(directory: Path, bodies: list[bytes], on_their_way: int) -> Taken:
    writer = Writer(directory, clock=lambda: float(_NOON))
    writer.start()
    waiting: deque[Future[Kept]] = deque()
    begun = time.process_time()
    for body in bodies:
        if len(waiting) == on_their_way:
            waiting.popleft().result(_SECONDS)
        waiting.append(writer.put(body))
    for future in waiting:
        future.result(_SECONDS)
    taken = time.process_time() - begun
    writer.close(_SECONDS)
    ((_, path),) = days.day_files(directory).items()
    size = days.size_of(path)
    begun = time.process_time()
    for pause in close_day(path, now=0, beside=[], release=lambda: None):
        time.sleep(pause)
    closing = time.process_time() - begun
    return Taken(taken / SPANS * 1e6, size / SPANS, days.size_of(path) / SPANS, closing / SPANS * 1e6)


def one_by_one(directory: Path, bodies: list[bytes]) -> Taken:
    """The store; each batch waits for the one before."""
    return _ours(directory, bodies, 1)


def ten_at_once(directory: Path, bodies: list[bytes]) -> Taken:
    """The store; ten batches are on their way."""
    return _ours(directory, bodies, 10)


def _rows(kind: Callable[[Path], SqliteRows | DuckRows], directory: Path, bodies: list[bytes]) -> Taken:
    rows = kind(directory)
    begun = time.process_time()
    rows.load(bodies)
    taken = time.process_time() - begun
    rows.close()
    size = sum(path.stat().st_size for path in directory.iterdir())
    return Taken(taken / SPANS * 1e6, size / SPANS, size / SPANS)


def sqlite_rows(directory: Path, bodies: list[bytes]) -> Taken:
    """A row for each span in SQLite: no index of attributes."""
    return _rows(SqliteRows, directory, bodies)


def duckdb_rows(directory: Path, bodies: list[bytes]) -> Taken:
    """A row for each span in DuckDB."""
    return _rows(DuckRows, directory, bodies)


VARIANTS: dict[str, Callable[[Path, list[bytes]], Taken]] = {
    "causal_otel": one_by_one,
    "causal_otel, ten at once": ten_at_once,
    SqliteRows.name: sqlite_rows,
    DuckRows.name: duckdb_rows,
}


def measure(variant: Callable[[Path, list[bytes]], Taken], bodies: list[bytes]) -> Taken:
    """In a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return variant(Path(directory), bodies)


@pytest.mark.parametrize("name", VARIANTS)
def test_ingest(name: str, benchmark: BenchmarkFixture) -> None:
    """All spans, from requests to what is committed."""
    bodies = _bodies()
    benchmark.group = f"ingest of {SPANS} spans"
    found: list[Taken] = []
    benchmark.pedantic(lambda: found.append(measure(VARIANTS[name], bodies)), rounds=_ROUNDS)
    best = min(found)
    benchmark.extra_info["CPU a span (µs)"] = round(best.microseconds, 1)
    benchmark.extra_info["bytes a span, open"] = round(best.size)
    benchmark.extra_info["bytes a span, closed"] = round(best.closed_size)
    benchmark.extra_info["CPU a span to close (µs)"] = round(best.closing, 1)


def main() -> None:
    """Print the table: the least of some rounds that take turns."""
    bodies = _bodies()
    found: dict[str, list[Taken]] = {name: [] for name in VARIANTS}
    for _ in range(_ROUNDS):
        for name, variant in VARIANTS.items():
            found[name].append(measure(variant, bodies))
    print(f"{SPANS} spans".ljust(28), "CPU µs/span", "spans/s", "bytes/span", "closed", "closing µs/span", sep="  ")
    for name, rounds in found.items():
        best = min(rounds)
        cells = (
            f"{best.microseconds:11.1f}  {1e6 / best.microseconds:7.0f}  {best.size:10.0f}  {best.closed_size:6.0f}",
            f"{best.closing:15.1f}",
        )
        print(name.ljust(28), *cells, sep="  ")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory of all: {peak // (1024 if sys.platform != 'darwin' else 1024 * 1024)} MiB")


if __name__ == "__main__":
    main()
