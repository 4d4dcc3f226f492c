"""What the options of the patch for aiohttp say, and what the application's own hooks into aiohttp get to see."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import causal_otel
from causal_otel.engine.context import attach, suppress
from causal_otel.patches.aiohttp import AiohttpOptions
from tests.patches.http_client import clients
from tests.recording import recording
from tests.span_relations import assert_span, trace_id

if TYPE_CHECKING:
    from collections.abc import Mapping


async def ask(url: str, session: aiohttp.ClientSession | None = None, **options: Any) -> dict[str, str]:
    """The headers that a server has got of a request, by their names in lower case."""
    if session is None:
        async with aiohttp.ClientSession() as session:
            return await ask(url, session, **options)
    async with session.get(url, **options) as response:
        return {name.lower(): value for name, value in (await response.json())["headers"]}


def is_sampled(headers: dict[str, str]) -> bool:
    """Whether a server is told to record its part."""
    return bool(int(headers.get("traceparent", "00").rpartition("-")[2], 16) & 1)


@pytest.mark.asyncio
async def test_a_request_outside_any_span_begins_a_trace(server: str) -> None:
    """It is a trace of its own, and so none where a parent is required: then it carries nothing either."""
    with recording(["aiohttp"]) as recorded:
        headers = await ask(f"{server}/echo")
        span = recorded.only("GET")
        assert_span(span, None)
        assert trace_id(span) in headers["traceparent"]
    with recording({"aiohttp": AiohttpOptions(require_parent=True)}) as recorded:
        assert "traceparent" not in await ask(f"{server}/echo")
        assert recorded.spans == []


@pytest.mark.asyncio
async def test_an_unsampled_trace_is_carried(server: str) -> None:
    """A trace that is not sampled has no span, and its server is told so."""
    with recording(["aiohttp"], ALWAYS_OFF) as recorded:
        headers = await ask(f"{server}/echo")
        assert not is_sampled(headers)
        with recorded.tracer.start_as_current_span("parent") as parent:
            headers = await ask(f"{server}/echo")
        assert headers["traceparent"].split("-")[1] == f"{parent.get_span_context().trace_id:032x}"
        with suppress():
            assert "traceparent" not in await ask(f"{server}/echo")
        assert recorded.spans == []


@pytest.mark.asyncio
@pytest.mark.parametrize("pattern", ["/redirect/**", "http://127.0.0.1/redirect/{left}"])
async def test_what_is_excluded_is_silent_with_all_inside(server: str, pattern: str) -> None:
    """An excluded request has no span, nor have its redirects and what a middleware does; servers record nothing."""

    async def middleware(request: Any, handler: Any) -> Any:
        with tracer.start_as_current_span("inside"):
            return await handler(request)

    with recording({"aiohttp": AiohttpOptions(excluded=(pattern,))}) as recorded:
        tracer = recorded.tracer
        has_middlewares = hasattr(aiohttp, "ClientMiddlewareType")
        options: Any = {"middlewares": (middleware,)} if has_middlewares else {}
        async with aiohttp.ClientSession(base_url=server, **options) as session:
            headers = await ask("/redirect/1", session)
            assert not is_sampled(headers)
            with recorded.tracer.start_as_current_span("parent"):
                headers = await ask("/redirect/0", session)
            assert "traceparent" in headers
            assert not is_sampled(headers)
            assert recorded.names() == ["parent"]
            with pytest.raises(aiohttp.InvalidURL):
                await session.get("http://[")
            await ask("/echo", session)
        (echo,) = clients(recorded)
        around = recorded.only("inside").context if has_middlewares else None
    found = assert_span(echo, around)
    assert (found["url.full"], found["http.response.status_code"]) == (f"{server}/echo", 200)


@pytest.mark.asyncio
async def test_a_template_names_the_span(server: str) -> None:
    """The first template that fits is recorded, and named in the span."""
    options = AiohttpOptions(url_templates=("/nothing", "/status/{code}"))
    with recording({"aiohttp": options}) as recorded:
        async with aiohttp.ClientSession() as session, session.get(f"{server}/status/204") as response:
            assert response.status == 204
        span = recorded.only("GET /status/{code}")
        assert assert_span(span, None)["url.template"] == "/status/{code}"


@pytest.mark.asyncio
async def test_context_and_baggage_stay_at_their_borders(server: str) -> None:
    """A host that is left out is told nothing, though the request is recorded; baggage goes to allowed hosts only."""
    with recording({"aiohttp": AiohttpOptions(do_not_propagate_to=("127.0.0.1",))}) as recorded:
        assert "traceparent" not in await ask(f"{server}/echo")
        assert_span(recorded.only("GET"), None)
    for hosts, expected in ((["127.0.0.1"], "tenant=a"), (["example.com"], None)):
        installed = causal_otel.install(patches=["aiohttp"], baggage_hosts=hosts, exporter="none")
        activation = attach(baggage.set_baggage("tenant", "a"))
        try:
            headers = await ask(f"{server}/echo")
        finally:
            activation.end()
            installed.uninstall()
        assert headers.get("baggage") == expected
        assert "traceparent" in headers


@pytest.mark.asyncio
async def test_the_user_s_own_trace_configs_see_all(server: str) -> None:
    """Callbacks of the application are called as without us, in order, in its own context, and once each."""
    seen: list[str] = []
    config = aiohttp.TraceConfig()
    names = (
        *("request_start", "request_end", "connection_create_start", "connection_create_end"),
        *("connection_reuseconn", "request_headers_sent", "response_chunk_received"),
    )

    async def callback(session: Any, context: SimpleNamespace, params: Any, *, name: str) -> None:
        seen.append(name)
        assert trace.get_current_span().get_span_context() == expected

    for name in names:
        getattr(config, f"on_{name}").append(functools.partial(callback, name=name))

    async def twice() -> list[str]:
        async with aiohttp.ClientSession(trace_configs=[config]) as session:
            for _ in range(2):
                await ask(f"{server}/echo", session)
        return [*seen]

    expected = trace.INVALID_SPAN_CONTEXT
    untraced = await twice()
    seen.clear()
    with recording(["aiohttp"]) as recorded, recorded.tracer.start_as_current_span("parent") as parent:
        expected = parent.get_span_context()
        assert await twice() == untraced
    first, second = clients(recorded)
    for span in (first, second):
        assert assert_span(span, parent)["http.response.status_code"] == 200
    assert "connection_reuseconn" in untraced


@pytest.mark.asyncio
async def test_each_retry_of_a_middleware_is_a_span(server: str) -> None:
    """A middleware that asks twice makes two attempts; one that answers by itself makes none."""

    async def retry(request: Any, handler: Any) -> Any:
        response = await handler(request)
        if response.status >= 500:
            response.release()
            response = await handler(request)
        return response

    with recording(["aiohttp"]) as recorded:
        async with aiohttp.ClientSession(middlewares=(retry,)) as session:
            with recorded.tracer.start_as_current_span("parent") as parent:
                async with session.get(f"{server}/status/503") as response:
                    assert response.status == 503
        found = [assert_span(span, parent, error="503") for span in clients(recorded)]
        assert [each.get("http.request.resend_count") for each in found] == [None, 1]


@pytest.mark.asyncio
async def test_hooks_see_request_and_response(server: str) -> None:
    """Hooks are given aiohttp's own objects, once a request, and may add attributes."""
    seen: list[tuple[Any, ...]] = []

    def request_hook(span: Any, request: Any) -> None:
        span.set_attribute("mine", request.url.path)

    def response_hook(span: Any, request: Any, response: Any) -> None:
        seen.append((request.method, getattr(response, "status", type(response).__name__)))

    options = AiohttpOptions(request_hook=request_hook, response_hook=response_hook)
    with recording({"aiohttp": options}) as recorded:
        await ask(f"{server}/echo")
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask("http://127.0.0.1:1/")
        well, refused = clients(recorded)
    assert assert_span(well, None)["mine"] == "/echo"
    assert assert_span(refused, None, error="*ClientConnectorError")["mine"] == "/"
    assert seen == [("GET", 200), ("GET", "ClientConnectorError")]


@pytest.mark.asyncio
async def test_the_caller_s_headers_stay_as_they_are(server: str) -> None:
    """Neither the headers of a call nor those of a session are changed; afterwards aiohttp's classes are as before."""
    given = {"X-Mine": "1"}
    before = _methods()
    with recording(["aiohttp"]):
        async with aiohttp.ClientSession(headers=given) as session:
            await ask(f"{server}/echo", session, headers=given)
            assert dict(session.headers) == given == {"X-Mine": "1"}
            assert _methods() != before
            kept = session
    assert _methods() == before
    assert kept.closed


def _methods() -> list[Mapping[str, Any]]:
    from aiohttp.client_reqrep import ClientRequest

    kinds = (aiohttp.ClientSession, aiohttp.BaseConnector, aiohttp.TCPConnector, ClientRequest, aiohttp.ClientResponse)
    return [{name: value for name, value in vars(kind).items() if callable(value)} for kind in kinds]


@pytest.mark.asyncio
async def test_a_session_that_was_there_before_is_traced(server: str) -> None:
    """A session and a connection made before ``install()`` are traced after it, and no longer after ``uninstall()``."""
    async with aiohttp.ClientSession() as session:
        await ask(f"{server}/echo", session)
        with recording(["aiohttp"]) as recorded:
            assert "traceparent" in await ask(f"{server}/echo", session)
            (span,) = clients(recorded)
            assert assert_span(span, None)["http.response.status_code"] == 200
        assert "traceparent" not in await ask(f"{server}/echo", session)
