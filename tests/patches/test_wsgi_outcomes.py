"""The wsgi patch: what becomes of a request, and that the server is given what the application has returned."""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Iterator
from contextvars import ContextVar
from time import perf_counter
from typing import Any
from wsgiref.util import FileWrapper

import pytest

import causal_otel
from causal_otel.engine import context
from causal_otel.patches.wsgi import WsgiMiddleware
from tests.patches.asgi_requests import server, servers
from tests.patches.wsgi_app import CLOSED, WAIT, Answer, app, ask, make_environ
from tests.recording import Recording
from tests.span_relations import assert_span, attributes, trace_id

PATCHES = ["wsgi"]
traced = WsgiMiddleware(app)


@pytest.fixture(autouse=True)
def _nothing_closed() -> None:
    CLOSED.clear()


@pytest.mark.parametrize(("status", "error"), [("204", None), ("404", None), ("500", "500"), ("503", "503")])
def test_the_status(recorded: Recording, status: str, error: str | None) -> None:
    """The status is recorded; from 500 on it is an error of that type."""
    ask(traced, f"/status/{status}", valid=False)
    span = server(recorded, error=error, lasts=WAIT)
    assert attributes(span)["http.response.status_code"] == int(status)


def test_a_stream_lasts_until_its_end(recorded: Recording) -> None:
    """The span of a generator's response holds all its parts, each of which is made inside it."""
    began = perf_counter()
    ask(traced, "/stream")
    span = server(recorded, lasts=4 * WAIT, within=perf_counter() - began)
    assert recorded.names() == ["work", "part", "part", "part", "GET"]
    for part in recorded.spans[:-1]:
        assert_span(part, span)
    assert CLOSED == ["/stream"]


def test_a_block_that_yields_inside(recorded: Recording) -> None:
    """What a generator has made current is current in its next part, and nowhere between."""
    answer = Answer()
    body = iter(traced(make_environ("/block"), answer.start))
    for _ in range(2):
        next(body)
        assert context.current_span() is None
    assert list(body) == [b"three"]
    body.close()  # type: ignore[attr-defined]
    request = server(recorded)
    block = recorded.only("block")
    assert_span(block, request)
    assert_span(recorded.only("inside"), block)
    assert_span(recorded.only("outside"), request)


def test_variables_of_others_are_set_and_reset(recorded: Recording) -> None:
    """A variable that the application sets in its call is there in each part, and may be reset when it is closed."""
    variable = ContextVar("variable", default="unset")

    class Body:
        def __init__(self) -> None:
            self._token = variable.set("set")

        def __iter__(self) -> Iterator[bytes]:
            yield variable.get().encode()

        def close(self) -> None:
            variable.reset(self._token)

    def setting(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    assert ask(WsgiMiddleware(setting), valid=False).body == b"set"
    assert variable.get() == "unset"
    assert_span(server(recorded), None)


def test_an_exception_before_the_response(recorded: Recording) -> None:
    """An exception that leaves the application is the caller's, the same object, and recorded with its stack."""
    with pytest.raises(ValueError, match="went wrong"):
        ask(traced, "/boom")
    span = server(recorded, error="ValueError")
    assert "http.response.status_code" not in attributes(span)
    [event] = span.events
    assert (event.attributes or {})["exception.message"] == "went wrong"


@pytest.mark.parametrize(("path", "status"), [("/unsent", None), ("/broken", 200)])
def test_an_exception_in_the_body(recorded: Recording, path: str, status: int | None) -> None:
    """A body that fails is an error; the status is recorded if the server can have sent it."""
    with pytest.raises(ValueError, match="went wrong"):
        ask(traced, path)
    assert attributes(server(recorded, error="ValueError")).get("http.response.status_code") == status
    assert [path] == CLOSED


def test_an_exception_that_the_server_is_told_of(recorded: Recording) -> None:
    """``start_response`` with ``exc_info`` reaches the server; the status that counts is the last one."""
    assert ask(traced, "/told").status == "500 Internal Server Error"
    span = server(recorded, error="ValueError")
    assert attributes(span)["http.response.status_code"] == 500
    assert (span.events[0].attributes or {})["exception.message"] == "went wrong"


def test_an_exception_after_the_response(recorded: Recording) -> None:
    """What ``close()`` raises after the whole response has a span of its own; the response was well."""
    with pytest.raises(LookupError):
        ask(traced, "/late")
    request = server(recorded)
    assert attributes(request)["http.response.status_code"] == 200
    late = recorded.only("after response")
    assert_span(late, request.get_span_context(), error="LookupError")
    assert CLOSED == ["/late"]


def test_the_end_of_the_process_is_no_error(recorded: Recording) -> None:
    """``SystemExit`` ends the span and passes."""
    with pytest.raises(SystemExit):
        ask(traced, "/exit")
    assert_span(server(recorded), None)


def test_no_response(recorded: Recording) -> None:
    """An application that never calls ``start_response`` is an error."""
    ask(traced, "/silent", valid=False)
    assert_span(server(recorded, error="incomplete_response"), None, error="incomplete_response")


@pytest.mark.parametrize(
    ("path", "environ", "error"),
    [
        ("/stream", {}, "client_disconnected"),
        ("/stream", {"REQUEST_METHOD": "HEAD"}, None),
        ("/events", {}, None),
    ],
)
def test_a_response_that_is_closed_before_its_end(
    recorded: Recording, path: str, environ: dict[str, str], error: str | None
) -> None:
    """The client has gone; which is how a stream of events ends, and HEAD has no body to be asked for."""
    ask(traced, path, parts=1, valid=False, **environ)
    span = server(recorded, error=error, lasts=2 * WAIT)
    assert attributes(span)["http.response.status_code"] == 200
    assert [path] == CLOSED


def test_a_client_that_goes_away_while_it_is_written_to(recorded: Recording) -> None:
    """A ``write`` that fails because the client has gone is no error of the application's."""

    class Gone(Answer):
        def write(self, data: bytes) -> None:
            raise BrokenPipeError("gone")

    with pytest.raises(BrokenPipeError):
        traced(make_environ("/write"), Gone().start)
    server(recorded, error="client_disconnected")


def test_write(recorded: Recording) -> None:
    """``start_response`` returns the server's ``write``."""
    answer = ask(traced, "/write", valid=False)
    assert (answer.written, answer.body) == (b"written", b"")
    assert_span(server(recorded), None)


def test_a_list_reaches_the_server_as_it_is(recorded: Recording) -> None:
    """A list is the very object that the application has returned; the span is over then."""
    answer = ask(traced, "/list", valid=False)
    assert answer.result == [b"text"]
    assert type(answer.result) is list
    assert_span(server(recorded, lasts=WAIT), None)


@pytest.mark.parametrize("as_class", [True, False])
def test_a_file_reaches_the_server_as_it_is(recorded: Recording, as_class: bool) -> None:
    """What the server's ``wsgi.file_wrapper`` has made is the very object again: the server may send it by itself."""
    made: list[object] = []

    def wrapper(file: io.BytesIO, size: int) -> io.BytesIO:
        made.append(file)
        return file

    result = traced(
        make_environ("/file", **{"wsgi.file_wrapper": FileWrapper if as_class else wrapper}), Answer().start
    )
    assert isinstance(result, FileWrapper) if as_class else result is made[0]
    assert attributes(server(recorded, lasts=WAIT))["http.response.status_code"] == 200


def test_the_number_of_parts(recorded: Recording) -> None:
    """``len()`` of a body is what it was, and there is none where there was none."""
    sized, stream = (traced(make_environ(path), Answer().start) for path in ("/", "/stream"))
    assert len(sized) == 1  # type: ignore[arg-type]
    assert not hasattr(stream, "__len__")
    for body in (sized, stream):
        body.close()  # type: ignore[attr-defined]
    assert {span.name for span in servers(recorded)} == {"GET"}


def test_a_body_is_closed_once(recorded: Recording) -> None:
    """However often the server closes, the application's ``close()`` is called once."""
    body: Any = traced(make_environ("/"), Answer().start)
    assert list(body) == [b"text"]
    body.close()
    body.close()
    assert CLOSED == ["/"]
    assert_span(server(recorded), None)


@pytest.mark.parametrize(("parts", "abandoned"), [(0, True), (1, True), (3, False)])
def test_a_body_that_nobody_closes(recorded: Recording, parts: int, abandoned: bool) -> None:
    """The span of a body that a server drops ends then, marked so unless all of it was asked for."""
    body: Any = traced(make_environ("/stream"), Answer().start)
    for _ in range(parts):
        next(body)
    if not abandoned:
        with contextlib.suppress(StopIteration):
            next(body)
    del body
    gc.collect()
    server(recorded, abandoned=abandoned)


def test_what_is_no_body_fails_as_ever(recorded: Recording) -> None:
    """An application that returns None fails where the server iterates, and is an error."""
    body = WsgiMiddleware(lambda environ, start_response: None)(make_environ(), Answer().start)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="not iterable"):
        list(body)
    server(recorded, error="TypeError")


def test_a_span_of_one_s_own_around_a_failing_call(recorded: Recording) -> None:
    """After a failed request the caller's own span is current again."""
    with causal_otel.span("around"):
        with pytest.raises(ValueError, match="went wrong"):
            ask(traced, "/boom")
        assert causal_otel.current_trace_id() not in (None, trace_id(servers(recorded)[0]))
