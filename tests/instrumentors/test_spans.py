"""Spans of OpenTelemetry's instrumentors on our provider: real requests, statements and templates."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests
import urllib3
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, TraceFlags

import causal_otel
from causal_otel.engine.provider import TracerProvider
from tests.patches.http_server import echo_app, serve
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent

WAIT = 0.02


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The base URL of a real server."""
    with serve(echo_app) as url:
        yield url


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """The spans of four instrumentors and of SQLAlchemy's patch."""
    with recording(["sqlalchemy"], instrumentors=["requests", "urllib3", "sqlite3", "jinja2"]) as recorded:
        yield recorded


def _headers(response: requests.Response) -> dict[str, str]:
    return dict(response.json()["headers"])


class TestRequests:
    def test_one_span_a_request(self, recorded: Recording, server: str) -> None:
        """A request through requests and urllib3, both traced, is one span with stable names, and carries context."""
        with causal_otel.span("work") as work:
            response = requests.get(f"{server}/echo", timeout=60)
        span, outer = recorded.spans
        assert (span.name, span.kind) == ("GET", SpanKind.CLIENT)
        found = assert_span(span, work)
        host, _, port = server.removeprefix("http://").partition(":")
        wanted = {
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "network.protocol.version": "1.1",
            "server.address": host,
            "server.port": int(port),
            "url.full": f"{server}/echo",
        }
        assert wanted.items() <= found.items()
        assert not {"http.method", "http.url", "http.status_code"} & found.keys()
        assert _headers(response)["traceparent"] == traceparent(span)
        assert outer.name == "work"

    def test_its_duration_and_its_failure(self, recorded: Recording, server: str) -> None:
        """It lasts as long as the server takes; an answer that is an error is the span's."""
        with causal_otel.span("work") as work:
            requests.get(f"{server}/slow/{WAIT}", timeout=60)
            requests.get(f"{server}/status/503", timeout=60)
        slow, refused, _ = recorded.spans
        assert_span(slow, work, lasts=WAIT)
        assert assert_span(refused, work, error="503")["http.response.status_code"] == 503

    def test_an_exception(self, recorded: Recording) -> None:
        """The user's own exception is raised, and the span tells its type without its message, which has the URL."""
        with causal_otel.span("work") as work, pytest.raises(requests.ConnectionError):
            requests.get("http://127.0.0.1:9/orders?email=ann@example.com", timeout=60)
        span, _ = recorded.spans
        found = assert_span(span, work, error="*ConnectionError")
        assert span.status.description is None
        [event] = span.events
        assert event.attributes is not None
        assert event.attributes["exception.message"] == ""
        assert "ann@example.com" not in str(event.attributes)
        assert found["url.full"].startswith("http://127.0.0.1:9/orders")

    def test_urllib3_alone(self, recorded: Recording, server: str) -> None:
        """A request that urllib3 is asked for is a span of its instrumentor."""
        with causal_otel.span("work") as work, urllib3.PoolManager() as pool:
            pool.request("GET", f"{server}/slow/{WAIT}")
        span, _ = recorded.spans
        assert span.instrumentation_scope is not None
        assert span.instrumentation_scope.name == "opentelemetry.instrumentation.urllib3"
        assert assert_span(span, work, lasts=WAIT)["http.response.status_code"] == 200

    def test_a_root(self, recorded: Recording, server: str) -> None:
        """Outside any span a request is a trace of its own."""
        requests.get(f"{server}/slow/{WAIT}", timeout=60)
        assert assert_span(recorded.only("GET"), None, lasts=WAIT)["http.response.status_code"] == 200


class TestStatements:
    def test_literals_are_taken_out(self, recorded: Recording) -> None:
        """A statement's text has no literals, and the stable names; a summary is added, which the conventions want."""
        with causal_otel.span("work") as work, closing(sqlite3.connect(":memory:")) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE people (name)")
            cursor.execute("INSERT INTO people VALUES ('hunter2'), ('x')")
            assert list(cursor.execute("SELECT count(*) FROM people WHERE name = 'hunter2' -- hunter3")) == [(1,)]
        create, insert, select, _ = recorded.spans
        assert [span.name for span in (create, insert, select)] == ["CREATE", "INSERT", "SELECT"]
        assert assert_span(select, work) == {
            "db.system.name": "sqlite",
            "db.query.summary": "SELECT people",
            "db.query.text": "SELECT count(*) FROM people WHERE name = ?",
        }
        assert assert_span(insert, work)["db.query.text"] == "INSERT INTO people VALUES (?)"
        assert select.kind is SpanKind.CLIENT

    def test_an_error_repeats_no_value(self, recorded: Recording) -> None:
        """What SQLite says of a value, the span does not; the type of the error it does."""
        refused = pytest.raises(sqlite3.OperationalError, match="hunter2")
        with closing(sqlite3.connect(":memory:")) as connection, causal_otel.span("work") as work, refused:
            connection.cursor().execute("SELECT 1 FROM hunter2")
        span, _ = recorded.spans
        assert_span(span, work, error="sqlite3.OperationalError")
        assert "no such table" not in span.to_json()

    def test_sqlalchemy_above_it(self, recorded: Recording) -> None:
        """A statement of SQLAlchemy's is one span, SQLAlchemy's patch's; its pings and first questions are none."""
        sqlalchemy = pytest.importorskip("sqlalchemy")
        engine = sqlalchemy.create_engine("sqlite://", pool_pre_ping=True)
        with causal_otel.span("work") as work:
            for _ in range(2):
                with engine.connect() as connection:
                    connection.execute(sqlalchemy.text("SELECT 7"))
        engine.dispose()
        first, second, _ = recorded.spans
        for span in (first, second):
            assert span.instrumentation_scope is not None
            assert span.instrumentation_scope.name == "causal_otel.sqlalchemy"
            assert assert_span(span, work)["db.query.text"] == "SELECT ?"

    def test_aiosqlite(self, recorded: Recording) -> None:
        """What aiosqlite's thread executes is no span: its context is another task's. SQLAlchemy above makes one."""
        import aiosqlite
        import sqlalchemy
        from sqlalchemy.ext.asyncio import create_async_engine

        async def work() -> None:
            with causal_otel.span("opens"):
                database = await aiosqlite.connect(":memory:")
            with causal_otel.span("uses"):
                cursor = await database.cursor()
                await cursor.execute("SELECT 1")
                assert await cursor.fetchone() == (1,)
            await database.close()
            engine = create_async_engine("sqlite+aiosqlite://")
            with causal_otel.span("engine"):
                async with engine.connect() as connection:
                    await connection.execute(sqlalchemy.text("SELECT 2"))
            await engine.dispose()

        asyncio.run(work())
        opens, uses, select, engine = recorded.spans
        assert [opens.name, uses.name, select.name, engine.name] == ["opens", "uses", "SELECT", "engine"]
        assert assert_span(select, engine)["db.query.text"] == "SELECT ?"


def test_a_template(recorded: Recording) -> None:
    """Rendering is an INTERNAL span; an error in it is told as those of spans of one's own are."""
    import jinja2

    with causal_otel.span("work") as work:
        assert jinja2.Template("a{{ wait() or '' }}").render(wait=lambda: time.sleep(WAIT)) == "a"
        with pytest.raises(ZeroDivisionError):
            jinja2.Template("{{ 1 / 0 }}").render()
    rendered = [span for span in recorded.spans if span.name == "jinja2.render"]
    assert assert_span(rendered[0], work, lasts=WAIT)["jinja2.template_name"] == "<memory>"
    assert_span(rendered[1], work, error="ZeroDivisionError")
    assert rendered[1].kind is SpanKind.INTERNAL
    [event] = rendered[1].events
    assert event.attributes is not None
    assert event.attributes["exception.message"] == "division by zero"


def test_sampling(server: str) -> None:
    """In a trace that is not sampled there is no span, and the decision travels."""
    with recording([], ALWAYS_OFF, instrumentors=["requests"]) as recorded:
        with causal_otel.span("work"):
            response = requests.get(f"{server}/echo", timeout=60)
        flags = _headers(response)["traceparent"].rpartition("-")[2]
        assert not int(flags, 16) & TraceFlags.SAMPLED
        requests.get(f"{server}/echo", timeout=60)
        assert recorded.spans == []


@pytest.mark.parametrize("hosts", [["internal"], ["other.example"]])
def test_baggage(server: str, hosts: list[str]) -> None:
    """Baggage goes to the hosts that the settings name, and to no others; the trace does everywhere."""
    provider = TracerProvider(resource=Resource({}))
    installed = causal_otel.install(
        patches=[], instrumentors=["requests"], tracer_provider=provider, baggage_hosts=hosts
    )
    token = context.attach(baggage.set_baggage("user", "ann"))
    try:
        with causal_otel.span("work") as work:
            headers = _headers(requests.get(f"{server}/echo", timeout=60))
            assert baggage.get_baggage("user") == "ann"
            assert trace.get_current_span() is work
    finally:
        context.detach(token)
        installed.uninstall()
    assert headers.get("baggage") == ("user=ann" if hosts == ["internal"] else None)
    assert headers["traceparent"].split("-")[1] == f"{work.get_span_context().trace_id:032x}"


def test_only_inside_spans(server: str) -> None:
    """With ``require_parent`` a request outside any span is not recorded, one inside is."""
    with recording([], instrumentors=["requests"], require_parent=True) as recorded:
        requests.get(f"{server}/echo", timeout=60)
        assert recorded.names() == []
        with causal_otel.span("work") as work:
            requests.get(f"{server}/slow/{WAIT}", timeout=60)
        span, _ = recorded.spans
    assert assert_span(span, work, lasts=WAIT)["http.response.status_code"] == 200


def test_limits(server: str) -> None:
    """The limits of spans hold for theirs."""
    exporter = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=2, max_span_attribute_length=4)
    provider = TracerProvider(resource=Resource({}), span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=[], instrumentors=["requests"], tracer_provider=provider)
    try:
        requests.get(f"{server}/echo", timeout=60)
    finally:
        installed.uninstall()
    [span] = exporter.get_finished_spans()
    assert span.attributes is not None
    assert len(span.attributes) == 2
    assert all(len(value) <= 4 for value in span.attributes.values() if isinstance(value, str))
    assert span.dropped_attributes > 0


@pytest.mark.parametrize("given", [True, False])
def test_metrics(server: str, given: bool) -> None:
    """Their metrics go where ours go, under the stable names; without metrics they go nowhere."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False)
    installed = causal_otel.install(
        patches=[],
        instrumentors=["requests"],
        tracer_provider=TracerProvider(resource=Resource({})),
        meter_provider=meters if given else None,
    )
    try:
        requests.get(f"{server}/echo", timeout=60)
        data: Any = reader.get_metrics_data()
    finally:
        installed.uninstall()
        meters.shutdown()
    names = [
        metric.name
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    assert names == (["http.client.request.duration"] if given else [])


class TestUndone:
    def test_exactly(self, server: str) -> None:
        """After uninstall() the library is what it was, and what the application has instrumented itself still is."""
        from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

        send, connect = requests.Session.send, sqlite3.connect
        theirs = URLLib3Instrumentor()
        theirs.instrument(tracer_provider=TracerProvider(resource=Resource({})))
        try:
            with recording([], instrumentors=["requests", "sqlite3", "urllib3"]):
                states = {each.name: each.state for each in causal_otel.status().instrumentors}
                assert states == {"requests": "on", "sqlite3": "on", "urllib3": "foreign"}
                assert requests.Session.send is not send
            assert requests.Session.send is send
            assert sqlite3.connect is connect
            assert theirs.is_instrumented_by_opentelemetry
        finally:
            theirs.uninstrument()

    def test_and_done_again(self, server: str) -> None:
        """A later installation applies them again; a connection that is left from the one before records nothing."""
        with recording([], instrumentors=["sqlite3"]) as first:
            left = sqlite3.connect(":memory:")
        with closing(left), recording([], instrumentors=["requests"]) as second:
            left.cursor().execute("SELECT 1")
            requests.get(f"{server}/slow/{WAIT}", timeout=60)
            assert first.spans == []
            assert assert_span(second.only(), None, lasts=WAIT)["http.response.status_code"] == 200
        with recording([], instrumentors=["sqlite3"]) as third, closing(sqlite3.connect(":memory:")) as connection:
            connection.cursor().execute("SELECT 1")
            assert assert_span(third.only(), None)["db.query.text"] == "SELECT ?"

    def test_by_the_application_meanwhile(self) -> None:
        """One that the application has undone itself is not undone once more, which would be logged as a mistake."""
        from opentelemetry.instrumentation.requests import RequestsInstrumentor

        send = requests.Session.send
        with recording([], instrumentors=["requests"]):
            RequestsInstrumentor().uninstrument()
        assert requests.Session.send is send


def test_a_providers_own_spans_are_as_they_are(server: str) -> None:
    """With a provider of the user's own they go there, by its own tracer."""
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider

    exporter = InMemorySpanExporter()
    provider = SdkProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=[], instrumentors=["requests"], tracer_provider=provider)
    try:
        with causal_otel.span("work") as work:
            requests.get(f"{server}/slow/{WAIT}", timeout=60)
    finally:
        installed.uninstall()
        provider.shutdown()
    span, _ = exporter.get_finished_spans()
    assert assert_span(span, work, lasts=WAIT)["http.response.status_code"] == 200
    assert type(span).__module__ == "opentelemetry.sdk.trace"
