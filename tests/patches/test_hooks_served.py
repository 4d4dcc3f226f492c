"""Hooks of the patches for what this process serves: requests, websockets, and tasks in workers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from celery import Celery
from celery.exceptions import WorkerLostError
from fastapi import FastAPI, WebSocket
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from starlette.responses import PlainTextResponse, StreamingResponse
from websockets.sync.client import connect

import causal_otel
from causal_otel.patches.asgi import TracingMiddleware
from tests.patches import celery_app
from tests.patches.celery_app import Expected, app
from tests.patches.celery_worker import of_service, running_worker
from tests.patches.hooking import Hooked, Told, hooked
from tests.patches.http_server import serve
from tests.patches.raw_http import ask, connected
from tests.services.received import ReceivedSpan, ReceivedSpans
from tests.span_relations import assert_span
from tests.waiting import wait_until

QUEUE, SENT = "hooks", "hooks-sent"
WORK = 0.02


# -- requests and websockets --------------------------------------------------------------------------------------


class Boom(Exception):
    """What an endpoint raises."""


def application(begun: threading.Event) -> FastAPI:
    """An application that ends a request in every way.

    Args:
        begun: is set when a stream has begun.
    """
    api = FastAPI()

    @api.get("/items/{item}")
    async def item(item: int) -> int:
        await asyncio.sleep(WORK)
        return item

    @api.get("/teapot")
    async def teapot() -> PlainTextResponse:
        return PlainTextResponse("no", 503)

    @api.get("/boom")
    async def boom() -> None:
        raise Boom

    @api.get("/stream")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(100_000):
                yield b"x" * 1000
                begun.set()
                await asyncio.sleep(0.01)

        return StreamingResponse(chunks())

    @api.websocket("/ws/{room}")
    async def echo(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    return api


def of_request(hooks: Hooked, name: str, path: str, **outcome: Any) -> Told:
    """What the hooks were told of the only request, once it is over: the scope, the very object.

    Its span is a root, of which :func:`assert_span` asserts ``outcome``.
    """
    wait_until(hooks.spans)
    told = hooks.only(name)
    assert told.span.kind is SpanKind.SERVER
    assert_span(told.span, None, **outcome)
    [scope] = told.asked
    assert (scope["path"], told.answered[0] is scope) == (path, True)
    return told


@pytest.mark.parametrize(
    ("path", "name", "status", "failed"),
    [
        ("/items/3", "GET /items/{item}", 200, None),
        ("/nowhere", "GET", 404, None),
        ("/teapot", "GET /teapot", 503, "503"),
        ("/boom", "GET /boom", 500, f"{__name__}.Boom"),
    ],
)
def test_requests(path: str, name: str, status: int, failed: str | None, provider: Any) -> None:
    """The scope, and the status of the response, also where the application has raised."""
    with hooked("asgi", provider) as hooks, serve(application(threading.Event())) as url:
        assert httpx.get(f"{url}{path}").status_code == status
        told = of_request(hooks, name, path, error=failed, lasts=WORK if path == "/items/3" else 0.0)
    assert told.answered[1:] == (status,)


def test_clients_that_leave() -> None:
    """Of a response that was cut off the hook is told the status that it began with, once."""
    begun = threading.Event()
    with hooked("asgi") as hooks, serve(application(begun)) as url:
        with connected(url) as connection:
            ask(connection, "/stream")
            assert begun.wait(60)
        told = of_request(hooks, "GET /stream", "/stream", error="client_disconnected")
    assert told.answered[1:] == (200,)


def test_applications_without_an_answer() -> None:
    """Where there is no response there is no status: None."""

    async def mute(scope: Any, receive: Any, send: Any) -> None:
        return

    async def call() -> None:
        await TracingMiddleware(mute)({"type": "http", "method": "GET", "path": "/"}, None, None)  # type: ignore[arg-type]

    with hooked("asgi") as hooks:
        asyncio.run(call())
    told = of_request(hooks, "GET", "/", error="incomplete_response")
    assert told.answered[1:] == (None,)


def test_websockets() -> None:
    """A connection is told once, with 101."""
    with hooked("asgi") as hooks, serve(application(threading.Event()), ws="websockets-sansio") as url:
        with connect(f"ws://{urlsplit(url).netloc}/ws/den") as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"
        told = of_request(hooks, "GET /ws/{room}", "/ws/den")
    assert told.asked[0]["type"] == "websocket"
    assert told.answered[1:] == (101,)


def test_hooks_that_raise_in_requests(provider: Any) -> None:
    """Clients are answered as ever, and the spans are whole."""
    with hooked("asgi", provider, raises=True) as hooks, serve(application(threading.Event())) as url:
        assert httpx.get(f"{url}/items/3").json() == 3
        assert httpx.get(f"{url}/boom").status_code == 500
        wait_until(lambda: len(hooks.spans()) == 2)
        well, failed = hooks.told()
    assert (well.span.name, failed.span.name) == ("GET /items/{item}", "GET /boom")
    assert assert_span(well.span, None, lasts=WORK)["http.route"] == "/items/{item}"
    assert_span(failed.span, None, error=f"{__name__}.Boom")


def test_requests_that_are_not_recorded() -> None:
    """Nobody is told of a request that is not sampled, or excluded."""
    with (
        hooked("asgi", sampler=ALWAYS_OFF) as hooks,
        serve(application(threading.Event())) as url,
    ):
        assert httpx.get(f"{url}/items/3").json() == 3
    assert (hooks.asked, hooks.answered) == ([], [])
    with (
        hooked("asgi", excluded=("/items/{id}",)) as hooks,
        serve(application(threading.Event())) as url,
    ):
        assert httpx.get(f"{url}/items/3").json() == 3
    assert (hooks.asked, hooks.answered) == ([], [])


# -- tasks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def local() -> Celery:
    """An app of its own, without a broker."""
    return Celery("local", set_as_current=False, broker="memory://", backend="cache+memory://")


def test_sending(broker: str, provider: Any) -> None:
    """The application, the arguments of its ``send_task``, and the result that is to come."""
    with hooked("celery", provider) as hooks, causal_otel.span("request"):
        result = celery_app.add.apply_async((1, 2), queue=SENT)
        result.forget()
    told = hooks.only("send tests.add")
    assert told.span.kind is SpanKind.PRODUCER
    assert told.parent is not None
    assert_span(told.span, told.parent)
    sender, args, kwargs = told.asked
    assert (sender, args[:2], kwargs["queue"]) == (app, ("tests.add", (1, 2)), SENT)
    assert told.answered == (*told.asked, result)
    with redis.Redis.from_url(broker) as queue:
        assert queue.delete(SENT) == 1


def test_sending_that_fails(local: Celery, provider: Any) -> None:
    """The hook is told the very exception that the caller gets."""

    @local.task(shared=False, name="hooks.add")
    def add(x: int) -> int:
        return x

    with (
        hooked("celery", provider, raises=True) as hooks,
        causal_otel.span("request"),
        pytest.raises(Exception, match="not JSON serializable") as caught,
    ):
        add.apply_async((object(),), serializer="json")
    told = hooks.only("send hooks.add")
    assert told.answered[-1] is caught.value
    assert told.parent is not None
    assert_span(told.span, told.parent, error="kombu.exceptions.EncodeError")


def test_executions(local: Celery, provider: Any) -> None:
    """The task and its request, and what the task has returned or raised, also where that was expected."""
    outcomes = (7, Boom("b"), Expected("e"))

    @local.task(shared=False, name="hooks.run", bind=True, throws=(Expected,))
    def run(self: Any, which: int) -> Any:
        seen.append(self.request.id)
        outcome = outcomes[which]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    seen: list[str] = []
    with hooked("celery", provider) as hooks, causal_otel.span("request"):
        assert run.apply((0,)).get() == 7
        for which, kind in ((1, Boom), (2, Expected)):
            with pytest.raises(kind) as caught:
                run.apply((which,)).get()
            assert caught.value is outcomes[which]
    for told, identity, outcome, failed in zip(hooks.told(), seen, outcomes, (0, 1, 0), strict=True):
        assert told.span.name == "process hooks.run"
        assert told.span.kind is SpanKind.CONSUMER
        assert told.parent is not None
        assert_span(told.span, told.parent, error=f"{__name__}.Boom" if failed else None)
        task, request = told.asked
        assert (task.name, request.id) == ("hooks.run", identity)
        assert told.answered == (task, request, outcome)
        assert told.answered[-1] is outcome


def test_hooks_that_raise_in_executions(local: Celery, provider: Any) -> None:
    """The task runs once, and its caller gets what it returned or raised."""
    ran: list[int] = []

    @local.task(shared=False, name="hooks.run")
    def run(raised: bool) -> int:
        ran.append(1)
        if raised:
            raise error
        return 7

    error = Boom()
    with hooked("celery", provider, raises=True) as hooks, causal_otel.span("request"):
        assert run.apply((False,)).get() == 7
        with pytest.raises(Boom) as caught:
            run.apply((True,)).get()
        assert caught.value is error
    assert len(ran) == 2
    well, failed = hooks.told()
    assert assert_span(well.span, well.parent)["celery.task.state"] == "SUCCESS"
    assert_span(failed.span, failed.parent, error=f"{__name__}.Boom")


def test_tasks_that_are_not_recorded(local: Celery) -> None:
    """Nobody is told of a task that is not sampled, or excluded."""

    @local.task(shared=False, name="hooks.run")
    def run() -> int:
        return 7

    for options in ({"sampler": ALWAYS_OFF}, {"excluded": ("hooks.*",)}):
        with hooked("celery", **options) as hooks, causal_otel.span("request"):
            assert run.apply().get() == 7
            run.apply_async()
        assert (hooks.asked, hooks.answered) == ([], [])


@pytest.fixture(scope="module")
def worker(broker: str, receiver_process: ReceivedSpans) -> Iterator[None]:
    """A prefork worker with hooks."""
    with running_worker(broker, receiver_process, QUEUE, variables={"TESTS_HOOKS": "1"}):
        yield


def _execution(
    receiver: ReceivedSpans,
    task: Any,
    *args: Any,
    error: type[Exception] | None = None,
    told: str | None = None,
    lasts: float = 0.0,
) -> ReceivedSpan:
    """The span of the execution of a task that the worker has been sent, which fails with ``error``, ``told`` so."""
    with hooked("celery") as hooks:
        result = task.apply_async(args, queue=QUEUE)
    if error is None:
        result.get(timeout=60)
    else:
        with pytest.raises(error):
            result.get(timeout=60)
    sent = hooks.only("send " + task.name).span

    def executed(spans: list[ReceivedSpan]) -> bool:
        return any(span["kind"] == "CONSUMER" for span in spans)

    spans = receiver.wait_for(executed, 60, trace_id=f"{sent.context.trace_id:032x}")
    [span] = [span for span in of_service(spans, QUEUE) if span["kind"] == "CONSUMER"]
    found = assert_span(span, sent, error=told, lasts=lasts)
    assert found["asked"] == f"{task.name} {result.id}"
    return span


def test_a_worker(worker: None, receiver: ReceivedSpans) -> None:
    """Hooks run where the task does, and what they set is on the span that arrives."""
    span = _execution(receiver, celery_app.add, 1, 2)
    assert span["attributes"]["answered"] == "3"
    span = _execution(receiver, celery_app.fail, "no", error=ValueError, told="ValueError")
    assert span["attributes"]["answered"] == "ValueError('no')"


@pytest.mark.long
def test_a_process_that_is_killed(worker: None, receiver: ReceivedSpans) -> None:
    """The main process, which reports the execution, calls both hooks for the span that it records."""
    error = "billiard.exceptions.WorkerLostError"
    span = _execution(receiver, celery_app.killed, error=WorkerLostError, told=error, lasts=0.2)
    assert span["attributes"]["answered"].startswith("WorkerLostError(")
