"""Jobs given to a thread pool, inside a span and outside: bare, with OpenTelemetry's instrumentation, with our patch.

``submit`` alone is CPU time of the thread that calls it: the pool's only thread is busy meanwhile. With the job it is
that of the process. The jobs do nothing, and nobody makes a span of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from opentelemetry.instrumentation.threading import ThreadingInstrumentor

from benchmarks.peers import Peer, opentelemetry, ours
from benchmarks.rounds import BARE, OPENTELEMETRY, OURS, in_turns

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record

_TIMES = 2000
_WARM_UP = 500
_ROUNDS = 60


def _submit(executor: ThreadPoolExecutor, times: int) -> float:
    """CPU time of the calling thread."""
    go_on = threading.Event()
    executor.submit(go_on.wait)
    started = time.thread_time()
    for _ in range(times):
        executor.submit(len, ())
    took = time.thread_time() - started
    go_on.set()
    return took


def _submit_and_run(executor: ThreadPoolExecutor, times: int) -> float:
    """CPU time of both threads."""
    started = time.process_time()
    for _ in range(times):
        executor.submit(len, ())
    executor.submit(len, ()).result()
    return time.process_time() - started


def _round(peer: Peer | None, measure: Callable[[ThreadPoolExecutor, int], float], *, in_span: bool) -> float:
    with (
        nullcontext() if peer is None else peer.patched(),
        ThreadPoolExecutor(1) as executor,
        peer.tracer.start_as_current_span("root") if peer is not None and in_span else nullcontext(),
    ):
        measure(executor, _WARM_UP)
        executor.submit(len, ()).result()
        return measure(executor, _TIMES) / _TIMES


@pytest.mark.parametrize(
    ("row", "measure", "in_span"),
    [
        ("submit", _submit, True),
        ("submit outside", _submit, False),
        ("submit and run", _submit_and_run, True),
    ],
)
def test_thread_pool(
    benchmark: BenchmarkFixture,
    record: Record,
    row: str,
    measure: Callable[[ThreadPoolExecutor, int], float],
    in_span: bool,
) -> None:
    """A job is given to a pool of one thread."""
    with opentelemetry(None, ThreadingInstrumentor()) as theirs, ours(None, "threads") as mine:
        variants: dict[str, Callable[[], float]] = {
            name: lambda peer=peer: _round(peer, measure, in_span=in_span)  # type: ignore[misc]
            for name, peer in ((BARE, None), (OPENTELEMETRY, theirs), (OURS, mine))
        }
        record(row, in_turns(benchmark, variants, _ROUNDS))
