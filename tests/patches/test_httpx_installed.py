"""Where the httpx patch takes hold: over every transport, among tasks and threads, and not after an uninstall."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from opentelemetry.trace import Span

from causal_otel.patches.httpx import PATCH
from tests.patches.checks import assert_undone
from tests.patches.http_client import clients, received
from tests.recording import Recording, recording
from tests.span_relations import assert_span, traceparent

PATCHES = ["httpx"]


class OwnTransport(httpx.BaseTransport):
    """A transport of the user's own, which adds a header as signing transports do."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-Signed"] = "yes"
        self.seen.append(request)
        return httpx.Response(200, text="own")


class OwnAsyncTransport(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return OwnTransport().handle_request(request)


def test_transports_of_the_user_s_own_are_traced(recorded: Recording) -> None:
    """A custom transport gets the context, and what it does to the request's headers stays with the request."""
    transport = OwnTransport()
    with httpx.Client(transport=transport) as client, recorded.tracer.start_as_current_span("parent") as parent:
        request = client.build_request("GET", "http://example.org/", headers={"A": "b"})
        response = client.send(request)
    assert_span(recorded.only("GET"), parent)
    assert transport.seen[0].headers["traceparent"] == traceparent(recorded.only("GET"))
    assert response.request is request
    assert request.headers["x-signed"] == "yes"
    assert request.headers["a"] == "b"
    assert "traceparent" not in request.headers


@pytest.mark.asyncio
async def test_async_transports_of_every_kind_are_traced(recorded: Recording) -> None:
    """Mock, ASGI and custom transports make one span each, and carry its context."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value.decode() for name, value in scope["headers"] if name == b"traceparent")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in process"})

    for transport in (
        httpx.MockTransport(lambda _: httpx.Response(200, text="mock")),
        httpx.ASGITransport(app=app),
        OwnAsyncTransport(),
    ):
        async with httpx.AsyncClient(transport=transport) as client:
            with recorded.tracer.start_as_current_span("parent") as parent:
                assert (await client.get("http://example.org/")).status_code == 200
            assert_span(clients(recorded)[-1], parent)
    assert len(clients(recorded)) == 3
    assert seen == [traceparent(clients(recorded)[1])]


@pytest.mark.asyncio
async def test_concurrent_requests_keep_their_parents(recorded: Recording, server: str) -> None:
    """Of 200 requests at once over one client, each is the child of its own task's span, on the wire as well."""
    async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=20)) as client:

        async def one(number: int) -> tuple[Span, str]:
            with recorded.tracer.start_as_current_span(f"parent {number}") as parent:
                response = await client.get(f"{server}/echo?n={number}")
                return parent, received(response, "traceparent")[0]

        told = await asyncio.gather(*(one(number) for number in range(200)))
    by_context = {traceparent(span): span for span in clients(recorded)}
    assert len(by_context) == 200
    for number, (parent, sent) in enumerate(told):
        assert assert_span(by_context[sent], parent)["url.full"].endswith(f"?n={number}")


def test_threads_keep_their_parents(recorded: Recording, server: str) -> None:
    """One sync client shared by 8 threads: every request has its own thread's parent."""
    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(8) as pool:

        def one(number: int) -> tuple[str, Span]:
            with recorded.tracer.start_as_current_span(f"parent {number}") as parent:
                return received(client.get(f"{server}/echo"), "traceparent")[0], parent

        told = dict(pool.map(one, range(40)))
    assert len(clients(recorded)) == len(told) == 40
    for span in clients(recorded):
        assert_span(span, told[traceparent(span)])


def test_uninstall_restores_the_very_same_objects() -> None:
    """Afterwards every patched attribute is the object it was before."""
    assert_undone(PATCH)


def test_the_patched_methods_look_like_the_originals() -> None:
    """Signature, kind, pickle and deepcopy of the patched methods are as without us."""
    names = ("_transport_for_url", "_send_handling_auth")
    methods = [getattr(kind, name) for kind in (httpx.Client, httpx.AsyncClient) for name in names]
    before = [(inspect.signature(method), inspect.iscoroutinefunction(method)) for method in methods]
    with recording(["httpx"]):
        now = [getattr(kind, name) for kind in (httpx.Client, httpx.AsyncClient) for name in names]
        assert [(inspect.signature(method), inspect.iscoroutinefunction(method)) for method in now] == before
        for method in now:
            assert copy.deepcopy(method) is method
            assert pickle.loads(pickle.dumps(method)) is method


def test_clients_made_before_are_traced_and_switched_off_afterwards(server: str) -> None:
    """A client made before install() is traced; after an uninstall it is not, nor while a response was under way."""
    with httpx.Client(trust_env=False) as client:
        with recording(["httpx"]) as kept:
            with kept.tracer.start_as_current_span("parent") as parent:
                client.get(f"{server}/echo")
                pending = client.send(client.build_request("GET", f"{server}/stream"), stream=True)
            assert_span(kept.only("GET"), parent)
        assert len(pending.read()) == 3000
        assert received(client.get(f"{server}/echo"), "traceparent") == []


def test_a_subclass_is_traced_once(recorded: Recording, server: str) -> None:
    """A client class of the user's own that overrides send() makes one span a request."""

    class Own(httpx.Client):
        def send(self, *args: Any, **kwargs: Any) -> httpx.Response:
            return super().send(*args, **kwargs)

    with Own(trust_env=False) as client, recorded.tracer.start_as_current_span("parent") as parent:
        client.get(f"{server}/echo")
    assert_span(recorded.only("GET"), parent)
