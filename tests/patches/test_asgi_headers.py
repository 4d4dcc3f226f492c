"""Headers that are recorded because they are named, and queries, of which secrets are not."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider as TheirProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import causal_otel
from causal_otel.patches.asgi import AsgiOptions
from tests.patches.asgi_app import app
from tests.patches.asgi_requests import exchange, fetch, server
from tests.patches.test_asgi_connections import said, websocket
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes

PATCHES = ["asgi"]


def headers_of(span: Any) -> dict[str, Any]:
    """What is recorded of headers, but the two that are attributes of their own."""
    return {key: value for key, value in attributes(span).items() if ".header." in key}


async def answer(_: Any) -> PlainTextResponse:
    response = PlainTextResponse("", headers={"X-Served-By": "blue", "x-other": "o"})
    response.raw_headers.append((b"X-Served-By", b"green"))
    response.set_cookie("session", "s3cr3t-value")
    return response


@pytest.mark.asyncio
async def test_named_headers_are_lists_of_their_values() -> None:
    """A header is recorded where it is named, in whatever case, with all that was sent of it; no other one is."""
    options = AsgiOptions(request_headers=("X-Tenant", "accept"), response_headers=("x-served-by",))
    with recording({"asgi": options}) as kept:
        sent = [("x-tenant", "a"), ("X-Tenant", "b, c"), ("authorization", "Bearer s3cr3t-value"), ("x-other", "o")]
        await fetch("/", of=Starlette(routes=[Route("/", answer)]), headers=sent)
        assert headers_of(server(kept)) == {
            "http.request.header.accept": ("*/*",),
            "http.request.header.x-tenant": ("a", "b, c"),
            "http.response.header.x-served-by": ("blue", "green"),
        }


@pytest.mark.asyncio
async def test_none_is_recorded_unless_it_is_named(recorded: Recording) -> None:
    """Without the options no header becomes an attribute."""
    await fetch("/items/3", headers={"x-tenant": "a"})
    assert headers_of(server(recorded)) == {}


@pytest.mark.asyncio
async def test_a_websocket_s_handshake_has_headers_too() -> None:
    """Those of the request, and those with which it was accepted."""
    options = AsgiOptions(request_headers=("x-tenant",), response_headers=("x-trace-id",))
    with recording({"asgi": options}) as kept:
        await exchange(app, said("bye"), websocket("red", headers=[(b"x-tenant", b"a")]))
        span = server(kept)
    assert headers_of(span)["http.request.header.x-tenant"] == ("a",)
    assert headers_of(span).keys() == {"http.request.header.x-tenant", "http.response.header.x-trace-id"}


@pytest.mark.asyncio
async def test_a_response_of_which_nothing_is_there() -> None:
    """Values that are not there, or that are no text, make no attribute and no fault; long ones are cut."""
    with recording({"asgi": AsgiOptions(request_headers=("x-long", "x-bytes", "x-none"))}) as kept:
        await exchange(app, [], {"headers": [(b"x-long", b"l" * 5000), (b"x-bytes", b"\xff\xfe")], "path": "/items/3"})
        found = headers_of(server(kept))
    assert found == {"http.request.header.x-long": ("l" * 1024,), "http.request.header.x-bytes": ("ÿþ",)}


@pytest.mark.asyncio
async def test_secrets_in_a_named_header_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is redacted like any text: also where the spans are those of a provider that redacts nothing."""
    exporter = InMemorySpanExporter()
    provider = TheirProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    options = AsgiOptions(request_headers=("referer",))
    installed = causal_otel.install(patches={"asgi": options}, tracer_provider=provider)
    try:
        await fetch("/items/3", headers={"referer": "https://shop.example/?access_token=s3cr3t-value&page=2"})
    finally:
        installed.uninstall()
        provider.shutdown()
    [span] = exporter.get_finished_spans()
    assert_span(span, None)
    [value] = headers_of(span)["http.request.header.referer"]
    assert "s3cr3t-value" not in value
    assert value.startswith("https://shop.example/")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"request_headers": ("x-tenant", "Authorization")}, "request_headers=.*not allowed.*such as Authorization"),
        ({"response_headers": ("set-cookie",)}, "response_headers=.*not allowed"),
        ({"request_headers": "x-tenant"}, "request_headers='x-tenant' is not allowed; it must be names"),
        ({"trusted_proxies": ("*",)}, r"trusted_proxies=\('\*',\) is not allowed; it must be IP addresses"),
        ({"trusted_proxies": 7}, "trusted_proxies=7 is not allowed"),
        ({"traceresponse": "no"}, "traceresponse='no' is not allowed; it must be true or false"),
        ({"trace_id_header": ""}, "trace_id_header='' is not allowed"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    """Credentials are not recorded even if they are named, and nobody trusts the whole world by accident."""
    with pytest.raises(causal_otel.SettingError, match=f"patches: asgi: {message}"):
        causal_otel.install(patches={"asgi": AsgiOptions(**options)})


@pytest.mark.asyncio
async def test_variables_name_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's own variables hold where the patch's options leave it open; an empty tuple records none."""
    variable = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_"
    monkeypatch.setenv(f"{variable}REQUEST", "X-Tenant")
    monkeypatch.setenv(f"{variable}RESPONSE", "content-type")
    with recording({"asgi": AsgiOptions(response_headers=())}) as kept:
        await fetch("/items/3", headers={"x-tenant": "a"})
    assert headers_of(server(kept)) == {"http.request.header.x-tenant": ("a",)}


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("page=2&token=s3cr3t-value", "page=2&token=REDACTED"),
        ("TOKEN=s3cr3t-value", "TOKEN=REDACTED"),
        ("t%6Fken=s3cr3t-value", "t%6Fken=REDACTED"),
        ("a=1;api_key=s3cr3t-value", "a=1;api_key=REDACTED"),
        ("user[password]=s3cr3t-value", "user[password]=REDACTED"),
        ("next=https://h/?sig=s3cr3t-value&x=1", "next=https://h/?sig=REDACTED&x=1"),
        (
            "token[]=s3cr3t-value&user%5Bpassword%5D%5B0%5D=s3cr3t-value",
            "token[]=REDACTED&user%5Bpassword%5D%5B0%5D=REDACTED",
        ),
        ("X-Amz-Signature=s3cr3t-value", "X-Amz-Signature=REDACTED"),
        ("token=s3cr3t-value&token=s3cr3t-value", "token=REDACTED&token=REDACTED"),
        ("%ff%00=1&auth=s3cr3t-value", "%ff%00=1&auth=REDACTED"),
        ("&&==&=x&token=s3cr3t-value&", "&&==&=x&token=REDACTED&"),
    ],
)
@pytest.mark.asyncio
async def test_no_secret_of_a_query_is_recorded(recorded: Recording, query: str, shown: str) -> None:
    """However a client writes them, values of parameters whose names tell of a secret are not in url.query."""
    await exchange(
        app, [], {"path": "/items/3", "query_string": query.encode(), "headers": [(b"host", b"api.example")]}
    )
    found = attributes(server(recorded))
    assert found["url.query"] == shown
    assert "s3cr3t-value" not in str(found)
