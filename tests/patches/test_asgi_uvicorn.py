"""The asgi patch behind a real uvicorn: bytes of every kind, clients that leave, and its end by SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import urllib.request
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from causal_otel.testing.process import claim_port, http_status, process
from tests.patches.asgi_app import app
from tests.patches.asgi_requests import server, servers
from tests.patches.http_server import serve
from tests.patches.raw_http import connected, read
from tests.span_relations import assert_span
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.recording import Recording
    from tests.services.received import ReceivedSpans

PATCHES = ["asgi"]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "header",
    [
        rb"traceparent: " + b"\xff\xfe\\",
        rb"baggage: k=" + b"\xff\\",
        rb"user-agent: " + b"\xff\\x",
        rb"tracestate: " + b"\xff\xfe",
        rb"x-forwarded-for: " + b"\xff",
    ],
)
def test_header_bytes_that_are_not_utf8_change_nothing(recorded: Recording, header: bytes) -> None:
    """Hostile bytes in a header never make a 500."""
    with serve(app) as url:
        with connected(url) as connection:
            connection.sendall(b"GET /items/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + header + b"\r\n\r\n")
            answer = read(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"x-trace-id: " in answer
        wait_until(lambda: servers(recorded))
        assert server(recorded).name == "GET /items/{i}"


@contextlib.contextmanager
def uvicorn_process(receiver: ReceivedSpans, *options: str) -> Iterator[tuple[str, Any]]:
    """The application behind a uvicorn of its own, which exports only when it must."""
    port = claim_port(None, "uvicorn")
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "tests.patches.asgi_app:app", "--port", str(port), *options]
    environment = {
        **os.environ,
        "TESTS_INSTALL": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        # FastAPI would export as well, to the same place.
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }

    def ready(_: Any) -> bool:
        return http_status(f"{url}/openapi.json") == 200

    with process(command, name="uvicorn", env=environment, cwd=ROOT, ready=ready) as child:
        yield url, child


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_sigterm_loses_nothing(receiver: ReceivedSpans, lifespan: str) -> None:
    """Uvicorn ends by SIGTERM right after 20 requests: all 20 spans arrive, with a lifespan or without."""
    with uvicorn_process(receiver, "--lifespan", lifespan) as (url, child):
        for number in range(20):
            with urllib.request.urlopen(f"{url}/items/{number}", timeout=60) as response:
                assert response.headers["X-Trace-Id"]
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(60) in (0, -signal.SIGTERM)
    paths = [assert_span(span, None)["url.path"] for span in receiver.spans() if span["kind"] == "SERVER"]
    assert [path for path in paths if path.startswith("/items/")] == [f"/items/{number}" for number in range(20)]


def test_a_disconnect_behind_uvicorn_is_an_error(receiver: ReceivedSpans) -> None:
    """A client that closes its connection in the middle of a stream is found out by a real server too."""
    began = perf_counter()
    with uvicorn_process(receiver) as (url, child):
        with connected(url) as connection:
            connection.sendall(b"GET /stream?chunks=1000&pause=0.05 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"x-trace-id" in connection.recv(65536)
        os.kill(child.pid, signal.SIGTERM)
        child.wait(60)
    elapsed = perf_counter() - began
    [span] = [span for span in receiver.spans() if span["name"] == "GET /stream"]
    assert_span(span, None, error="client_disconnected", within=elapsed)
