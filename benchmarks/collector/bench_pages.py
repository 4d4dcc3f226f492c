"""The trace page of 5,000 spans: how long the server draws it, and until Chromium answers to keys on it."""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from causal_otel.collector.matching import summary
from causal_otel.collector.query import Linking, Recent
from causal_otel.collector.reading import Reading
from causal_otel.collector.web import compare_page, import_page, trace_page
from causal_otel.collector.web.templating import STATIC
from tests.collector.web.browser import chromium, open_page, serve
from tests.collector.web.sample_traces import large

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Summary
    from tests.collector.web.browser import OpenPage

__all__ = ["chromium", "open_page", "serve"]

_SPANS = 5_000
_ROUNDS = 7
_ID = "1a" * 16

_TIMED = (
    "first byte",
    "response read",
    "first paint",
    "parsed",
    "scripts have run, which makes the page interactive",
)
_TIMES = """() => {
  const loading = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return [loading.responseStart, loading.responseEnd, paint.startTime, loading.domInteractive,
    loading.domContentLoadedEventEnd];
}"""


class _Reader:
    """Has one trace, and nothing else that these pages ask for."""

    def __init__(self, message: TracesData) -> None:
        self._message = message

    def trace(self, trace_id: bytes) -> TracesData | None:
        return self._message if trace_id.hex() == _ID else None

    def logs(self, trace_id: bytes, *, most: int = 5000) -> None:
        """It has none."""

    def linked_from(self, trace_id: bytes, limit: int = 200) -> Linking:
        return Linking()

    def span_count(self, trace_ids: Iterable[bytes]) -> int:
        return sum(_SPANS for trace_id in trace_ids if trace_id.hex() == _ID)

    def recent(self, limit: int) -> Recent:
        return Recent((bytes.fromhex(_ID),)[:limit], 0, None)

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        return [summary(self._message) for _ in trace_ids]

    def services(self) -> list[str]:
        return [f"service-{number}" for number in range(12)]


def _application() -> Starlette:
    reading = Reading(_Reader(large(_SPANS, _ID)))  # type: ignore[arg-type]
    pages = [route for part in (trace_page, compare_page, import_page) for route in part.routes(reading)]
    return Starlette(routes=[*pages, Mount("/static", StaticFiles(directory=STATIC))])


def _serve(listener: socket.socket) -> None:
    uvicorn.Server(uvicorn.Config(_application(), log_level="warning", lifespan="off")).run([listener])


@pytest.fixture(scope="module")
def app() -> Starlette:
    """The pages, with one large trace."""
    return _application()


@pytest.fixture
def base() -> Iterator[str]:
    """Where a process of its own, as a collector is, serves them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(listener,), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.join(10)


def _say(what: str, seconds: list[float]) -> None:
    print(f"{what}: {statistics.median(seconds) * 1000:.0f} ms (best {min(seconds) * 1000:.0f})")


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("page", f"/trace/{_ID}"),
        ("details of a span", f"/trace/{_ID}/span/00000000000003e8"),
        ("find", f"/trace/{_ID}/find?text=table_3"),
        ("JSON", f"/trace/{_ID}.json"),
        ("comparison with itself", f"/compare?a={_ID}&b={_ID}"),
    ],
)
def test_server(app: Starlette, what: str, path: str) -> None:
    """What the server takes to answer."""
    client = TestClient(app)
    seconds, processor, size = [], [], 0
    for _ in range(_ROUNDS):
        started, used = time.perf_counter(), time.process_time()
        answer = client.get(path)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
        assert answer.status_code == 200
        size = len(answer.content)
    _say(f"{what} of {_SPANS} spans, {size / 1e6:.2f} MB", seconds)
    _say("  of the processor", processor)


def test_interactive(base: str, open_page: OpenPage) -> None:
    """From the request to a page that acts on keys, and the parts of that; a fresh browser context each time."""
    rounds: list[list[float]] = []
    for _ in range(_ROUNDS):
        page = open_page(f"{base}/import")
        page.goto(f"{base}/trace/{_ID}")
        page.keyboard.press("j")
        page.wait_for_function("() => document.querySelectorAll('.row')[1].classList.contains('current')")
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        rounds.append([each / 1000 for each in page.evaluate(_TIMES)])
        page.context.close()
    for what, seconds in zip(_TIMED, zip(*rounds, strict=True), strict=True):
        _say(what, list(seconds))
