"""Spans of one's own: what they take from the thread that makes them, and all in all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import INVALID_SPAN, SpanKind

from benchmarks.peers import ATTRIBUTES, NAME, Peer, opentelemetry, ours
from benchmarks.rounds import BARE, DDTRACE, OPENTELEMETRY, OURS, ddtrace, in_turns
from causal_otel.instrument.calls import client_call
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.options import ClientOptions
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.cells import Cells
from causal_otel.metrics.conventions import CELERY_PROCESS, DATABASE_CLIENT, HTTP_CLIENT, HTTP_SERVER
from causal_otel.metrics.observer import Metrics

if TYPE_CHECKING:
    import asyncio

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.conftest import Record, Sink
    from causal_otel.instrument.measured import Measured

_SPANS = 1000
_ROUNDS = 200

Loop = Callable[[Any, int], None]
"""Does something so many times with a tracer."""


def _nothing(_: Any, times: int) -> None:
    for _ in range(times):
        pass


def _current(tracer: Any, times: int) -> None:
    for _ in range(times):
        with tracer.start_as_current_span(NAME, kind=SpanKind.CLIENT, attributes=ATTRIBUTES):
            pass


def _leaf(tracer: Any, times: int) -> None:
    for _ in range(times):
        tracer.start_leaf(NAME, SpanKind.CLIENT, ATTRIBUTES).end()


def _round(
    repeat: Loop,
    peer: Peer,
    *,
    root: bool = True,
    times: int = _SPANS,
    timer: Callable[[], float] = time.thread_time,
    flushed: bool = False,
) -> Callable[[], float]:
    """A round: ``times`` operations under one root, timed with or without the export that follows."""

    def run() -> float:
        with peer.tracer.start_as_current_span("root") if root else nullcontext():
            started = timer()
            repeat(peer.tracer, times)
            elapsed = timer() - started
        started = timer()
        peer.flush()
        return (elapsed + (timer() - started if flushed else 0)) / times

    return run


def _bare(repeat: Loop = _nothing) -> Callable[[], float]:
    def run() -> float:
        started = time.thread_time()
        repeat(None, _SPANS)
        return (time.thread_time() - started) / _SPANS

    return run


def test_child_span(benchmark: BenchmarkFixture, record: Record) -> None:
    """CPU time of the calling thread, up to the queue."""
    with opentelemetry() as peer, ours() as mine:
        found = in_turns(
            benchmark, {BARE: _bare(), OPENTELEMETRY: _round(_current, peer), OURS: _round(_current, mine)}, _ROUNDS
        )
    record("child", {OPENTELEMETRY: found[OPENTELEMETRY], DDTRACE: ddtrace("span"), OURS: found[OURS]})


def test_leaf_span(benchmark: BenchmarkFixture, record: Record) -> None:
    """Likewise, beside what OpenTelemetry's instrumentations do for a query: they make its span current."""
    with opentelemetry() as peer, ours() as mine:
        found = in_turns(
            benchmark, {BARE: _bare(), OPENTELEMETRY: _round(_current, peer), OURS: _round(_leaf, mine)}, _ROUNDS
        )
    record("leaf", {OPENTELEMETRY: found[OPENTELEMETRY], OURS: found[OURS]})


@pytest.mark.parametrize(("row", "root"), [("unsampled", True), ("unsampled root", False)])
def test_unsampled_span(benchmark: BenchmarkFixture, record: Record, row: str, root: bool) -> None:
    """The sampler has said no, to the root or to this very span."""
    with opentelemetry(sampled=False) as peer, ours(sampled=False) as mine:
        found = in_turns(
            benchmark,
            {
                BARE: _bare(),
                OPENTELEMETRY: _round(_current, peer, root=root),
                OURS: _round(_current, mine, root=root),
            },
            _ROUNDS,
        )
        record(row, {OPENTELEMETRY: found[OPENTELEMETRY], OURS: found[OURS]})


def test_gate(benchmark: BenchmarkFixture, record: Record) -> None:
    """What a patch asks first."""
    with ours() as mine:
        tracing = Tracing(mine.tracer, ClientOptions(require_parent=True), lambda timeout: True)

        def ask(_: Any, times: int) -> None:
            recorded = tracing.recorded
            for _ in range(times):
                recorded()

        found = in_turns(benchmark, {BARE: _bare(), OURS: _bare(ask)}, _ROUNDS)
        record("gate", {OURS: found[OURS]})


def test_wrapped(benchmark: BenchmarkFixture, record: Record, loop: asyncio.AbstractEventLoop) -> None:
    """A method that does nothing, patched, so that there is nothing else to measure."""
    with ours() as mine:
        tracing = Tracing(mine.tracer, ClientOptions(require_parent=True), lambda timeout: True)

        class Client:
            async def command(self, name: str) -> None:
                pass

        patched = client_call(lambda *call: Operation("command", {}))(tracing, Client.command)

        def call(method: Callable[..., Any]) -> Loop:
            async def repeat(times: int) -> None:
                client = Client()
                for _ in range(times):
                    await method(client, "x")

            return lambda _, times: loop.run_until_complete(repeat(times))

        found = in_turns(benchmark, {BARE: _bare(call(Client.command)), OURS: _bare(call(patched))}, _ROUNDS)
        record("wrapped", found)


@pytest.mark.parametrize(("row", "sampled"), [("metrics", True), ("metrics unsampled", False)])
def test_metrics(
    benchmark: BenchmarkFixture, record: Record, loop: asyncio.AbstractEventLoop, row: str, sampled: bool
) -> None:
    """A method that returns rows, patched, with metrics on; bare is the same with metrics off."""
    with ours(sampled=sampled) as mine:
        operation = Operation(NAME, ATTRIBUTES)

        class Client:
            async def fetch(self, query: str) -> list[str]:
                return [query]

        def variant(metrics: Metrics | None = None) -> Callable[[], float]:
            tracing = Tracing(mine.tracer, ClientOptions(), lambda timeout: True, metrics=metrics)
            fetch = client_call(lambda *call: operation, rows=len)(tracing, Client.fetch)

            async def repeat(times: int) -> None:
                client = Client()
                for _ in range(times):
                    await fetch(client, "x")

            return _round(lambda _, times: loop.run_until_complete(repeat(times)), mine)

        metrics = Metrics(Cells(), {SpanKind.CLIENT: DATABASE_CLIENT})
        record(row, in_turns(benchmark, {BARE: variant(), OURS: variant(metrics)}, _ROUNDS))


_OPERATIONS: dict[str, tuple[Measured, SpanKind, dict[str, Any], dict[str, Any]]] = {
    "client": (
        HTTP_CLIENT,
        SpanKind.CLIENT,
        {"http.request.method": "GET", "server.address": "shop.example", "server.port": 443},
        {"http.response.status_code": 200, "network.protocol.version": "1.1"},
    ),
    "server": (
        HTTP_SERVER,
        SpanKind.SERVER,
        {"http.request.method": "GET", "url.scheme": "http", "url.path": "/", "network.protocol.version": "1.1"},
        {"http.route": "/", "http.response.status_code": 200},
    ),
    "process": (
        CELERY_PROCESS,
        SpanKind.CONSUMER,
        {
            "messaging.system": "redis",
            "messaging.operation.name": "process",
            "messaging.destination.name": "celery",
            "celery.task.name": "shop.pay",
            "server.address": "broker",
            "server.port": 6379,
        },
        {"celery.task.state": "SUCCESS"},
    ),
}


@pytest.mark.parametrize("name", _OPERATIONS)
def test_metrics_of_operations(benchmark: BenchmarkFixture, record: Record, name: str) -> None:
    """An operation made anew for each call, which learns of its outcome, with metrics on; bare is the same off."""
    measured, kind, attributes, learned = _OPERATIONS[name]
    with ours() as mine:

        def variant(metrics: Metrics | None = None) -> Callable[[], float]:
            tracing = Tracing(mine.tracer, ClientOptions(), lambda timeout: True, metrics=metrics)

            def repeat(_: Any, times: int) -> None:
                for _ in range(times):
                    running = tracing.running(Operation("GET", attributes, kind=kind), INVALID_SPAN, objects=(None,))
                    running.learn(learned)
                    running.end()

            return _round(repeat, mine)

        metrics = Metrics(Cells(), {kind: measured})
        record(f"metrics {name}", in_turns(benchmark, {BARE: variant(), OURS: variant(metrics)}, _ROUNDS))


def test_whole(benchmark: BenchmarkFixture, record: Record, sink: Sink) -> None:
    """CPU time of the whole process, encoding and sending included; every span arrives."""
    times, rounds = 10_000, 30
    with opentelemetry(sink.url) as peer, ours(sink.url) as mine:
        found = in_turns(
            benchmark,
            {
                BARE: _bare(),
                OPENTELEMETRY: _round(_current, peer, times=times, timer=time.process_time, flushed=True),
                OURS: _round(_current, mine, times=times, timer=time.process_time, flushed=True),
            },
            rounds,
        )
    sink.expect(2 * (rounds + 1) * (times + 1))
    record("whole", {OPENTELEMETRY: found[OPENTELEMETRY], OURS: found[OURS]})
