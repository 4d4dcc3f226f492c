"""Span processors, samplers, ids and propagators of the user's that raise: the traced calls go on as if untraced."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
import redis.asyncio
from celery import Celery
from celery.app.trace import build_tracer
from fastapi import FastAPI
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import causal_otel
from causal_otel.engine.provider import TracerProvider as OurProvider
from tests.patches.celery_app import add
from tests.patches.http_server import echo_app, serve
from tests.services.fixtures import GraphServer

PATCHES = ["asgi", "asyncpg", "celery", "httpx", "neo4j", "redis"]
QUEUE = "foreign"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Planted(Exception):
    """What the user's own code raises in the middle of a traced call."""


PLANTED = Planted("planted")


class Foreign(Exception):
    """What the user's processors, samplers and the like raise."""


def fail(*_: Any, **__: Any) -> Any:
    raise Foreign("a bug of the user's")


# -- what is broken -----------------------------------------------------------------------------------------------


def broken_processor(method: str, error: type[BaseException] = Foreign) -> sdk.SpanProcessor:
    """A processor that raises in one of its methods."""

    def raising(*_: Any, **__: Any) -> None:
        raise error("a bug of the user's")

    kind: type[sdk.SpanProcessor] = type("Broken", (sdk.SpanProcessor,), {method: raising})
    return kind()


class BrokenSampler(Sampler):
    should_sample = fail

    def get_description(self) -> str:
        return "broken"


class MuteSampler(BrokenSampler):
    def should_sample(self, *_: Any, **__: Any) -> Any:
        return None


class BrokenIds(RandomIdGenerator):
    generate_span_id = fail


class BrokenSpan(trace.NonRecordingSpan):
    """A span of neither the SDK's kind nor ours, whose methods raise."""

    set_attribute = set_attributes = set_status = record_exception = update_name = add_event = add_link = end = fail

    def is_recording(self) -> bool:
        return True


class BrokenSpans(trace.Tracer):
    """Makes such spans."""

    start_as_current_span = fail

    def start_span(self, *_: Any, **__: Any) -> trace.Span:
        identity = trace.SpanContext(random.getrandbits(128), random.getrandbits(64), False, trace.TraceFlags(1))
        return BrokenSpan(identity)


class BrokenSpansProvider(trace.TracerProvider):
    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return BrokenSpans()


def theirs(
    method: str = "", *, sampler: Sampler = ALWAYS_ON, ids: IdGenerator | None = None
) -> Callable[[], sdk.TracerProvider]:
    """Makes a provider of the SDK's with a processor whose ``method`` raises."""

    def make() -> sdk.TracerProvider:
        provider = sdk.TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
        if method:
            provider.add_span_processor(broken_processor(method))
        return provider

    return make


def ours(method: str = "", *, sampler: Sampler = ALWAYS_ON) -> Callable[[], sdk.TracerProvider]:
    """The same of our own provider."""

    def make() -> sdk.TracerProvider:
        provider = OurProvider(sampler=sampler)
        if method:
            provider.add_span_processor(broken_processor(method))
        return provider

    return make


PROVIDERS: dict[str, tuple[Callable[[], trace.TracerProvider], str]] = {
    "their on_start": (theirs("on_start"), "your tracer provider: start_span"),
    "their on_ending": (theirs("_on_ending"), "your tracer provider: Span.end"),
    "their on_end": (theirs("on_end"), "your tracer provider: Span.end"),
    "their sampler": (theirs(sampler=BrokenSampler()), "your tracer provider: start_span"),
    "their mute sampler": (theirs(sampler=MuteSampler()), "your tracer provider: start_span"),
    "their ids": (theirs(ids=BrokenIds()), "your tracer provider: start_span"),
    "their spans": (BrokenSpansProvider, "your tracer provider: Span.end"),
    "our on_start": (ours("on_start"), "span processor Broken: on_start"),
    "our on_ending": (ours("_on_ending"), "span processor Broken: on_ending"),
    "our on_end": (ours("on_end"), "span processor Broken: on_end"),
    "our sampler": (ours(sampler=BrokenSampler()), "sampler BrokenSampler"),
    "our mute sampler": (ours(sampler=MuteSampler()), "sampler MuteSampler"),
}


@contextmanager
def installed(provider: trace.TracerProvider) -> Iterator[Callable[[], dict[str, int]]]:
    """Trace by ``provider``; yields what counts the faults since."""
    installation = causal_otel.install(patches=PATCHES, tracer_provider=provider)

    def faults() -> dict[str, int]:
        found = {site: count - before.get(site, 0) for site, count in causal_otel.status().faults.items()}
        return {site: count for site, count in found.items() if count}

    before = dict(installation.status().faults)
    try:
        yield faults
    finally:
        installation.uninstall()


@pytest.fixture
def local() -> Celery:
    """An app of its own, without a broker."""
    return Celery("local", set_as_current=False, broker="memory://", backend="cache+memory://")


@pytest.fixture(params=PROVIDERS)
def broken(request: pytest.FixtureRequest) -> tuple[Callable[[], trace.TracerProvider], str]:
    return PROVIDERS[request.param]


# -- what is called -----------------------------------------------------------------------------------------------

Outcome = tuple[Any, ...]
Calls = dict[str, Callable[[], Awaitable[Any]]]


async def outcome(call: Callable[[], Awaitable[Any]]) -> Outcome:
    """What came of a call: the result, or the exception, with where it came from if our own code did not make it."""
    try:
        return "returned", await call()
    except BaseException as error:
        if error is PLANTED:
            return "raised", "the planted object", error.__context__
        origin = error.__cause__ is PLANTED
        return "raised", type(error), str(error), origin, isinstance(error.__context__, Foreign)


def application() -> FastAPI:
    """A FastAPI application that answers, or raises the planted exception."""
    api = FastAPI()

    @api.get("/items/{item}")
    async def item(item: int) -> dict[str, Any]:
        return {"item": item}

    @api.get("/broken")
    async def raising() -> None:
        raise PLANTED

    return api


class Refusing(httpx.AsyncBaseTransport):
    """A transport of the user's own."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise PLANTED


class Unsendable(str):
    """What redis-py cannot encode."""

    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise PLANTED


class Unserializable:
    """What Celery cannot put into a message."""

    def __json__(self) -> Any:
        raise PLANTED


@pytest_asyncio.fixture
async def calls(postgres_url: str, redis_url: str, broker: str) -> AsyncIterator[Calls]:
    """Calls of every kind, well and failing, on real servers. Each may be repeated."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TEMP TABLE foreign_code (id serial, note text)")
    client = redis.asyncio.Redis.from_url(redis_url)
    queue = redis.asyncio.Redis.from_url(broker)
    served = httpx.ASGITransport(application())

    async def inserted() -> Any:
        await connection.execute("INSERT INTO foreign_code (note) VALUES ('once')")
        count = await connection.fetchval("SELECT count(*) FROM foreign_code")
        await connection.execute("TRUNCATE foreign_code")
        return count

    async def divided() -> Any:
        return await connection.fetchval("SELECT 1 / $1::int", 0)

    async def counted() -> Any:
        await client.delete("foreign")
        return await client.incr("foreign")

    async def unsendable() -> Any:
        return await client.get(Unsendable("x"))

    async def pipelined() -> Any:
        async with client.pipeline() as pipeline:
            pipeline.delete("foreign")
            pipeline.incr("foreign")
            pipeline.lpush("foreign", "x")
            return await pipeline.execute()

    async def refused() -> Any:
        async with httpx.AsyncClient(transport=Refusing()) as http:
            return await http.get("http://example.invalid/")

    async def requested(path: str) -> Any:
        with serve(echo_app) as base:
            async with httpx.AsyncClient() as http:
                response = await http.get(f"{base}{path}")
                return response.status_code, response.json().keys()

    async def answered(path: str) -> Any:
        async with httpx.AsyncClient(transport=served, base_url="http://tests") as http:
            response = await http.get(path)
            return response.status_code, response.json()

    async def published() -> Any:
        add.apply_async((1, 2), queue=QUEUE)
        waiting = await queue.llen(QUEUE)
        await queue.delete(QUEUE)
        return waiting

    async def unserializable() -> Any:
        add.apply_async((1, Unserializable()), queue=QUEUE)

    async def eager() -> Any:
        return add.apply((1, 2)).get()

    async def block() -> Any:
        with causal_otel.span("block") as span:
            return trace.get_current_span() is span

    async def raising_block() -> Any:
        with causal_otel.span("block"):
            raise PLANTED

    @causal_otel.traced
    def function() -> int:
        return 1

    @causal_otel.traced
    async def coroutine() -> int:
        raise PLANTED

    @causal_otel.traced
    def generator() -> Iterator[int]:
        yield 1
        raise PLANTED

    @causal_otel.traced
    async def agenerator() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def decorated() -> Any:
        return function(), [item async for item in agenerator()]

    async def decorated_generator() -> Any:
        return list(generator())

    yield {
        "asyncpg": inserted,
        "asyncpg fails": divided,
        "redis": counted,
        "redis fails": unsendable,
        "redis pipeline": pipelined,
        "httpx": lambda: requested("/echo"),
        "httpx fails": refused,
        "fastapi": lambda: answered("/items/3"),
        "fastapi fails": lambda: answered("/broken"),
        "celery": published,
        "celery fails": unserializable,
        "celery eager": eager,
        "span": block,
        "span fails": raising_block,
        "traced": decorated,
        "traced coroutine fails": coroutine,
        "traced generator fails": decorated_generator,
    }
    await connection.close()
    await client.aclose()
    await queue.aclose()


async def outcomes(calls: Calls, *, inside: bool) -> dict[str, Outcome]:
    """What comes of every call, perhaps inside a block of the user's that is traced."""
    found = {}
    for name, call in calls.items():
        if inside:
            with causal_otel.span("request"):
                found[name] = await outcome(call)
        else:
            found[name] = await outcome(call)
        PLANTED.__context__ = PLANTED.__traceback__ = None
    return found


# -- providers ----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_calls_go_on(calls: Calls, broken: tuple[Callable[[], trace.TracerProvider], str]) -> None:
    """Whatever of the user's provider raises, all traced calls do what they do untraced, and the fault is counted."""
    untraced = await outcomes(calls, inside=False)
    make, site = broken
    provider = make()
    with installed(provider) as faults:
        assert await outcomes(calls, inside=True) == untraced
        assert await outcomes(calls, inside=False) == untraced
        assert faults()[site] >= len(calls)
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
    for span in (slept, failed):
        assert (span.parent, span.kind) == (request.get_span_context(), SpanKind.CLIENT)
        assert span.attributes
        assert span.attributes["db.system.name"] == "postgresql"
    assert slept.start_time
    assert slept.end_time
    assert slept.end_time - slept.start_time >= 100_000_000
    assert slept.status.status_code is StatusCode.UNSET
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes
    assert failed.attributes["db.response.status_code"] == "22012"
    assert (root.name, root.parent, root.status.status_code) == ("request", None, StatusCode.UNSET)


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
    query, root = exporter.get_finished_spans()
    assert (query.name, query.parent, root.name) == ("SELECT", root.get_span_context(), "request")


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


# -- propagators --------------------------------------------------------------------------------------------------


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
async def test_calls_go_on_without_propagator(calls: Calls, broken_propagator: str) -> None:
    """Where a propagator raises, all traced calls do what they do untraced, and their spans are those of any call."""
    untraced = await outcomes(calls, inside=False)
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with installed(provider) as faults:
        assert await outcomes(calls, inside=True) == untraced
        assert faults().keys() == {f"propagator: {broken_propagator}"}
    ended = {span.name: span for span in exporter.get_finished_spans()}
    assert ended.keys() >= {"GET", "GET /items/{item}", "send tests.add", "process tests.add", "INCRBY", "block"}
    sent = ended["send tests.add"]
    assert (sent.attributes or {})["messaging.destination.name"] == QUEUE
    assert sent.parent is not None
    assert sent.status.status_code is StatusCode.ERROR, "the last of them"


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
        build_tracer(add.name, add, app=local)("1", [1, 2], {}, {**request, "is_eager": False})
        assert faults()[f"propagator: {broken_propagator}"] >= 1
    ended = {span.name: span for span in exporter.get_finished_spans()}
    served_span, executed = ended["GET /items/{item}"], ended["process foreign.add"]
    for span in (served_span, executed):
        assert (span.parent is None) is (broken_propagator == "extract" or span is served_span)
        assert span.status.status_code is StatusCode.UNSET
    assert (served_span.attributes or {})["http.response.status_code"] == 200
    assert (executed.attributes or {})["celery.task.state"] == "SUCCESS"


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


# -- providers that give no tracer ------------------------------------------------------------------------------------


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
    calls: Calls, does: Callable[[], Any], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """install() returns, nothing is patched, status() and one line of the log say why, and the program goes on."""
    untraced = await outcomes(calls, inside=False)
    original = asyncpg.Connection.fetchval
    installation = causal_otel.install(tracer_provider=NoTracers(does=does))
    try:
        assert str(causal_otel.status()) == f"causal_otel: not tracing ({problem})"
        assert [record.getMessage() for record in caplog.records] == [f"causal_otel: nothing is traced: {problem}"]
        assert asyncpg.Connection.fetchval is original
        assert causal_otel.install() is installation
        assert await outcomes(calls, inside=True) == untraced
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
        states = {patch.name: (patch.state, patch.problems) for patch in causal_otel.status().patches}
        problem = "get_tracer() of your tracer provider has raised Foreign"
        assert states.pop("asyncpg") == ("failed", [problem])
        assert {state for state, _ in states.values()} <= {"on", "waiting"}
        assert [record.getMessage() for record in caplog.records] == [
            f"causal_otel: asyncpg is not traced: {problem}",
        ]
        assert asyncpg.Connection.fetchval is original
        with causal_otel.span("block") as span:
            assert span.is_recording()
