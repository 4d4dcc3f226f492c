"""The httpx patch, against a real server: a request is one CLIENT span that its server is told of, without secrets."""

from __future__ import annotations

import httpx
import pytest
from opentelemetry import baggage
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from causal_otel.engine import context
from causal_otel.engine.context import suppress
from causal_otel.patches.httpx import HttpxOptions
from tests.patches.http_client import Call, clients, received
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes, traceparent, untimed

PATCHES = ["httpx"]


SECRET = "s3cr3t-value"


def test_a_request_is_one_client_span_with_the_stable_attributes(recorded: Recording, server: str, call: Call) -> None:
    """A request is one CLIENT span, child of the current one, with exactly the attributes of the HTTP conventions."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/echo?page=3")
    span = recorded.only("GET")
    assert response.status_code == 200
    assert span.kind is SpanKind.CLIENT
    assert_span(span, parent)
    assert untimed(attributes(span)) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": int(server.rpartition(":")[2]),
        "url.full": f"{server}/echo?page=3",
    }


def test_the_request_carries_the_context_of_its_span(recorded: Recording, server: str, call: Call) -> None:
    """The server receives one traceparent, that of the client span, and the current baggage."""
    token = context.attach(baggage.set_baggage("tenant", "7", context.current()))
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/echo")
    token.end()
    assert_span(recorded.only("GET"), parent)
    assert received(response, "traceparent") == [traceparent(recorded.only("GET"))]
    assert received(response, "baggage") == ["tenant=7"]


@pytest.mark.parametrize(("url", "port"), [("http://example.org/", 80), ("https://example.org/", 443)])
def test_the_port_is_told_where_the_url_leaves_it_out(recorded: Recording, call: Call, url: str, port: int) -> None:
    """server.port is required: without one in the URL it is the scheme's own."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        call("GET", url, {"transport": httpx.MockTransport(lambda _: httpx.Response(204))})
    found = assert_span(recorded.only("GET"), parent)
    assert (found["server.address"], found["server.port"]) == ("example.org", port)


def test_an_unknown_method_does_not_name_spans(recorded: Recording, call: Call) -> None:
    """An invented method is _OTHER, and the span is called HTTP."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        call("BREW", "http://example.org/", {"transport": httpx.MockTransport(lambda _: httpx.Response(204))})
    found = assert_span(recorded.only("HTTP"), parent)
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "BREW")


@pytest.mark.parametrize("status", [404, 503])
def test_a_status_from_400_on_is_an_error(recorded: Recording, server: str, call: Call, status: int) -> None:
    """To a client 4xx and 5xx are errors, and error.type is the status; no exception is involved."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        call("GET", f"{server}/status/{status}")
    span = recorded.only("GET")
    assert assert_span(span, parent, error=str(status))["http.response.status_code"] == status
    assert span.events == ()


def test_redirects_are_a_span_each(recorded: Recording, server: str, call: Call) -> None:
    """Every redirect is a request of its own, counted, and tells its own span to the server."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("GET", f"{server}/redirect/1", follow_redirects=True)
    spans = clients(recorded)
    found = [assert_span(span, parent) for span in spans]
    assert [each.get("http.request.resend_count") for each in found] == [None, 1, 2]
    assert [each["http.response.status_code"] for each in found] == [307, 307, 200]
    assert received(response, "traceparent") == [traceparent(spans[-1])]


def test_the_repetition_for_authentication_is_counted(recorded: Recording, server: str, call: Call) -> None:
    """Digest authentication asks twice: two spans, the second with resend_count 1, and the body is sent again."""
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call("POST", f"{server}/digest", auth=httpx.DigestAuth("user", SECRET), content=b"a body")
        again = call("GET", f"{server}/echo")
    first, second, third = clients(recorded)
    assert response.text == "welcome"
    found = [assert_span(first, parent, error="401"), assert_span(second, parent), assert_span(third, parent)]
    assert [each.get("http.request.resend_count") for each in found] == [None, 1, None]
    assert received(again, "traceparent") == [traceparent(third)]


def test_a_request_sent_by_another_is_not_counted_as_its_repetition(recorded: Recording, server: str) -> None:
    """A request that an event hook makes with the same client is a first attempt of its own."""
    with httpx.Client(trust_env=False) as client, recorded.tracer.start_as_current_span("parent") as parent:
        client.event_hooks = {"response": [lambda got: "inner" in str(got.url) or client.get(f"{server}/echo?inner")]}
        client.get(f"{server}/redirect/0", follow_redirects=True)
    found = [assert_span(span, parent) for span in clients(recorded)]
    counts = [(each["url.full"], each.get("http.request.resend_count")) for each in found]
    assert sorted(counts, key=str) == sorted(
        [
            (f"{server}/echo?inner", None),
            (f"{server}/redirect/0", None),
            (f"{server}/echo?inner", None),
            (f"{server}/echo", 1),
        ],
        key=str,
    )


def test_nothing_is_recorded_nor_carried_where_a_parent_is_required(server: str, call: Call) -> None:
    """With require_parent=True a request outside any trace is none of its own."""
    with recording({"httpx": HttpxOptions(require_parent=True)}) as kept:
        assert received(call("GET", f"{server}/echo"), "traceparent") == []
        assert kept.spans == []


def test_a_request_outside_any_trace_starts_one(recorded: Recording, server: str, call: Call) -> None:
    """Its server is told so."""
    response = call("GET", f"{server}/echo")
    span = recorded.only("GET")
    assert_span(span, None)
    assert received(response, "traceparent") == [traceparent(span)]


def test_a_trace_that_is_not_sampled_is_carried_from_its_beginning(server: str, call: Call) -> None:
    """Where the sampler says no to a request outside any trace, its server is told so as well."""
    with recording(["httpx"], sampler=ALWAYS_OFF) as kept:
        [told] = received(call("GET", f"{server}/echo"), "traceparent")
        assert kept.spans == []
    assert int(told.split("-")[3], 16) & 1 == 0


def test_an_unsampled_trace_is_carried(server: str, call: Call) -> None:
    """Where the trace is not sampled, nothing is recorded, and the server is told so."""
    with recording(["httpx"], sampler=ALWAYS_OFF) as kept:
        with kept.tracer.start_as_current_span("parent") as parent:
            [told] = received(call("GET", f"{server}/echo"), "traceparent")
        assert kept.spans == []
    version, trace_id, span_id, flags = told.split("-")
    assert trace_id == f"{parent.get_span_context().trace_id:032x}"
    assert span_id == f"{parent.get_span_context().span_id:016x}"
    assert int(flags, 16) & 1 == 0
    assert version == "00"


def test_suppressed_requests_are_left_alone(recorded: Recording, server: str, call: Call) -> None:
    """Inside a suppress, as around an exporter, nothing is recorded and nothing is carried."""
    with recorded.tracer.start_as_current_span("parent"), suppress():
        assert received(call("GET", f"{server}/echo"), "traceparent") == []
    assert clients(recorded) == []


def test_no_secret_is_in_any_span(recorded: Recording, server: str, call: Call) -> None:
    """Credentials, tokens in the query, headers, cookies and bodies appear nowhere in a span."""
    host = server.removeprefix("http://")
    with recorded.tracer.start_as_current_span("parent") as parent:
        response = call(
            "POST",
            f"http://user:{SECRET}@{host}/echo?api_key={SECRET}&sig={SECRET}&X-Amz-Signature={SECRET}&page=2",
            headers={"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "X-Api-Key": SECRET},
            json={"password": SECRET},
        )
    assert response.json()["body"].count(SECRET) == 1
    span = recorded.only("POST")
    assert SECRET not in span.to_json()
    assert assert_span(span, parent)["url.full"] == (
        f"http://REDACTED:REDACTED@{host}/echo?api_key=REDACTED&sig=REDACTED&X-Amz-Signature=REDACTED&page=2"
    )


@pytest.mark.asyncio
async def test_httpx2_is_traced_alike(recorded: Recording, server: str) -> None:
    """HTTPX2, where it is installed, is traced by the same patch."""
    httpx2 = pytest.importorskip("httpx2")
    async with httpx2.AsyncClient(trust_env=False) as client:
        with recorded.tracer.start_as_current_span("parent") as parent:
            response = await client.get(f"{server}/redirect/0", follow_redirects=True)
    first, second = clients(recorded)
    found = [assert_span(first, parent), assert_span(second, parent)]
    assert received(response, "traceparent") == [traceparent(second)]
    assert [each.get("http.request.resend_count") for each in found] == [None, 1]
    assert response.elapsed.total_seconds() > 0
