"""Subscriptions of strawberry, over websockets and over HTTP: each operation is a span, for as long as it lasts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.trace import SpanKind
from websockets.sync.client import ClientConnection, connect

from causal_otel.engine import context
from causal_otel.patches.strawberry import StrawberryOptions
from tests.patches.asgi_requests import server, servers
from tests.patches.graphql_app import app, schema
from tests.patches.http_server import serve
from tests.recording import Recording, recording
from tests.span_relations import assert_inside, assert_span, attributes
from tests.waiting import wait_until

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PATCHES = ["asgi", "strawberry"]
COUNT = "subscription Count($to: Int!, $pause: Float!) { count(to: $to, pause: $pause) }"


@contextmanager
def connected() -> Iterator[ClientConnection]:
    """A client that speaks ``graphql-transport-ws`` to a real server."""
    with serve(app, ws="websockets-sansio") as url:
        target, protocol = f"{url.replace('http', 'ws')}/graphql", "graphql-transport-ws"
        with connect(target, subprotocols=[protocol], compression=None) as socket:  # type: ignore[list-item]
            socket.send('{"type": "connection_init"}')
            assert told(socket)["type"] == "connection_ack"
            yield socket


def told(socket: ClientConnection) -> dict[str, Any]:
    """The next message."""
    found: dict[str, Any] = json.loads(socket.recv(60))
    return found


def subscribe(socket: ClientConnection, number: str, query: str = COUNT, **variables: Any) -> None:
    """Ask for an operation."""
    payload = {"query": query, "variables": variables}
    socket.send(json.dumps({"id": number, "type": "subscribe", "payload": payload}))


def until_complete(socket: ClientConnection, *numbers: str) -> list[dict[str, Any]]:
    """All messages until these operations are complete."""
    left, messages = set(numbers), []
    while left:
        messages.append(told(socket))
        if messages[-1]["type"] in ("complete", "error"):
            left.discard(messages[-1]["id"])
    return messages


def named(kept: Recording, name: str) -> list[ReadableSpan]:
    return [span for span in kept.spans if span.name == name]


def test_each_operation_of_a_websocket_is_a_span(recorded: Recording) -> None:
    """Operations that run at once on one connection are children of its span, with what they do inside each."""
    with connected() as socket:
        subscribe(socket, "1", to=2, pause=0.15)
        subscribe(socket, "2", "query Greeting { hello }")
        subscribe(socket, "3", "mutation Order { order(number: 1) }")
        until_complete(socket, "1", "2", "3")
    wait_until(lambda: servers(recorded))
    request = server(recorded)
    assert request.name == "GET /graphql"
    [count], [hello] = named(recorded, "subscription Count"), named(recorded, "query Greeting")
    assert count.kind is SpanKind.INTERNAL
    found = assert_span(count, request, lasts=0.3)
    assert found == {"graphql.operation.type": "subscription", "graphql.operation.name": "Count"}
    assert_span(hello, request)
    assert_span(named(recorded, "mutation Order")[0], request)
    steps, [greet] = named(recorded, "step"), named(recorded, "greet")
    assert len(steps) == 2
    assert_inside(count, *steps)
    assert_inside(hello, greet)


def test_a_subscription_that_fails(recorded: Recording) -> None:
    """An error between two results is the operation's, and neither the connection's nor another operation's."""
    with connected() as socket:
        subscribe(socket, "1", "subscription Failing { count(to: 1, fail: true) }")
        subscribe(socket, "2", "subscription { nothing }")
        messages = until_complete(socket, "1", "2")
    assert any("errors" in message.get("payload", {}) for message in messages if message["id"] == "1")
    wait_until(lambda: servers(recorded))
    request = server(recorded)
    [failing] = named(recorded, "subscription Failing")
    assert_span(failing, request, error="tests.patches.graphql_app.Refused")
    assert [event.name for event in failing.events] == ["exception"]
    [wrong] = named(recorded, "subscription")
    assert_span(wrong, request, error="graphql.*.GraphQLError")
    assert wrong.events == ()


def test_a_subscription_that_its_client_ends(recorded: Recording) -> None:
    """A client that wants no more of it has it cancelled, which is no error."""
    with connected() as socket:
        subscribe(socket, "1", to=1000, pause=0.01)
        assert told(socket)["type"] == "next"
        socket.send('{"id": "1", "type": "complete"}')
        wait_until(lambda: named(recorded, "subscription Count"))
    wait_until(lambda: servers(recorded))
    [span] = named(recorded, "subscription Count")
    assert assert_span(span, server(recorded), cancelled=True)["graphql.operation.name"] == "Count"


def test_a_subscription_whose_client_leaves(recorded: Recording) -> None:
    """With the connection its operations end, cancelled: in older versions when they are next about to go on."""
    with connected() as socket:
        subscribe(socket, "1", to=1000, pause=0.01)
        assert told(socket)["type"] == "next"
        socket.close()
        wait_until(lambda: servers(recorded) and named(recorded, "subscription Count"))
    [span] = named(recorded, "subscription Count")
    assert_span(span, server(recorded).get_span_context(), cancelled=True)


def test_a_subscription_over_http_is_its_request_s_too(recorded: Recording) -> None:
    """Streamed by HTTP, the operation is a span, and as the only one of its request in that one's name."""
    headers = {"accept": "multipart/mixed;subscriptionSpec=1.0"}
    with serve(app) as url:
        body = {"query": COUNT, "variables": {"to": 2, "pause": 0.15}}
        answer = httpx.post(f"{url}/graphql", json=body, headers=headers, timeout=60)
        assert answer.text.count('"count"') == 2
        wait_until(lambda: servers(recorded))
    request = server(recorded, lasts=0.3)
    assert request.name == "POST /graphql subscription Count"
    [count] = named(recorded, "subscription Count")
    assert_inside(count, *named(recorded, "step"))
    assert assert_span(count, request, lasts=0.3).items() <= attributes(request).items()


@pytest.mark.asyncio
async def test_nothing_is_current_between_two_results(recorded: Recording) -> None:
    """Whoever reads the results goes on in their own span, and a stream that is left early ends."""
    with recorded.tracer.start_as_current_span("reader") as reader:
        results: Any = await schema.subscribe("subscription Count { count(to: 5) }")
        async for _ in results:
            assert context.current_span() is reader
            break
        await results.aclose()
        assert context.current_span() is reader
    [count] = named(recorded, "subscription Count")
    assert_span(count, reader)
    assert_inside(count, *named(recorded, "step"))


@pytest.mark.asyncio
async def test_a_stream_that_nobody_reads_is_no_span(recorded: Recording) -> None:
    """It has not run."""
    results: Any = await schema.subscribe("subscription Count { count(to: 5) }")
    await results.aclose()
    assert recorded.spans == []


@pytest.mark.asyncio
async def test_an_excluded_subscription_is_silent() -> None:
    """Nothing inside is recorded, and nothing of that is current for its reader."""
    with recording({"strawberry": StrawberryOptions(excluded=("Count",))}) as kept:
        results: Any = await schema.subscribe("subscription Count { count(to: 2) }", operation_name="Count")
        async for _ in results:
            with kept.tracer.start_as_current_span("reader"):
                pass
        assert kept.names() == ["reader", "reader"]
