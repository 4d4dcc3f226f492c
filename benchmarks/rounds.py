"""How the benchmarks measure: CPU time, in rounds that take turns.

A machine's speed drifts by more than what some of these figures tell: frequencies change, neighbours come and go, and
a neighbour on the same core makes everything take twice as long. So the variants of a benchmark are not measured one
after the other but in turns, and the least of the rounds is kept: what others add to a round is never negative. A round
is long enough to hold its share of garbage collections, full batches and whatever else recurs.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

__all__ = [
    "BARE",
    "DDTRACE",
    "FASTAPI",
    "OPENTELEMETRY",
    "OURS",
    "added",
    "ddtrace",
    "in_process",
    "in_turns",
    "on_core",
]

BARE, OPENTELEMETRY, FASTAPI, DDTRACE, OURS = "bare", "OpenTelemetry", "FastAPI's own", "ddtrace", "causal_otel"
"""The columns of the table."""

_PROCESS_SECONDS = 60.0


def in_turns(benchmark: BenchmarkFixture, variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Measure variants, one of them ``bare``, in turns, after one round to warm up.

    A round of pytest-benchmark's is one turn of them all, in an order that rotates. What each took is among its extra
    information.

    Args:
        benchmark: pytest-benchmark's.
        variants: each does one round, and tells the seconds that one operation has taken.
        rounds: how many.

    Returns:
        Seconds: the bare operation, and what each of the others adds to it.
    """
    names = deque(variants)
    found: dict[str, list[float]] = {name: [] for name in names}

    def turn() -> None:
        names.rotate()
        for name in names:
            found[name].append(variants[name]())

    turn()
    for values in found.values():
        values.clear()
    gc.collect()
    benchmark.pedantic(turn, rounds=rounds, iterations=1)
    measured = added(found)
    benchmark.extra_info.update(measured)
    return measured


def added(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The least of the rounds of each variant: of the bare one, and by how much those of the others exceed it."""
    bare = min(found[BARE])
    return {name: bare if name == BARE else min(values) - bare for name, values in found.items()}


def in_process(*arguments: str, **environ: str) -> Any:
    """Run Python with ``arguments`` in a process of its own; what it prints last, which is JSON."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=_PROCESS_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Keep the calling thread on one core inside the block, and what it starts there on that core for ever.

    A call to a server costs its client half as much again where the two share a core or do not, as the scheduler
    pleases: more than tracing does. Does nothing where threads cannot be kept on cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def ddtrace(*arguments: str) -> float:
    """What ddtrace adds to an operation, in seconds: see :mod:`benchmarks.ddtrace_process`. It reaches nobody."""
    return float(
        in_process(
            *("-W", "ignore", "-m", "benchmarks.ddtrace_process", *arguments),
            DD_TRACE_AGENT_URL="http://127.0.0.1:1",
            DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
            DD_REMOTE_CONFIGURATION_ENABLED="false",
            DD_CRASHTRACKING_ENABLED="false",
            DD_TRACE_STARTUP_LOGS="false",
        )
    )
