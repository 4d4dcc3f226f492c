"""The strawberry patch: a GraphQL operation is in the name of its request, or a span of its own, with its errors."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from flask import Flask
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from strawberry.flask.views import GraphQLView

from causal_otel.instrument.tracing import Tracing
from causal_otel.patches import strawberry as patch
from causal_otel.patches.asgi import TracingMiddleware
from causal_otel.patches.strawberry import StrawberryOptions
from causal_otel.patches.strawberry.requests import wrap_run
from causal_otel.patches.wsgi import WsgiMiddleware
from tests.patches.asgi_requests import SENDER, TRACEPARENT, server
from tests.patches.checks import assert_undone
from tests.patches.graphql_app import SECRET, app, bare, schema, sync_schema
from tests.patches.wsgi_app import ask as ask_wsgi
from tests.recording import Recording, recording
from tests.span_relations import assert_inside, assert_span, attributes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PATCHES = ["asgi", "strawberry"]


async def ask(query: str, name: str | None = None, *, of: Any = app, **variables: Any) -> httpx.Response:
    """Send one operation."""
    return await post({"query": query, "variables": variables, **({"operationName": name} if name else {})}, of=of)


async def post(body: Any, *, of: Any = app, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(of, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        return await client.post("/graphql", json=body, headers=headers)


def exceptions(span: ReadableSpan) -> list[tuple[Any, Any]]:
    """Type and message of each exception on a span."""
    found = [dict(event.attributes or {}) for event in span.events if event.name == "exception"]
    return [(each["exception.type"], each["exception.message"]) for each in found]


@pytest.mark.parametrize(
    ("query", "name", "kind", "called"),
    [
        ("query Greeting { hello }", None, "query", "Greeting"),
        ("{ hello }", None, "query", None),
        ("mutation Order { order(number: 1) }", None, "mutation", "Order"),
        ("query A { hello } query B { hello }", "B", "query", "B"),
        ("fragment F on Query { hello } query A { ...F }", None, "query", "A"),
    ],
)
@pytest.mark.asyncio
async def test_an_operation_is_its_request_s(
    recorded: Recording, query: str, name: str | None, kind: str, called: str | None
) -> None:
    """Type and name of the only operation of a request are on its SERVER span, and in its name after the route."""
    response = await post({"query": query, "operationName": name}, traceparent=TRACEPARENT)
    assert "errors" not in response.json()
    span = server(recorded, SENDER)
    assert span.name == f"POST /graphql {kind}{f' {called}' if called else ''}"
    found = attributes(span)
    assert (found["graphql.operation.type"], found.get("graphql.operation.name")) == (kind, called)
    assert (found["http.route"], found["http.response.status_code"]) == ("/graphql", 200)
    for inner in recorded.spans[:-1]:
        assert inner.name == "greet"
        assert_inside(span, inner)


@pytest.mark.asyncio
async def test_by_a_get_too(recorded: Recording) -> None:
    """An operation in the query of a URL is told alike."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example") as client:
        await client.get("/graphql", params={"query": "query Greeting { hello }"})
    assert server(recorded).name == "GET /graphql query Greeting"


@pytest.mark.asyncio
async def test_without_fastapi(recorded: Recording) -> None:
    """Strawberry's own application has no route: the method and the operation are the name."""
    await ask("query Greeting { hello }", of=TracingMiddleware(bare))
    assert server(recorded).name == "POST query Greeting"


@pytest.mark.parametrize("document", ["query Greeting { order }", "query Greeting { failing }"])
def test_under_wsgi(document: str) -> None:
    """Flask's view, which runs operations synchronously, tells its request likewise."""
    flask = Flask("graphql")
    flask.add_url_rule("/graphql", view_func=GraphQLView.as_view("graphql", schema=sync_schema))
    with recording(["wsgi", "strawberry"]) as kept:
        body = json.dumps({"query": document}).encode()
        sent = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", **sent}
        answer = ask_wsgi(WsgiMiddleware(flask), "/graphql", valid=False, **environ)
        assert answer.status.startswith("200")
        span = server(kept, error="LookupError" if "failing" in document else None)
        assert span.name == "POST /graphql query Greeting"
        assert attributes(span)["graphql.operation.name"] == "Greeting"
        assert [event.name for event in span.events] == (["exception"] if "failing" in document else [])


@pytest.mark.asyncio
async def test_an_error_in_a_200_is_one(recorded: Recording) -> None:
    """What a resolver raises is on the SERVER span as it was raised, though a masked message is answered with 200."""
    response = await ask("query Broken($t: String!) { hello broken(text: $t) }", t=f"password={SECRET}")
    assert response.status_code == 200
    assert response.json()["errors"][0]["message"] == "Unexpected error."
    span = server(recorded, error="tests.patches.graphql_app.Refused")
    assert span.name == "POST /graphql query Broken"
    assert span.status.description == "Refused"
    assert exceptions(span) == [("tests.patches.graphql_app.Refused", "password=[redacted:pair]")]


@pytest.mark.asyncio
async def test_several_errors(recorded: Recording) -> None:
    """The first one says what kind of an error it is, and the first five are recorded."""
    fields = " ".join(f"b{number}: brokenToo" for number in range(7))
    await ask(f"{{ {fields} }}")
    span = server(recorded, error="LookupError")
    assert exceptions(span) == [("LookupError", "nothing there")] * 5


@pytest.mark.parametrize(
    ("query", "name", "variables", "error"),
    [
        ("query A { nothing }", None, {}, "graphql.*.GraphQLError"),
        ("query A {", None, {}, "graphql.*.GraphQLSyntaxError"),
        ("query A($n: Int!) { slow(seconds: $n) }", None, {"n": SECRET}, "graphql.*.GraphQLError"),
        ('query A { slow(seconds: "s3cr3t-value") }', None, {}, "graphql.*.GraphQLError"),
        ("query A($n: Float!) { slow(seconds: $n) }", None, {"n": SECRET}, "graphql.*.GraphQLError"),
    ],
)
@pytest.mark.asyncio
async def test_what_cannot_be_run(
    recorded: Recording, query: str, name: str | None, variables: dict[str, Any], error: str
) -> None:
    """A document or variables that are not right are an error in a 200, whose message quotes values and is not kept."""
    response = await ask(query, name, **variables)
    assert (response.status_code, "errors" in response.json()) == (200, True)
    span = server(recorded, error=error)
    assert span.events == ()
    assert SECRET not in str(attributes(span)) + str(span.status.description)


@pytest.mark.parametrize("body", [{"query": "query A { hello }", "operationName": "Other"}, {}, {"query": ""}, [], 7])
@pytest.mark.asyncio
async def test_what_is_refused_is_a_400_as_ever(recorded: Recording, body: Any) -> None:
    """A request without an operation that may be run is the client's mistake, and no error of the server's."""
    response = await post(body)
    span = server(recorded, error="*" if response.status_code == 500 else None)
    assert attributes(span)["http.response.status_code"] == response.status_code
    assert attributes(span).get("graphql.operation.name") is None


@pytest.mark.asyncio
async def test_a_batch_is_a_span_an_operation(recorded: Recording) -> None:
    """Operations of a batch are spans below the request's, which is an error if one of them is."""
    slow = {"query": "query Slow { slow(seconds: 0.3) }"}
    response = await post([{"query": "query A { hello }"}, {"query": "mutation B { order(number: 1) }"}, slow,
                           {"query": "query C { broken }"}])  # fmt: skip
    assert len(response.json()) == 4
    request = server(recorded, error="tests.patches.graphql_app.Refused", lasts=0.3)
    assert request.name == "POST /graphql"
    assert "graphql.operation.name" not in attributes(request)
    spans = {span.name: span for span in recorded.spans if span.kind is SpanKind.INTERNAL}
    assert spans.keys() == {"query A", "mutation B", "query C", "query Slow", "greet"}
    assert_inside(spans["query A"], spans["greet"])
    assert_span(spans["query A"], request)
    assert_span(spans["query Slow"], request, lasts=0.3)
    found = assert_span(spans["mutation B"], request)
    assert found == {"graphql.operation.type": "mutation", "graphql.operation.name": "B"}
    assert_span(spans["query C"], request, error="tests.patches.graphql_app.Refused")
    assert exceptions(spans["query C"]) == [("tests.patches.graphql_app.Refused", "no luck")]
    assert exceptions(request) == []


@pytest.mark.asyncio
async def test_the_application_s_own_execution(recorded: Recording) -> None:
    """What is executed outside a request is a span, as a root or below the current one; sync as well."""
    with recorded.tracer.start_as_current_span("job") as job:
        await schema.execute("query A { hello }")
        schema.execute_sync("query B { broken }")
    await schema.execute("query C { hello }")
    spans = {span.name: span for span in recorded.spans}
    assert_span(spans["query A"], job)
    assert_span(spans["query B"], job, error="tests.patches.graphql_app.Refused")
    assert_span(spans["query C"], None)
    assert spans["query A"].kind is SpanKind.INTERNAL


@pytest.mark.asyncio
async def test_clients_cannot_invent_names_without_end(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there have been many names, a new one is an attribute only; a name that is none is nothing at all."""
    monkeypatch.setattr("causal_otel.patches.strawberry.described._named", {f"N{number}" for number in range(200)})
    for query in ("query N7 { hello }", "query Other { hello }", f"query {'L' * 200} {{ hello }}"):
        await schema.execute(query)
    spans = [span for span in recorded.spans if span.name != "greet"]
    assert [span.name for span in spans] == ["query N7", "query", "query"]
    assert attributes(spans[1])["graphql.operation.name"] == "Other"
    assert "graphql.operation.name" not in attributes(spans[2])
    for span in spans:
        assert_span(span, None)


@pytest.mark.asyncio
async def test_an_excluded_operation_is_silent() -> None:
    """An operation that is excluded by the name that the request gives is not recorded, nor what is inside it."""
    options = {"asgi": True, "strawberry": StrawberryOptions(excluded=("Intro*",))}
    with recording(options) as kept:
        await ask("query Introspection { hello }", "Introspection")
        await schema.execute("query Introspection { hello }", operation_name="Introspection")
        await ask("query Greeting { hello }", "Greeting")
        assert kept.names() == ["POST /graphql", "greet", "POST /graphql query Greeting"]


@pytest.mark.asyncio
async def test_nothing_sampled_nothing_made() -> None:
    """Where nothing is recorded, answers are the same."""
    with recording(PATCHES, sampler=ALWAYS_OFF) as kept:
        assert (await ask("query A { hello }")).json() == {"data": {"hello": "hello you"}}
        assert len((await post([{"query": "{ hello }"}, {"query": "{ broken }"}])).json()) == 2
    assert kept.spans == []


@pytest.mark.asyncio
async def test_without_the_asgi_patch() -> None:
    """Nobody traces the request: each operation is a span."""
    with recording(["strawberry"]) as kept:
        await ask("query A { hello }")
        assert_span(kept.only("query A"), None)


@pytest.mark.asyncio
async def test_hooks_are_called_for_spans_of_its_own() -> None:
    """With the execution's context, and the name as an attribute that the hook adds."""
    seen: list[Any] = []
    options = StrawberryOptions(request_hook=lambda span, context: seen.append(json.dumps(context.query)))
    with recording({"strawberry": options}) as kept:
        await schema.execute("query A { hello }")
        assert_span(kept.only("query A"), None)
    assert seen == ['"query A { hello }"']


def test_uninstall_restores_what_was() -> None:
    """Every method is the very same again."""
    assert_undone(patch.PATCH)


def test_a_request_that_is_given_up_ends_in_another_context(recorded: Recording) -> None:
    """A coroutine that is never awaited to its end may be closed anywhere, which raises nothing."""

    async def run(view: Any, request: Any) -> None:
        await asyncio.sleep(0)

    waiting = wrap_run(Tracing(recorded.tracer, StrawberryOptions(), lambda _: True), run)(None, object())
    contextvars.copy_context().run(waiting.send, None)
    waiting.close()
