"""Where the asgi patch takes hold: beside others who trace, around bare applications, and after an uninstall."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastapi
import pytest
import starlette.applications
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from causal_otel._internal import faults
from causal_otel.patches.asgi import PATCH, TracingMiddleware
from tests.patches.asgi_app import app, text
from tests.patches.asgi_requests import SENDER, TRACE_ID, TRACEPARENT, bare, fetch, server, servers
from tests.patches.checks import assert_undone
from tests.recording import Recording, recording
from tests.span_relations import attributes, trace_id

if TYPE_CHECKING:
    import httpx

PATCHES = ["asgi"]


ROOT = Path(__file__).parents[2]


@pytest.mark.asyncio
async def test_a_bare_application_is_traced_by_the_middleware(recorded: Recording) -> None:
    """TracingMiddleware gives any ASGI application the same span, header and errors."""
    response = await fetch("/bare/1", of=TracingMiddleware(bare), headers={"traceparent": TRACEPARENT})
    assert response.text == "bare"
    assert response.headers["x-trace-id"] == TRACE_ID
    assert server(recorded, SENDER).name == "GET /bare/{x}"
    recorded.clear()
    await fetch("/boom", of=TracingMiddleware(bare))
    span = server(recorded, error="ValueError")
    assert span.name == "GET"
    assert "http.response.status_code" not in attributes(span)


@pytest.mark.asyncio
async def test_the_middleware_waits_for_install(recorded: Recording) -> None:
    """Made before install() and used after an uninstall, the middleware only passes on."""
    of = TracingMiddleware(bare)
    await fetch("/", of=of)
    server(recorded)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TracingMiddleware, "_tracing", None)
        assert "x-trace-id" not in (await fetch("/", of=of)).headers
    assert len(servers(recorded)) == 1


@pytest.mark.asyncio
async def test_the_middleware_around_a_traced_application_adds_nothing(recorded: Recording) -> None:
    """Around FastAPI the middleware makes the one span, which still has the route."""
    response = await fetch("/sub/items/3", of=TracingMiddleware(app))
    assert server(recorded).name == "GET /sub/items/{i}"
    assert response.headers.get_list("x-trace-id") == [trace_id(server(recorded))]


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.asyncio
async def test_starlette_s_own_middleware_does_not_double_the_span(recorded: Recording, where: str) -> None:
    """With Starlette's OpenTelemetry middleware there is one SERVER span: ours, or its own where it is outside."""
    telemetry = pytest.importorskip("starlette.middleware.opentelemetry").OpenTelemetryMiddleware
    provider = recorded.provider
    routes = [Route("/x/{a}", text)]
    if where == "inside":
        of: Any = Starlette(routes=routes, middleware=[Middleware(telemetry, tracer_provider=provider)])
    else:
        of = telemetry(Starlette(routes=routes), tracer_provider=provider)
    await fetch("/x/1", of=of)
    span = server(recorded)
    assert span.name == "GET /x/{a}"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == ("causal_otel.asgi" if where == "inside" else "starlette")


@pytest.mark.parametrize("whose", ["ours", "the SDK's"])
def test_fastapi_s_own_telemetry_does_not_double_the_span(whose: str) -> None:
    """With a global provider, for which FastAPI would trace itself, there is one SERVER span, and it is ours."""
    program = f"""
import asyncio, httpx, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import causal_otel
from tests.patches.asgi_app import app
from tests.span_relations import assert_span
exporter = InMemorySpanExporter()
if {whose != "ours"}:
    trace.set_tracer_provider(TracerProvider())
causal_otel.install(patches=["asgi"], exporter="none")
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://h") as client:
        for path in ("/items/3", "/sub/items/3"):
            await client.get(path)
asyncio.run(main())
for span in exporter.get_finished_spans():
    assert_span(span, None)
print(json.dumps([[s.name, s.kind.name, s.instrumentation_scope.name] for s in exporter.get_finished_spans()]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        ["GET /items/{i}", "SERVER", "causal_otel.asgi"],
        ["GET /sub/items/{i}", "SERVER", "causal_otel.asgi"],
    ]


def test_uninstall_restores_the_very_same_objects() -> None:
    """Afterwards every patched attribute is the object it was before, and inherited ones are inherited again."""
    assert_undone(PATCH)


def test_the_patched_methods_look_like_the_originals() -> None:
    """Signature, kind, pickle and deepcopy are as without us, and classes keep their identity."""
    classes = (fastapi.FastAPI, starlette.applications.Starlette)
    before = [(inspect.signature(kind.__call__), inspect.iscoroutinefunction(kind.__call__)) for kind in classes]
    with recording(["asgi"]):
        assert (fastapi.FastAPI, starlette.applications.Starlette) == classes
        assert isinstance(app, FastAPI)
        for kind, (signature, is_coroutine) in zip(classes, before, strict=True):
            assert inspect.signature(kind.__call__) == signature
            assert inspect.iscoroutinefunction(kind.__call__) is is_coroutine
            assert copy.deepcopy(kind.__call__) is kind.__call__
            assert pickle.loads(pickle.dumps(kind.__call__)) is kind.__call__


@pytest.mark.asyncio
async def test_the_scope_is_left_clean(recorded: Recording) -> None:
    """After the request nothing of ours is in the scope, and nothing that would stop others from tracing."""
    scope: dict[str, Any] = {}

    async def outside(given: Any, receive: Any, send: Any) -> None:
        await app(given, receive, send)
        scope.update(given)

    await fetch("/items/3", of=outside)
    assert scope["path"] == "/items/3"
    assert not [key for key in scope if "telemetry" in key or "causal" in key]
    assert server(recorded).name == "GET /items/{i}"


@pytest.mark.asyncio
async def test_a_fault_of_ours_does_not_reach_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tracing itself fails, the request is served as if it were not there."""
    sites = (
        "serving.request_attributes",
        "serving.parent_context",
        "exchange.Exchange.sent",
        "exchange.Exchange.routed",
        "exchange.Exchange.returned",
    )
    answers: list[httpx.Response] = []

    async def break_each() -> None:
        with recording(["asgi"]):
            for site in sites:
                with monkeypatch.context() as broken:
                    broken.setattr(f"causal_otel.patches.asgi.{site}", lambda *_: 1 / 0)
                    answers.append(await fetch("/status/503"))

    with pytest.raises(AssertionError, match="failed and was contained"):
        await break_each()
    assert [answer.status_code for answer in answers] == [503] * len(sites)
    assert set(faults.counts()) >= {"asgi: request", "asgi: response", "asgi: route", "asgi: outcome"}
