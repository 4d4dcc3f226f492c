"""Propagators of the user's that raise: the traced calls go on, and their spans are those of any call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from celery.app import trace as tracers
from opentelemetry import propagate, trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import causal_otel
from causal_otel.engine.provider import TracerProvider
from tests.patches.foreign import fail, installed
from tests.patches.foreign_calls import QUEUE, Calls, application, outcomes
from tests.span_relations import assert_sound, assert_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=["inject", "extract", "fields"])
def broken_propagator(request: pytest.FixtureRequest) -> Iterator[str]:
    """The global propagator, with one method that raises; yields which."""
    usual = propagate.get_global_textmap()
    method: str = request.param
    members = {method: property(fail) if method == "fields" else fail}
    propagate.set_global_textmap(type("BrokenPropagator", (TraceContextTextMapPropagator,), members)())
    yield method
    propagate.set_global_textmap(usual)


@pytest.mark.asyncio
async def test_calls_go_on_without_propagator(traced_calls: Calls, broken_propagator: str) -> None:
    """Where a propagator raises, all traced calls do what they do untraced, and their spans are those of any call."""
    untraced = await outcomes(traced_calls, inside=False)
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with installed(provider) as faults:
        assert await outcomes(traced_calls, inside=True) == untraced
        assert faults().keys() == {f"propagator: {broken_propagator}"}
    ended = {span.name: span for span in exporter.get_finished_spans()}
    assert ended.keys() >= {"GET", "GET /items/{item}", "send tests.add", "process tests.add", "INCRBY", "block"}
    for name in ("GET", "GET /items/{item}", "send tests.add", "process tests.add", "INCRBY"):
        assert_sound(ended[name])
    sent = ended["send tests.add"]
    # The last of them, which cannot be sent.
    assert sent.parent is not None
    found = assert_span(sent, sent.parent, error="kombu.exceptions.EncodeError")
    assert found["messaging.destination.name"] == QUEUE


@pytest.mark.parametrize("broken_propagator", ["extract", "fields"], indirect=True)
@pytest.mark.asyncio
async def test_work_that_comes_in_without_propagator(broken_propagator: str, local: Celery) -> None:
    """A request and a task whose sender cannot be read begin traces of their own, with all else that is known."""

    @local.task(name="foreign.add", shared=False)  # else every other application would have it
    def add(x: int, y: int) -> int:
        return x + y

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with installed(provider) as faults:
        served = httpx.ASGITransport(application())
        async with httpx.AsyncClient(transport=served, base_url="http://tests") as http:
            response = await http.get("/items/3", headers={"traceparent": TRACEPARENT})
            assert (response.status_code, response.json()) == (200, {"item": 3})
        request = {"id": "1", "delivery_info": {"exchange": "", "routing_key": QUEUE}, "traceparent": TRACEPARENT}
        tracers.build_tracer(add.name, add, app=local)("1", [1, 2], {}, {**request, "is_eager": False})
        assert faults()[f"propagator: {broken_propagator}"] >= 1
    ended = {span.name: span for span in exporter.get_finished_spans()}
    served_span, executed = ended["GET /items/{item}"], ended["process foreign.add"]
    sender = SpanContext(int(TRACEPARENT[3:35], 16), int(TRACEPARENT[36:52], 16), is_remote=True)
    assert assert_span(served_span, None)["http.response.status_code"] == 200
    found = assert_span(executed, None if broken_propagator == "extract" else sender)
    assert found["celery.task.state"] == "SUCCESS"


def test_own_carriers(broken_propagator: str) -> None:
    """``inject()`` and ``extract()`` do nothing where the propagator raises."""
    with installed(sdk.TracerProvider()) as faults:
        carrier: dict[str, str] = {}
        with causal_otel.span("block"):
            causal_otel.inject(carrier)
        assert bool(carrier) is (broken_propagator != "inject")
        with causal_otel.span("next", parent=causal_otel.extract({"traceparent": TRACEPARENT})) as span:
            from_there = f"{span.get_span_context().trace_id:032x}" == TRACEPARENT.split("-")[1]
            assert from_there is (broken_propagator != "extract")
        assert faults() == ({} if broken_propagator == "fields" else {f"propagator: {broken_propagator}": 1})


def test_a_propagator_that_gives_what_is_current() -> None:
    """What is current in a block of ours is a context for the propagator, and so it is for us."""

    class Nothing(TraceContextTextMapPropagator):
        def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
            return get_current() if context is None else context

    usual = propagate.get_global_textmap()
    propagate.set_global_textmap(Nothing())
    try:
        with installed(TracerProvider()) as faults:
            with causal_otel.span("block") as span:
                assert trace.get_current_span(causal_otel.extract({})) is span
            assert faults() == {}
    finally:
        propagate.set_global_textmap(usual)
