"""``WsgiMiddleware`` on real servers: one SERVER span a request, none lost by SIGTERM, and the responses as ever."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from tests.servers.serving import GUNICORN, assert_requests, cases, module, send_requests, served, stop
from tests.span_relations import assert_span
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

APP = "tests.servers.wsgi_app:app"


def _commands(app: str) -> dict[str, list[str]]:
    gunicorn = module("gunicorn", app, "-w", "2", *GUNICORN)
    return {
        "gunicorn": gunicorn,
        "gunicorn --preload": [*gunicorn, "--preload"],
        "gunicorn --threads": [*gunicorn, "--threads", "2"],
        "granian": module("granian", app, "--interface", "wsgi", "--host", "{host}", "--port", "{port}"),
        "hypercorn": module("hypercorn", f"wsgi:{app}", "--bind", "{host}:{port}", "--graceful-timeout", "2"),
    }


SERVERS = _commands(APP)
_OFTEN = {("gunicorn --preload", "post_fork"), ("granian", "import")}
"""What ``make test`` runs; the rest is for ``make test-long``."""


@pytest.mark.parametrize(("server", "install"), cases(SERVERS, _OFTEN, ("import",)))
def test_requests(receiver: ReceivedSpans, server: str, install: str) -> None:
    """Every request is one SERVER span with its route, its status and its caller as the parent, and none is lost."""
    with served(receiver, SERVERS[server], install) as running:
        send_requests(running.url)
        assert not receiver.spans()
        stop(running)
    assert_requests(receiver, "<int:%s>")


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_bodies_of_every_kind(receiver: ReceivedSpans, server: str) -> None:
    """A file is sent whole; a stream that its client leaves is an error, and so is a view that raises."""
    with served(receiver, SERVERS[server]) as running, httpx.Client(base_url=running.url, trust_env=False) as client:
        assert len(client.get("/file").content) == 100_000
        assert client.get("/boom").status_code == 500
        parts = urlsplit(running.url)
        with socket.create_connection((parts.hostname, parts.port), 60) as connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"x-trace-id" in connection.recv(65536).lower()
        stop(running)
    spans = {span["name"]: span for span in receiver.spans() if span["kind"] == "SERVER"}
    assert_span(spans["GET /file"], None)
    assert_span(spans["GET /boom"], None, error="ValueError")
    assert_span(spans["GET /stream"], None, error="client_disconnected")


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_a_list_is_answered_as_ever(receiver: ReceivedSpans, server: str) -> None:
    """A plain application that returns a list has its body and its length on the wire."""
    with served(receiver, _commands("tests.servers.wsgi_app:plain")[server]) as running:
        response = httpx.get(f"{running.url}/", trust_env=False)
        assert (response.text, response.headers["content-length"]) == ("plain", "5")
        trace_id = response.headers["x-trace-id"]
        stop(running)
    wait_until(lambda: trace_id in {span["trace_id"] for span in receiver.spans()})
    [span] = [span for span in receiver.spans() if span["trace_id"] == trace_id]
    assert assert_span(span, None)["http.response.status_code"] == 200
