"""Where the time of a WSGI request went: a slow client and a slow application are told apart; and how many bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from causal_otel.patches.wsgi import WsgiMiddleware
from tests.patches.asgi_requests import server
from tests.patches.wsgi_app import Answer, app, ask, make_environ
from tests.recording import Recording
from tests.slow_machine import assert_at_least, assert_below
from tests.span_relations import assert_span
from tests.waiting import pause

PATCHES = ["wsgi"]
PLANTED = 0.3
traced = WsgiMiddleware(app)


def _slow(before: float, between: float) -> Any:
    """An application that takes its time before it answers, and between the parts of its response."""

    def parts() -> Iterator[bytes]:
        yield b"x" * 10
        pause(between)
        yield b"y" * 5

    def slow(environ: Any, start_response: Any) -> Iterator[bytes]:
        pause(before)
        start_response("200 OK", [])
        return parts()

    return WsgiMiddleware(slow)


def test_a_client_that_reads_slowly(recorded: Recording) -> None:
    """What the server takes until it asks for the next part is the client's, and in no other part."""
    body: Any = _slow(0, 0)(make_environ(), Answer().start)
    next(body)
    pause(PLANTED)
    assert list(body) == [b"y" * 5]
    body.close()
    found = assert_span(server(recorded), None, lasts=PLANTED)
    assert_at_least(0.8 * PLANTED, found["causal.send"])
    assert_below(PLANTED / 3, found["causal.first_byte"])
    assert found["http.response.body.size"] == 15


@pytest.mark.parametrize("before", [True, False])
def test_an_application_that_is_slow(recorded: Recording, before: bool) -> None:
    """An application that is slow is nobody else's fault, and the response begins when it began."""
    ask(_slow(PLANTED if before else 0, 0 if before else PLANTED), valid=False)
    found = assert_span(server(recorded), None, lasts=PLANTED)
    assert_below(PLANTED / 3, found.get("causal.send", 0))
    first_byte = found.get("causal.first_byte")
    if before:
        assert first_byte is None or first_byte >= PLANTED
    else:
        assert first_byte is not None
        assert_below(PLANTED / 3, first_byte)


def test_a_client_that_takes_slowly_what_is_written(recorded: Recording) -> None:
    """``write()`` waits for the client, too."""

    class Slow(Answer):
        def write(self, data: bytes) -> None:
            pause(PLANTED)

    body: Any = traced(make_environ("/write"), Slow().start)
    body.close()
    found = assert_span(server(recorded, error="client_disconnected"), None, error="client_disconnected", lasts=PLANTED)
    assert_at_least(0.8 * PLANTED, found["causal.send"])
    assert found["http.response.body.size"] == len(b"written")


@pytest.mark.parametrize(
    ("path", "environ", "sizes"),
    [
        ("/list", {}, (None, 4)),
        ("/stream", {}, (None, 300)),
        ("/", {"CONTENT_LENGTH": "12", "REQUEST_METHOD": "POST"}, (12, 4)),
        ("/", {"REQUEST_METHOD": "HEAD"}, (None, None)),
    ],
)
def test_sizes(recorded: Recording, path: str, environ: dict[str, Any], sizes: tuple[int | None, int | None]) -> None:
    """The body of the request is as long as that says, that of the response as what the server was given."""
    ask(traced, path, valid=False, **environ)
    found = assert_span(server(recorded), None)
    assert (found.get("http.request.body.size"), found.get("http.response.body.size")) == sizes
