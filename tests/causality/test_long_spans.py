"""What a span is told at its end of the times in which its thread stood still."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from causal_otel._internal import faults
from causal_otel.causality import gc_pauses, long_spans
from causal_otel.causality.pauses import Pauses, _known, pauses_here
from causal_otel.names import (
    CAUSAL_BLOCK_FRAME,
    CAUSAL_CONNECT,
    CAUSAL_GC,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_POOL_WAIT,
    CAUSAL_SERVER,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Tracer

MS = 1_000_000
_REMOTE = trace.set_span_in_context(NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(1))), Context())


def told(exporter: InMemorySpanExporter, name: str = "work") -> dict[str, Any]:
    """The attributes of the span of that name."""
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return dict(span.attributes or {})


def ended(tracer: Tracer, milliseconds: int, name: str = "work", **attributes: Any) -> tuple[int, int]:
    """A span that ends now and has taken so long; when it began and ended, by ``perf_counter_ns()``."""
    now, there = time.time_ns(), time.perf_counter_ns()
    span = tracer.start_span(name, start_time=now - milliseconds * MS, attributes=attributes)
    clock = span._local_trace.clock  # type: ignore[attr-defined]
    span.end(there + clock)
    return now - milliseconds * MS - clock, there


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """Those of this thread, and none of other tests."""
    monkeypatch.delitem(_known, threading.get_ident(), raising=False)
    return pauses_here()


def test_a_thread_that_stood_still(tracer: Tracer, exporter: InMemorySpanExporter, pauses: Pauses) -> None:
    """What lies of a pause of its thread in a span's time is told, and none that is over or shorter than it counts."""
    now = time.perf_counter_ns()
    pauses.add(now - 80 * MS, now - 50 * MS)
    pauses.add(now - 30 * MS, now - 10 * MS)
    ended(tracer, 20, "half of one")
    ended(tracer, 200, "both")
    ended(tracer, 5, "after them")
    ended(tracer, 11, "hardly any")
    names = ("half of one", "both", "after them")
    found: dict[str, Any] = {name: told(exporter, name).get(CAUSAL_LOOP_BLOCKED) for name in names}
    assert found["both"] == pytest.approx(0.05)
    assert 0.005 < found["half of one"] <= 0.01
    assert found["after them"] is None


def test_other_threads_go_on(tracer: Tracer, exporter: InMemorySpanExporter, pauses: Pauses) -> None:
    """A span of another thread is told nothing of this one's."""
    now = time.perf_counter_ns()
    pauses.add(now - 50 * MS, now)
    thread = threading.Thread(target=ended, args=(tracer, 100))
    thread.start()
    thread.join()
    assert told(exporter) == {}


def test_a_pause_that_is_under_way(tracer: Tracer, exporter: InMemorySpanExporter, pauses: Pauses) -> None:
    """Before a pause is known to be over, it lasts until a span's end."""
    began = time.perf_counter_ns() - 40 * MS
    pauses.begin(began)
    ended(tracer, 100)
    pauses.add(began, time.perf_counter_ns())
    assert told(exporter)[CAUSAL_LOOP_BLOCKED] >= 0.04


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ({CAUSAL_SERVER: 0.1}, {CAUSAL_SERVER: 0.02}),
        ({CAUSAL_SERVER: 0.02}, {CAUSAL_SERVER: 0.02}),
        ({CAUSAL_SERVER: 0.015}, {CAUSAL_SERVER: 0.015}),
        ({CAUSAL_SERVER: 0.06, CAUSAL_POOL_WAIT: 0.03}, {CAUSAL_POOL_WAIT: 0.02}),
        ({CAUSAL_SERVER: 0.01, CAUSAL_CONNECT: 0.09}, {CAUSAL_SERVER: 0.01, CAUSAL_CONNECT: 0.01}),
    ],
)
def test_parts_make_room(
    parts: dict[str, float], left: dict[str, float], pauses: Pauses, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    """What a span's parts have of a pause is taken out of the longest: together they are no more than the span."""
    now = time.perf_counter_ns()
    pauses.add(now - 85 * MS, now - 5 * MS)
    leaf = {"db.system.name": "postgresql", **parts}
    span = tracer.start_leaf("work", SpanKind.CLIENT, leaf)  # type: ignore[attr-defined]
    span._start = now - 100 * MS
    span.end(now + span._local_trace.clock)
    found = told(exporter)
    assert found.pop(CAUSAL_LOOP_BLOCKED) == pytest.approx(0.08)
    assert found.pop("db.system.name") == "postgresql"
    assert found == pytest.approx(left)
    assert leaf == {"db.system.name": "postgresql", **parts}, "others share it"


def test_the_record_of_a_pause_is_no_victim(tracer: Tracer, exporter: InMemorySpanExporter, pauses: Pauses) -> None:
    """The span that tells of the pause itself does not say once more that it was one."""
    now = time.perf_counter_ns()
    pauses.add(now - 50 * MS, now)
    ended(tracer, 50, **{CAUSAL_BLOCK_FRAME: "app.py:3 main()"})
    assert told(exporter) == {CAUSAL_BLOCK_FRAME: "app.py:3 main()"}


@pytest.mark.parametrize("parent", [Context(), _REMOTE], ids=["no parent", "a parent elsewhere"])
def test_garbage_collection(
    parent: Context, tracer: Tracer, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local root tells for how long the process collected garbage in its time; spans inside it do not."""
    collected = Pauses()
    monkeypatch.setattr(gc_pauses, "pauses", collected)
    with tracer.start_as_current_span("root", context=parent) as root:
        root._start -= 100 * MS  # type: ignore[attr-defined]
        now = time.perf_counter_ns()
        collected.add(now - 30 * MS, now)
        with tracer.start_as_current_span("inside") as inside:
            inside._start -= 50 * MS  # type: ignore[attr-defined]
    assert told(exporter, "root") == {CAUSAL_GC: pytest.approx(0.03)}
    assert told(exporter, "inside") == {}


def test_what_fails_costs_no_span(
    tracer: Tracer, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in here is counted, and the span is what it would be without."""

    def fails(_: int) -> Pauses:
        raise RuntimeError("went wrong")

    monkeypatch.setattr(long_spans, "pauses_of_thread", fails)
    before = faults.counts().get("causality: a span's end", 0)
    ended(tracer, 10, key="value")
    assert told(exporter) == {"key": "value"}
    assert faults.counts()["causality: a span's end"] == before + 1
