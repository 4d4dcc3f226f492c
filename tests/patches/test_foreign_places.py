"""Every place where foreign code is called, found in our source: whatever that does, the traced calls do not notice."""

from __future__ import annotations

import ast
import atexit
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from celery import Celery
from fastapi import FastAPI
from opentelemetry import metrics, propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import causal_otel
from causal_otel.engine.provider import TracerProvider as OurProvider
from causal_otel.instrument import tracing as seam
from causal_otel.instrument.options import Options
from causal_otel.instrument.registry import BUILT_IN

ROOT = Path(causal_otel.__file__).parent

FOREIGN = {
    *("on_start", "_on_ending", "on_end", "shutdown", "force_flush"),  # span processors
    *("should_sample", "get_description", "generate_trace_id", "generate_span_id"),  # samplers and id generators
    *("inject", "extract", "fields"),  # propagators
    *("get_tracer", "start_span"),  # tracer providers
    *("started", "ended", "_request", "_response"),  # observers and hooks
    *("export", "detect", "load"),  # exporters, resource detectors, entry points
    *("get_meter", "create_histogram", "create_counter", "create_observable_counter", "record"),  # meter providers
    *("create_observable_gauge", "create_observable_up_down_counter", "create_up_down_counter"),
}
"""Names of what is called on objects that are not ours."""

# -- the table --------------------------------------------------------------------------------------------------------

OURS = "ours"
"""The name is foreign, the object is not, or a place below contains it."""
INSTALLING = "install() and uninstall()"
"""Run by those, in no traced call: what is wrong with their arguments is for the caller to see."""
SEPARATE = "a thread or an exit of our own"
"""Runs in no traced call; see tests/export, tests/metrics and tests/faults."""

PLACES: dict[str, str] = {
    "engine/processors.py: ContainedProcessors.on_start: processor.on_start": "on_start",
    "engine/processors.py: ContainedProcessors._on_ending: processor._on_ending": "_on_ending",
    "engine/processors.py: ContainedProcessors.on_end: processor.on_end": "on_end",
    "engine/processors.py: ContainedProcessors.shutdown: processor.shutdown": "shutdown",
    "engine/processors.py: ContainedProcessors.force_flush: processor.force_flush": "force_flush",
    "engine/tracer.py: Tracer._ask: sampler.should_sample": "should_sample",
    "engine/carriers.py: inject: propagate.inject": "inject",
    "engine/carriers.py: extract: propagate.extract": "extract",
    "patches/_http_server/__init__.py: _fields: propagator.fields": "fields",
    "patches/celery/headers.py: _propagated: propagator.fields": "fields",
    "engine/environ.py: _fields: propagate.get_global_textmap().fields": "tests/engine/test_environ.py",
    "engine/foreign.py: ContainedTracer.start_span: self._theirs.start_span": "start_span",
    "engine/foreign.py: tracer_of: provider.get_tracer": "get_tracer",
    "instrument/operation.py: Observation.start: observer.started": "started",
    "instrument/operation.py: Observation.end: observer.ended": "ended",
    "metrics/feed.py: _Instruments.__init__: provider.get_meter": "get_meter",
    "metrics/feed.py: _Instruments.observe: self._meter.create_observable_up_down_counter": "up_down_counter",
    "metrics/feed.py: _Instruments.observe: self._meter.create_observable_counter": "counter",
    "metrics/feed.py: _Instruments.histogram: self._meter.create_histogram": "histogram",
    "metrics/feed.py: Feed.tell: self._instruments.histogram(family.instrument).record": "record",
    "instrument/hooks.py: Hooks.started: self._request": "request_hook",
    "instrument/hooks.py: Hooks.ended: self._response": "response_hook",
    "instrument/registry.py: _other: entry.load": "tests/instrument/test_entry_points.py",
    "api.py: inject: carriers.inject": OURS,
    "api.py: extract: carriers.extract": OURS,
    "engine/counts.py: SpanCounts.live: self.ended": OURS,
    "engine/environ.py: Caller._read: carriers.extract": OURS,
    "engine/w3c.py: read: _trace_context.extract": OURS,
    "patches/strawberry/streams.py: _Stream.tell: self._request": OURS,
    "engine/w3c.py: read: _baggage.extract": OURS,
    "engine/w3c.py: write: _trace_context.inject": OURS,
    "engine/w3c.py: write: _baggage.inject": OURS,
    "patches/threads.py: _arrived: carriers.extract": OURS,
    "engine/current_span.py: CurrentSpan._start_span: self._tracer.start_span": OURS,
    "engine/foreign.py: ContainedTracer.start_contained: self.start_span": OURS,
    "engine/foreign.py: starter: tracer.start_span": OURS,
    "engine/provider.py: TracerProvider._prepare: self._processors.on_end": OURS,
    "engine/provider.py: TracerProvider.open: self.shutdown": OURS,
    "engine/provider.py: TracerProvider.shutdown: super().shutdown": OURS,
    "engine/samplers.py: EachSpanSampler.get_description: super().get_description": OURS,
    "engine/span.py: Span.end: core.processors._on_ending": OURS,
    "engine/span.py: Span.end: core.processors.on_end": OURS,
    "engine/tracer.py: Tracer.start_entry: self.start_span": OURS,
    "engine/tracer.py: Tracer.start_leaf: self.start_span": OURS,
    "engine/tracer.py: Tracer._decide: ids.generate_trace_id": OURS,  # our provider takes no others
    "engine/tracer.py: Tracer.start_span: core.processors.on_start": OURS,
    "export/console.py: ConsoleExporter._flush_at_exit_of_child: self.shutdown": OURS,
    "export/console.py: ConsoleProcessor.on_end: self._exporter.export": OURS,
    "export/console.py: ConsoleProcessor.force_flush: self._exporter.force_flush": OURS,
    "export/console.py: ConsoleProcessor.shutdown: self._exporter.shutdown": OURS,
    "export/telemetry.py: _started: telemetry.engine().started": OURS,
    "export/worker.py: Worker.__init__: self.shutdown": OURS,
    "export/worker.py: Worker.shutdown: self.shutdown": OURS,
    "export/worker.py: Worker._launch: self.shutdown": OURS,
    "causality/loop_monitor.py: LoopMonitor._settle: self._monitoring.record": OURS,
    "causality/loop_monitor.py: LoopMonitor.waited_for_gil: self._monitoring.record": OURS,
    "instrument/calls.py: _leaf_call.end: metrics.ended": OURS,
    "instrument/calls.py: _leaf_call.fail: metrics.ended": OURS,
    "instrument/operation.py: Running.end: metrics.ended": OURS,
    "status.py: Status.__str__: self.export": OURS,
    "instrument/deferred.py: DeferredPatch._imported: self._registered.load": OURS,
    "patch_choice.py: _checked: registered.load": OURS,
    "patch_choice.py: _of_file: registered.load": OURS,
    "export/worker.py: Worker._notice_fork: process.started": OURS,
    "status_file.py: as_json: dataclasses.fields": OURS,
    "instrumentors/at_work.py: AtWork._instrument: self._chosen.entry.load": INSTALLING,
    "instrumentors/provider.py: InstrumentorTracer.start_span: _NOTHING.start_span": OURS,
    "instrumentors/provider.py: InstrumentorTracer.start_span: super().start_span": OURS,
    "patches/celery/headers.py: context_of: carriers.extract": OURS,
    "pipeline.py: Pipeline._end: self._worker.shutdown": OURS,
    "logs/pipeline.py: LogPipeline.close: self._worker.shutdown": OURS,
    "logs/pipeline.py: LogPipeline.flush: self._worker.force_flush": OURS,
    "transports/splitting.py: halves: kind.fields": OURS,
    "pipeline.py: Pipeline.close: self.provider.shutdown": INSTALLING,
    "pipeline.py: _make_propagator: entry_points('opentelemetry_propagator')[name].load": INSTALLING,
    "pipeline.py: Pipeline.flush: self.provider.force_flush": OURS,
    "pipeline.py: Pipeline.leave: self.provider.force_flush": SEPARATE,
    "metrics/pipeline.py: MetricsPipeline.close: self._reader.shutdown": INSTALLING,
    "metrics/reader.py: Reader._export_once: self._exporter.export": SEPARATE,
    "metrics/reader.py: Reader._run: self._exporter.shutdown": SEPARATE,
    "export/telemetry.py: Telemetry.record_attempts: _duration.record": SEPARATE,
    "export/telemetry.py: _make_instruments: metrics.get_meter": SEPARATE,
    "export/telemetry.py: _make: meter.create_histogram": SEPARATE,
    "export/telemetry.py: _make: meter.create_observable_counter": SEPARATE,
    "export/telemetry.py: _make: meter.create_observable_gauge": SEPARATE,
    "export/telemetry.py: _make: meter.create_observable_up_down_counter": SEPARATE,
}
"""Where a foreign name is used in our source, and the case below that makes the foreign code behind it raise."""

CASES = (
    *("logging", "metric_view", "metric_reader"),
    *(case for case in PLACES.values() if case.replace("_", "").isalpha() and case != OURS),
)
"""Logging has no names of its own: each of our messages may meet a filter of the user's. Nor have a meter provider's
views and readers, which it calls itself."""


def places() -> set[str]:
    """All uses of such a name in what runs in a traced program: ``file: function: expression``."""
    found = set()

    def look(node: ast.AST, file: str, inside: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Attribute) and child.attr in FOREIGN and isinstance(child.ctx, ast.Load):
                found.add(f"{file}: {'.'.join(inside)}: {ast.unparse(child)}")
            is_scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            look(child, file, (*inside, child.name) if is_scope else inside)  # type: ignore[attr-defined]

    for path in ROOT.rglob("*.py"):
        file = path.relative_to(ROOT).as_posix()
        if not file.startswith(("_reference/", "cli/", "collector/", "doctor/", "testing/")):  # programs, and tests
            look(ast.parse(path.read_text(encoding="utf-8")), file, ())
    return found


def test_no_place_is_missing() -> None:
    """Each place where a foreign name is used is in the table, and nothing else: add yours, with a case."""
    assert places() == set(PLACES)


# -- foreign code that misbehaves -------------------------------------------------------------------------------------


class Foreign(Exception):
    """What it raises."""


def fail(*_: Any, **__: Any) -> Any:
    raise Foreign


def nonsense(*_: Any, **__: Any) -> Any:
    return b"nonsense"


class Misbehaving:
    """An observer."""

    unsampled = False

    def __init__(self, case: str, does: Callable[..., Any]) -> None:
        self.started = self.ended = lambda *_: None
        if case in ("started", "ended"):
            setattr(self, case, does)


def misbehaving_meters(case: str, does: Callable[..., Any]) -> metrics.MeterProvider | None:
    """A meter provider of the user's own; None: the case has nothing to do with metrics."""
    if case == "get_meter":
        broken: metrics.MeterProvider = type("Broken", (metrics.MeterProvider,), {case: does})()
        return broken
    view = type("Broken", (View,), {"_match": does})(instrument_name="*")
    reader = InMemoryMetricReader()
    if case == "metric_reader":
        reader = type("Broken", (InMemoryMetricReader,), {"_receive_metrics": does})()
    meters = MeterProvider([reader], views=[view] if case == "metric_view" else (), shutdown_on_exit=False)
    meter = meters.get_meter("causal_otel")
    if case == "up_down_counter":
        meter.create_observable_up_down_counter = does  # type: ignore[method-assign]
    elif case == "counter":
        meter.create_observable_counter = does  # type: ignore[method-assign]
    elif case == "histogram":
        meter.create_histogram = does  # type: ignore[method-assign]
    elif case == "record":
        histogram = type("Broken", (), {"record": does})()
        meter.create_histogram = lambda *_, **__: histogram  # type: ignore[method-assign]
    elif not case.startswith("metric_"):
        return None
    meters.get_meter = lambda *_, **__: meter  # type: ignore[method-assign]
    return meters


@contextmanager
def misbehaving(case: str, does: Callable[..., Any], kind: type[sdk.TracerProvider]) -> Iterator[Callable[[], object]]:
    """Install all patches where the foreign code of one case misbehaves; gives what collects the metrics, if any."""
    sampler: Sampler = ALWAYS_ON
    if case == "should_sample":
        sampler = type("Broken", (Sampler,), {case: does, "get_description": lambda self: "broken"})()
    provider = kind(sampler=sampler)
    atexit.unregister(provider.shutdown)  # which it may do badly
    if case in ("on_start", "_on_ending", "on_end", "shutdown", "force_flush"):
        provider.add_span_processor(type("Broken", (sdk.SpanProcessor,), {case: does})())
    given: trace.TracerProvider = provider
    if case == "start_span":
        tracer = type("Broken", (trace.Tracer,), {case: does, "start_as_current_span": does})()
        given = type("BrokenProvider", (trace.TracerProvider,), {"get_tracer": lambda *_, **__: tracer})()
    if case == "get_tracer":
        given = type("BrokenProvider", (trace.TracerProvider,), {case: does})()
    usual = propagate.get_global_textmap()
    if case in ("inject", "extract", "fields"):
        members = {case: property(does) if case == "fields" else does}
        broken: TextMapPropagator = type("Broken", (TraceContextTextMapPropagator,), members)()
        propagate.set_global_textmap(broken)
    options: dict[str, Any] = {case: does} if case.endswith("_hook") else {}
    patches: dict[str, bool | Options] = {name: BUILT_IN[name].load().options(**options) for name in BUILT_IN}
    make = seam.Tracing.__init__

    def observed(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs["observers"] = (Misbehaving(case, does),)
        make(self, *args, **kwargs)

    log = logging.getLogger("causal_otel")
    try:
        if case in ("started", "ended"):
            seam.Tracing.__init__ = observed  # type: ignore[method-assign]  # metrics come in this way
        if case == "logging":
            log.addFilter(does)
        meters = misbehaving_meters(case, does)
        installed = causal_otel.install(patches=patches, tracer_provider=given, meter_provider=meters)

        def collect() -> None:
            with contextlib.suppress(Exception):  # the user has called it
                if isinstance(meters, MeterProvider):
                    meters.force_flush()

        try:
            yield collect
        finally:
            installed.flush(1.0)
            installed.uninstall()
            with contextlib.suppress(Foreign):  # the SDK's contains nothing
                provider.shutdown()
    finally:
        seam.Tracing.__init__ = make  # type: ignore[method-assign]
        log.removeFilter(does)
        propagate.set_global_textmap(usual)


# -- traced calls -----------------------------------------------------------------------------------------------------

PLANTED = KeyError("planted")


@pytest_asyncio.fixture
async def calls(postgres_url: str) -> AsyncIterator[list[Callable[[], Awaitable[Any]]]]:
    """A call of every role, well and failing: of a client, with headers sent and received, and of a task."""
    connection = await asyncpg.connect(postgres_url)
    api, app = FastAPI(), Celery("places", set_as_current=False, broker="memory://", backend="cache+memory://")

    @api.get("/items/{item}")
    async def item(item: int) -> int:
        if item == 0:
            raise PLANTED
        return item

    @app.task(shared=False, name="places.run")
    def run(raises: bool) -> int:
        if raises:
            raise PLANTED
        return 7

    async def get(path: str) -> Any:
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://tests") as http:
            headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
            return (await http.get(path, headers=headers)).json()

    async def execute(raises: bool) -> Any:
        return run.apply((raises,)).get()

    async def send() -> Any:
        return type(run.apply_async((False,)))

    @causal_otel.traced
    def decorated() -> int:
        return 3

    async def block() -> Any:
        with causal_otel.span("block") as span:
            span.is_recording()
            return decorated()

    yield [
        lambda: connection.fetchval("SELECT 1"),
        lambda: connection.fetchval("SELECT 1 / $1::int", 0),
        lambda: get("/items/3"),
        lambda: get("/items/0"),
        lambda: execute(False),
        lambda: execute(True),
        send,
        block,
    ]
    await connection.close()


async def outcome(call: Callable[[], Awaitable[Any]]) -> tuple[Any, ...]:
    try:
        return "returned", await call()
    except Exception as error:
        found = "raised", error is PLANTED, type(error), str(error), isinstance(error.__context__, Foreign)
        PLANTED.__context__ = PLANTED.__traceback__ = None
        return found


@pytest.mark.parametrize(
    "kind",
    [pytest.param(OurProvider, id="ours"), pytest.param(sdk.TracerProvider, id="theirs", marks=pytest.mark.long)],
)
@pytest.mark.parametrize("does", [fail, nonsense])
@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.asyncio
async def test_calls_go_on(
    calls: list[Callable[[], Awaitable[Any]]], case: str, does: Callable[..., Any], kind: type[sdk.TracerProvider]
) -> None:
    """Results and exceptions are those of the untraced calls, the very object where it is the user's."""
    untraced = [await outcome(call) for call in calls]
    assert {each[0] for each in untraced} == {"returned", "raised"}
    before = sum(causal_otel.status().faults.values())
    with misbehaving(case, does, kind) as collect:
        with causal_otel.span("request"):
            assert [await outcome(call) for call in calls] == untraced
        assert [await outcome(call) for call in calls] == untraced
        collect()
        if case == "get_tracer":
            assert not causal_otel.status().installed
        elif does is fail and case not in ("shutdown", "force_flush", "logging", "metric_reader"):
            assert sum(causal_otel.status().faults.values()) > before
    assert [await outcome(call) for call in calls] == untraced
