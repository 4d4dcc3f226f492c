"""What tracing adds to an operation of a library: bare, with OpenTelemetry's instrumentation of it, and with our patch.

The instrumentation and the patch are placed for a round and taken away after it. Each round begins with operations that
are not timed: Python has specialised bytecode for classes as they were, and has to do so anew for replaced methods.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.peers import Peer, opentelemetry, ours
from benchmarks.rounds import BARE, OPENTELEMETRY, OURS, in_turns

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Sink

__all__ = ["Operation", "recorded", "unsampled"]

Round = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation of a library.

    Args:
        prepare: given a column of the table and a number, makes ready for so many operations and returns what performs
            them. Only what it returns is timed.
        patch: the name of our patch, or those of several with blanks between.
        instrumentor: OpenTelemetry's instrumentation; None: there is none.
        spans: how many spans the instrumentation makes of an operation.
        our_spans: how many our patch makes.
        in_span: whether the operations are performed inside a span, as those of clients are.
        times: how many a round of :func:`recorded` times: they fill batches, so that no request is for a few spans.
        rounds: how many rounds of :func:`recorded` there are.
        warm_up: how many a round performs before those that are timed.
        unsampled_times: likewise, of :func:`unsampled`.
        unsampled_rounds: likewise.
    """

    prepare: Callable[[str, int], Callable[[], object]]
    patch: str
    instrumentor: Any = None
    spans: int = 1
    our_spans: int = 1
    in_span: bool = True
    times: int = 512
    rounds: int = 12
    warm_up: int = 200
    unsampled_times: int = 200
    unsampled_rounds: int = 20

    def perform(self, column: str, peer: Peer | None, times: int) -> Callable[[], None]:
        """What performs it so many times, inside a span or not."""
        perform = self.prepare(column, times)

        def run() -> None:
            with nullcontext() if peer is None or not self.in_span else peer.tracer.start_as_current_span("root"):
                perform()

        return run


@contextmanager
def _peers(operation: Operation, url: str | None, *, sampled: bool) -> Iterator[dict[str, Peer | None]]:
    """Who is measured, by column; None is nobody, the bare operation."""
    with ExitStack() as stack:
        peers: dict[str, Peer | None] = {BARE: None}
        if operation.instrumentor is not None:
            theirs = opentelemetry(url, operation.instrumentor, sampled=sampled)
            peers[OPENTELEMETRY] = stack.enter_context(theirs)
        peers[OURS] = stack.enter_context(ours(url, *operation.patch.split(), sampled=sampled))
        yield peers


def _variants(operation: Operation, peers: dict[str, Peer | None], times: int, *, exported: bool) -> dict[str, Round]:
    """A round of each. What is exported is timed as well, in whatever thread."""
    timer = time.process_time if exported else time.thread_time

    def variant(column: str, peer: Peer | None) -> Round:
        def flush() -> None:
            if exported and peer is not None:
                peer.flush()

        def run() -> float:
            with nullcontext() if peer is None else peer.patched():
                operation.perform(column, peer, operation.warm_up)()
                flush()
                perform = operation.perform(column, peer, times)
                started = timer()
                perform()
                flush()
                return (timer() - started) / times

        return run

    return {column: variant(column, peer) for column, peer in peers.items()}


def recorded(benchmark: BenchmarkFixture, sink: Sink, operation: Operation) -> dict[str, float]:
    """CPU time of the whole process, encoding and sending included; every span arrives.

    Returns:
        Seconds: the bare operation, and what each tracer adds to it.
    """
    times, rounds = operation.times, operation.rounds
    with _peers(operation, sink.url, sampled=True) as peers:
        found = in_turns(benchmark, _variants(operation, peers, times, exported=True), rounds)
    spans = {OPENTELEMETRY: operation.spans, OURS: operation.our_spans}
    roots = 2 if operation.in_span else 0
    sink.expect((rounds + 1) * sum(spans[name] * (operation.warm_up + times) + roots for name in peers if name != BARE))
    return found


def unsampled(benchmark: BenchmarkFixture, operation: Operation) -> dict[str, float]:
    """CPU time of the calling thread, where the sampler has said no: to the span around, or to that of the operation.

    Returns:
        Seconds: the bare operation, and what each tracer adds to it.
    """
    with _peers(operation, None, sampled=False) as peers:
        variants = _variants(operation, peers, operation.unsampled_times, exported=False)
        return in_turns(benchmark, variants, operation.unsampled_rounds)
