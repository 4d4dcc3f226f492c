"""Background tasks: a span each, in the trace of the request that has asked for them, and no part of its time."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fastapi import BackgroundTasks, FastAPI
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteTasks
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import causal_otel
from causal_otel._internal import faults
from causal_otel.patches.asgi import AsgiOptions
from tests.patches.asgi_requests import BODY, exchange, fetch, server
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PATCHES = ["asgi"]
WAIT = 0.05


async def mail(to: str) -> None:
    with causal_otel.span("deliver"):
        await asyncio.sleep(WAIT)


def report(number: int) -> None:
    with causal_otel.span("write"):
        time.sleep(WAIT)


async def broken() -> None:
    raise LookupError("too late")


class Cleaner:
    """What is no function but can be called."""

    async def __call__(self) -> None:
        await asyncio.sleep(WAIT)


def _app(*tasks: BackgroundTask, **options: Any) -> Starlette:
    async def endpoint(_: Request) -> Response:
        return PlainTextResponse("accepted", background=StarletteTasks(tasks))

    return Starlette(routes=[Route("/", endpoint)], **options)


def _assert_task(recorded: Recording, name: str, request: ReadableSpan, **outcome: Any) -> ReadableSpan:
    """The task's span: a child of the request, linked to it, that has begun when the request was over."""
    span = recorded.only(name)
    found = assert_span(span, request.get_span_context(), **outcome)
    assert span.kind is SpanKind.INTERNAL
    assert found["code.function.name"] == f"{__name__}.{name}"
    assert [link.context for link in span.links] == [request.get_span_context()]
    assert (request.end_time or 0) <= (span.start_time or 0)
    return span


@pytest.mark.asyncio
async def test_each_task_is_a_span(recorded: Recording) -> None:
    """Coroutines and functions in threads: one span each, current inside, after the request's end."""
    await fetch("/", of=_app(BackgroundTask(mail, "ada"), BackgroundTask(report, 7), BackgroundTask(mail, "bob")))
    request = server(recorded)
    mails = [span for span in recorded.spans if span.name == "mail"]
    for span, inside in zip(mails, [span for span in recorded.spans if span.name == "deliver"], strict=True):
        assert_span(span, request.get_span_context(), lasts=WAIT)
        assert_span(inside, span, lasts=WAIT)
    written = _assert_task(recorded, "report", request, lasts=WAIT)
    assert_span(recorded.only("write"), written, lasts=WAIT)
    assert len(recorded.spans) == 7


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.asyncio
async def test_fastapi_s_tasks_are_not_in_the_duration(recorded: Recording, status: int) -> None:
    """What runs after the response does not make the request slower, whatever the status."""
    app = FastAPI()

    @app.get("/")
    async def endpoint(tasks: BackgroundTasks) -> Response:
        tasks.add_task(mail, "ada")
        return Response("accepted", status, background=tasks)

    await fetch("/", of=app)
    request = server(recorded, error=None if status < 500 else str(status))
    assert attributes(request)["http.response.status_code"] == status
    _assert_task(recorded, "mail", request, lasts=WAIT)


@pytest.mark.parametrize(
    ("task", "name"),
    [(functools.partial(functools.partial(mail), "ada"), "mail"), (Cleaner(), "Cleaner")],
    ids=["partial", "object"],
)
@pytest.mark.asyncio
async def test_what_is_no_function_has_a_name_too(recorded: Recording, task: Any, name: str) -> None:
    """A partial has the name of its function, another object that of its class."""
    await fetch("/", of=_app(BackgroundTask(task)))
    _assert_task(recorded, name, server(recorded), lasts=WAIT)


@pytest.mark.parametrize("middleware", [[], [Middleware(BaseHTTPMiddleware, dispatch=lambda r, call: call(r))]])
@pytest.mark.parametrize("handled", [False, True], ids=["unhandled", "handled"])
@pytest.mark.asyncio
async def test_a_failure_is_the_task_s_alone(recorded: Recording, middleware: list[Middleware], handled: bool) -> None:
    """It is recorded once, on the task's span, also where the application has a handler that comes too late."""

    def on_lookup_error(_: Request, __: Exception) -> Response:
        return PlainTextResponse("never sent", 500)

    handlers: Any = {LookupError: on_lookup_error} if handled else {}
    await fetch("/", of=_app(BackgroundTask(broken), middleware=middleware, exception_handlers=handlers))
    request = server(recorded)
    task = _assert_task(recorded, "broken", request, error="LookupError")
    assert len(recorded.spans) == 2
    assert request.events == ()
    [event] = task.events
    assert event.attributes is not None
    assert event.attributes["exception.message"] == "too late"


@pytest.mark.asyncio
async def test_the_exception_is_the_task_s_own(recorded: Recording) -> None:
    """The server gets the very exception, and its tasks after that are not run, as without us."""
    raised = LookupError("mine")

    async def fail() -> None:
        raise raised

    with pytest.raises(LookupError) as caught:
        await exchange(_app(BackgroundTask(fail), BackgroundTask(mail, "ada")), [BODY])
    assert caught.value is raised
    assert "mail" not in recorded.names()


@pytest.mark.asyncio
async def test_a_cancelled_task_is_marked(recorded: Recording) -> None:
    """A task that is cancelled, as at the server's shutdown, is no error."""
    begun = asyncio.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.sleep(30)

    work = asyncio.create_task(exchange(_app(BackgroundTask(endless)), [BODY]))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    request, task = recorded.spans
    assert_span(request, None)
    assert_span(task, request.get_span_context(), cancelled=True)


def test_trio(recorded: Recording) -> None:
    """Tasks are spans in trio as well."""

    async def mail_of_trio() -> None:
        await anyio.sleep(WAIT)

    anyio.run(exchange, _app(BackgroundTask(report, 7), BackgroundTask(mail_of_trio)), [BODY], backend="trio")
    request = server(recorded)
    written = _assert_task(recorded, "report", request, lasts=WAIT)
    assert_span(recorded.only("write"), written, lasts=WAIT)
    assert_span(recorded.only("test_trio.<locals>.mail_of_trio"), request.get_span_context(), lasts=WAIT)


@pytest.mark.asyncio
async def test_a_task_of_an_excluded_request_is_silent() -> None:
    """Nothing is recorded of a request that is excluded, nor of its tasks, which run all the same."""
    done = asyncio.Event()

    async def work() -> None:
        with causal_otel.span("inside"):
            done.set()

    with recording({"asgi": AsgiOptions(excluded=("/",))}) as recorded:
        await fetch("/", of=_app(BackgroundTask(work)))
        assert done.is_set()
        assert recorded.spans == []


@pytest.mark.asyncio
async def test_a_task_outside_any_request_starts_no_trace(recorded: Recording) -> None:
    """Who calls a task by hand, outside any span, has no span of it."""
    await BackgroundTask(mail, "ada")()
    assert recorded.names() == ["deliver"]


@pytest.mark.asyncio
async def test_a_task_that_an_endpoint_calls_is_its_child(recorded: Recording) -> None:
    """A failure of a task that is awaited before the response is the request's as well."""

    async def endpoint(_: Request) -> Response:
        await BackgroundTask(broken)()
        raise AssertionError("never reached")

    await fetch("/", of=Starlette(routes=[Route("/", endpoint)]))
    request = server(recorded, error="LookupError")
    assert_span(recorded.only("broken"), request, error="LookupError")
    assert [event.name for event in request.events] == ["exception"]


@pytest.mark.asyncio
async def test_a_fault_of_ours_does_not_reach_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tracing a task fails, the task is run as if it were not there."""
    done = []

    async def work() -> None:
        done.append(True)

    async def break_each() -> None:
        with recording(["asgi"]):
            for site in ("_begin", "take_wait", "Operation"):
                with monkeypatch.context() as broken:
                    broken.setattr(f"causal_otel.patches.asgi.background.{site}", lambda *_, **__: 1 / 0)
                    broken.setattr("causal_otel.patches.asgi.background.waits", {1: (0.0, 0.0)})
                    await fetch("/", of=_app(BackgroundTask(work)))

    with pytest.raises(AssertionError, match="failed and was contained"):
        await break_each()
    assert done == [True] * 3
    assert "asgi: background task" in faults.counts()
