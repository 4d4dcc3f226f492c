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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

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


class Store(Protocol):
    """Where spans are put."""

    def load(self, bodies: Iterable[bytes]) -> None:
        """Put all in; they are committed when it returns."""

    def close(self) -> None:
        """Close the files."""


class Ours:
    """The store.

    Args:
        directory: of the store.
        on_their_way: batches that wait for their acknowledgement at a time.
    """

    def __init__(self, directory: Path, on_their_way: int) -> None:
        self._on_their_way = on_their_way
        self._writer = Writer(directory, clock=lambda: float(_NOON))
        self._writer.start()

    def load(self, bodies: Iterable[bytes]) -> None:
        """Put all in."""
        waiting: deque[Future[Kept]] = deque()
        for body in bodies:
            if len(waiting) == self._on_their_way:
                waiting.popleft().result(_SECONDS)
            waiting.append(self._writer.put(body))
        for future in waiting:
            future.result(_SECONDS)

    def close(self) -> None:
        """Close the files."""
        self._writer.close(_SECONDS)


KINDS: dict[str, Callable[[Path], Store]] = {
    "causal_otel": partial(Ours, on_their_way=1),
    "causal_otel, ten at once": partial(Ours, on_their_way=10),
    SqliteRows.name: SqliteRows,
    DuckRows.name: DuckRows,
}


class Taken(NamedTuple):
    """What a span has cost.

    Attributes:
        microseconds: of CPU time, on all threads.
        size: bytes on the disk.
        closing: microseconds of CPU time for the compaction of the day; 0 where there is none.
        closed_size: bytes on the disk then.
    """

    microseconds: float
    size: float
    closing: float
    closed_size: float


def bodies() -> list[bytes]:
    """What is put in."""
    return list(requests(SPANS, end=_NOON * 10**9, days=_DAYS))


def cpu(work: Callable[[], None]) -> float:
    """Microseconds of CPU time that it takes, for each of the spans."""
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / SPANS * 1e6


def compact(directory: Path) -> None:
    """Close all days that are there; only ours has any."""
    for path in days.day_files(directory).values():
        for pause in close_day(path, now=0, beside=[], release=lambda: None):
            time.sleep(pause)


def size(directory: Path) -> float:
    """Bytes on the disk for each of the spans."""
    return sum(path.stat().st_size for path in directory.iterdir()) / SPANS


@contextmanager
def made(name: str) -> Iterator[tuple[Store, Path]]:
    """A new store, and its directory."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        store = KINDS[name](directory)
        try:
            yield store, directory
        finally:
            store.close()


def measure(name: str, content: list[bytes]) -> Taken:
    """One round."""
    with made(name) as (store, directory):
        microseconds = cpu(lambda: store.load(content))
        store.close()
        before = size(directory)
        return Taken(microseconds, before, cpu(lambda: compact(directory)), size(directory))


@pytest.mark.parametrize("name", KINDS)
def test_ingest(name: str, benchmark: BenchmarkFixture) -> None:
    """All spans, from requests to what is committed."""
    content = bodies()
    benchmark.group = f"ingest of {SPANS} spans"
    with ExitStack() as stack:

        def setup() -> tuple[tuple[Store], dict[str, Any]]:
            return (stack.enter_context(made(name))[0],), {}

        benchmark.pedantic(lambda store: store.load(content), setup=setup, rounds=_ROUNDS)
    best = min(measure(name, content) for _ in range(_ROUNDS))
    benchmark.extra_info["CPU a span (µs)"] = round(best.microseconds, 1)
    benchmark.extra_info["bytes a span"] = round(best.size)
    benchmark.extra_info["bytes a span, compacted"] = round(best.closed_size)
    benchmark.extra_info["CPU a span to compact (µs)"] = round(best.closing, 1)


def main() -> None:
    """Print the table: the least of some rounds that take turns."""
    content = bodies()
    found: dict[str, list[Taken]] = {name: [] for name in KINDS}
    for _ in range(_ROUNDS):
        for name, rounds in found.items():
            rounds.append(measure(name, content))
    print(f"{SPANS} spans".ljust(28), "CPU µs/span", "spans/s", "bytes/span", "compacted", "µs/span for it", sep="  ")
    for name, rounds in found.items():
        best = min(rounds)
        cells = (
            f"{best.microseconds:11.1f}  {1e6 / best.microseconds:7.0f}  {best.size:10.0f}",
            f"{best.closed_size:9.0f}  {best.closing:14.1f}",
        )
        print(name.ljust(28), *cells, sep="  ")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory of all: {peak // (1024 if sys.platform != 'darwin' else 1024 * 1024)} MiB")


if __name__ == "__main__":
    main()
