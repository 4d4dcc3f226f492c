"""Span processors, samplers and ids of the user's that raise: the traced calls go on as if untraced."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import pytest
from celery import Celery
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import causal_otel
from causal_otel.engine.provider import TracerProvider as OurProvider
from tests.patches.foreign import PATCHES, PROVIDERS, Foreign, broken_processor, fail, installed, ours, theirs
from tests.patches.foreign_calls import Calls, outcomes
from tests.span_relations import assert_children, assert_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from tests.services.fixtures import GraphServer


@pytest.fixture
def local() -> Celery:
    """An app of its own, without a broker."""
    return Celery("local", set_as_current=False, broker="memory://", backend="cache+memory://")


@pytest.fixture(params=PROVIDERS)
def broken(request: pytest.FixtureRequest) -> tuple[Callable[[], trace.TracerProvider], str]:
    return PROVIDERS[request.param]


@pytest.mark.asyncio
async def test_calls_go_on(traced_calls: Calls, broken: tuple[Callable[[], trace.TracerProvider], str]) -> None:
    """Whatever of the user's provider raises, all traced calls do what they do untraced, and the fault is counted."""
    untraced = await outcomes(traced_calls, inside=False)
    make, site = broken
    provider = make()
    with installed(provider) as faults:
        assert await outcomes(traced_calls, inside=True) == untraced
        assert await outcomes(traced_calls, inside=False) == untraced
        assert faults()[site] >= len(traced_calls)
    assert untraced["asyncpg"] == ("returned", 1)
    assert untraced["celery"] == ("returned", 1)
    assert untraced["fastapi fails"] == ("raised", "the planted object", None)


@pytest.mark.asyncio
async def test_spans_are_whole(postgres_url: str) -> None:
    """A processor that comes before the one that raises gets whole spans: parent, duration, outcome, attributes."""
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.add_span_processor(broken_processor("on_end"))
    connection = await asyncpg.connect(postgres_url)
    with installed(provider) as faults:
        with causal_otel.span("request") as request:
            assert trace.get_current_span() is request
            assert isinstance(request, sdk.Span)
            await connection.execute("SELECT pg_sleep(0.1)")
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.execute("SELECT 1 / 0")
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert faults() == {"your tracer provider: Span.end": 3}
    await connection.close()
    slept, failed, root = exporter.get_finished_spans()
    for span, error in ((slept, None), (failed, "22012")):
        found = assert_span(span, root, error=error, lasts=0.0 if error else 0.1)
        assert (span.kind, found["db.system.name"]) == (SpanKind.CLIENT, "postgresql")
        assert found.get("db.response.status_code") == error
    assert root.get_span_context() == request.get_span_context()
    assert root.name == "request"
    assert_span(root, None)


@pytest.mark.asyncio
async def test_a_span_that_cannot_be_started_leaves_the_trace(postgres_url: str) -> None:
    """Where the span of a block cannot be started, what is inside hangs below the parent of it."""
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()

    class Choosy(sdk.SpanProcessor):
        def on_start(self, span: sdk.Span, parent_context: Context | None = None) -> None:
            if span.name == "refused":
                raise Foreign

    provider.add_span_processor(Choosy())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    connection = await asyncpg.connect(postgres_url)
    with installed(provider) as faults:
        with causal_otel.span("request") as request:
            with causal_otel.span("refused") as refused:
                assert not refused.is_recording()
                assert refused.get_span_context() == request.get_span_context()
                await connection.execute("SELECT 1")
            assert request.is_recording()
        assert faults() == {"your tracer provider: start_span": 1}
    await connection.close()
    assert_children(exporter.get_finished_spans(), "SELECT", "request")


@pytest.mark.asyncio
async def test_current_spans_are_the_users_own(neo4j_server: GraphServer, local: Celery) -> None:
    """User code inside a patch's span finds the very object of its own provider: it can read what the SDK shows."""
    import neo4j

    found: dict[str, trace.Span] = {}
    api = FastAPI()

    @api.get("/look")
    async def look() -> None:
        found["SERVER"] = trace.get_current_span()

    @local.task(shared=False, name="foreign.look")
    def task() -> None:
        found["CONSUMER"] = trace.get_current_span()

    def work(transaction: Any) -> None:
        found["INTERNAL"] = trace.get_current_span()
        transaction.run("RETURN 1").consume()

    provider = sdk.TracerProvider()
    provider.add_span_processor(broken_processor("on_end"))
    with installed(provider):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://tests") as http:
            assert (await http.get("/look")).status_code == 200
        task.apply()
        with (
            neo4j.GraphDatabase.driver(neo4j_server.url, auth=neo4j_server.auth) as driver,
            driver.session(database=neo4j_server.database) as session,
            causal_otel.span("request"),
        ):
            session.execute_read(work)
    assert found.keys() == {"SERVER", "CONSUMER", "INTERNAL"}
    for kind, span in found.items():
        assert isinstance(span, sdk.Span)
        assert (span.kind.name, span.is_recording(), span.status.status_code) == (kind, False, StatusCode.UNSET)
        assert span.attributes


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("method", ["on_start", "on_end"])
def test_exits_pass(method: str, error: type[BaseException]) -> None:
    """What is meant to end the program does, out of a processor too."""
    provider = sdk.TracerProvider()
    provider.add_span_processor(broken_processor(method, error))
    with installed(provider) as faults:
        with pytest.raises(error), causal_otel.span("block"):
            pass
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert faults() == {}


def test_tracer_of_the_installation() -> None:
    """The tracer for spans of one's own starts the provider's own spans, and contains what happens by itself."""
    provider = sdk.TracerProvider()
    provider.add_span_processor(broken_processor("on_end"))
    with installed(provider) as faults:
        tracer = causal_otel.install().tracer
        with tracer.start_as_current_span("block", attributes={"n": 1}) as span:
            assert trace.get_current_span() is span
            assert isinstance(span, sdk.Span)
            assert dict(span.attributes or {}) == {"n": 1}
        assert faults() == {"your tracer provider: Span.end": 1}
        with pytest.raises(Foreign):
            tracer.start_span("mine").end()


@pytest.mark.parametrize("method", ["shutdown", "force_flush"])
@pytest.mark.parametrize("make", [theirs, ours])
def test_flush_and_uninstall(make: Callable[[str], Callable[[], sdk.TracerProvider]], method: str) -> None:
    """A processor that cannot flush makes ``flush()`` tell so; one that cannot shut down does not stop ours, nor us."""
    exporter = InMemorySpanExporter()
    provider = make(method)()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with installed(provider) as faults:
        assert causal_otel.install().flush(30.0) is (method == "shutdown")
        if make is ours:
            provider.shutdown()
            assert exporter._stopped, "the next processor is shut down all the same"
            assert faults() == {f"span processor Broken: {method}": 1}


def test_logging_that_raises() -> None:
    """A filter of the user's logging that raises does so in no traced call, and the fault is counted all the same."""

    class Spoiling(sdk.SpanProcessor):
        """Is new to the log, unlike others of this file."""

        on_start = fail

    provider = OurProvider()
    provider.add_span_processor(Spoiling())
    logger = logging.getLogger("causal_otel")
    with installed(provider) as faults:
        logger.addFilter(fail)
        try:
            with causal_otel.span("block"):
                pass
        finally:
            logger.removeFilter(fail)
        assert faults() == {"span processor Spoiling: on_start": 1}


class NoTracers(trace.TracerProvider):
    """Raises for one name, or for all, instead of giving a tracer."""

    def __init__(self, refused: str = "", does: Callable[..., Any] = fail) -> None:
        self._refused, self._does = refused, does
        self._spans = sdk.TracerProvider(shutdown_on_exit=False)

    def get_tracer(self, instrumenting_module_name: str, *args: Any, **kwargs: Any) -> trace.Tracer:
        if self._refused in ("", instrumenting_module_name):
            return self._does()  # type: ignore[no-any-return]
        return self._spans.get_tracer(instrumenting_module_name, *args, **kwargs)


@pytest.mark.parametrize(
    ("does", "problem"),
    [
        (fail, "get_tracer() of your tracer provider has raised Foreign"),
        (lambda: b"nonsense", "get_tracer() of your tracer provider has returned a bytes, which is no Tracer"),
    ],
)
@pytest.mark.asyncio
async def test_provider_without_tracers(
    traced_calls: Calls, does: Callable[[], Any], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """install() returns, nothing is patched, status() and one line of the log say why, and the program goes on."""
    untraced = await outcomes(traced_calls, inside=False)
    original = asyncpg.Connection.fetchval
    installation = causal_otel.install(tracer_provider=NoTracers(does=does))
    try:
        assert str(causal_otel.status()) == f"causal_otel: not tracing ({problem})"
        assert [record.getMessage() for record in caplog.records] == [f"causal_otel: nothing is traced: {problem}"]
        assert asyncpg.Connection.fetchval is original
        assert causal_otel.install() is installation
        assert await outcomes(traced_calls, inside=True) == untraced
        with installation.tracer.start_as_current_span("mine") as span:
            assert not span.is_recording()
        assert installation.flush()
    finally:
        installation.uninstall()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    with installed(provider):
        assert causal_otel.status().installed


def test_provider_without_a_tracer_for_one_patch(caplog: pytest.LogCaptureFixture) -> None:
    """A provider that refuses one patch its tracer: that one is not applied, and says why; the others are at work."""
    original = asyncpg.Connection.fetchval
    with installed(NoTracers("causal_otel.asyncpg")):
        chosen = [patch for patch in causal_otel.status().patches if patch.name in PATCHES]
        states = {patch.name: (patch.state, patch.problems) for patch in chosen}
        problem = "get_tracer() of your tracer provider has raised Foreign"
        assert states.pop("asyncpg") == ("failed", [problem])
        assert {state for state, _ in states.values()} <= {"on", "waiting"}
        assert [record.getMessage() for record in caplog.records] == [
            f"causal_otel: asyncpg is not traced: {problem}",
        ]
        assert asyncpg.Connection.fetchval is original
        with causal_otel.span("block") as span:
            assert span.is_recording()
