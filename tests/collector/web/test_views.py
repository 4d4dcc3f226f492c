"""Large traces are built one at a time, and kept for what is clicked on next."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.testclient import TestClient

from causal_otel.collector.analysis import TraceView, build
from causal_otel.collector.web import views
from causal_otel.collector.web.trace_pages import routes
from causal_otel.collector.web.views import LARGE, Views
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import Builder, large, shop
from tests.collector.web.test_trace_page import application

_ID = bytes.fromhex("1a" * 16)


def _large(trace_id: bytes = _ID) -> MemoryReader:
    return MemoryReader([large(LARGE + 100, trace_id.hex())])


def test_a_click_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a large trace's page its spans' details, a search in it, and folding take what the page has built."""
    built = []

    def counted(message: TracesData) -> TraceView:
        built.append(message)
        return build(message)

    monkeypatch.setattr("causal_otel.collector.web.views.build", counted)
    client = TestClient(application(_large()))
    path = f"/trace/{_ID.hex()}"
    assert client.get(path).status_code == 200
    assert len(built) == 1
    for number in (7, 70, 700):
        assert f"r-{number}" in client.get(f"{path}/span/{Builder.id(number)}").text
    assert client.get(f"{path}/find", params={"text": "r-700"}).json()["spans"]
    assert client.get(path, params={"toggle": Builder.id(1)}, follow_redirects=False).status_code == 303
    assert len(built) == 1
    assert client.get(path).status_code == 200  # a page shows what has come since
    assert len(built) == 2


def test_large_ones_are_built_one_at_a_time() -> None:
    """While one is shown, another large one waits, and a small one does not; both are shown in the end."""
    reader = MemoryReader([large(LARGE, _ID.hex()), large(LARGE, "2b" * 16), shop("3c" * 16)])
    found, entered = Views(reader), threading.Event()

    def second() -> None:
        with found.fresh(bytes.fromhex("2b" * 16)) as shown:
            assert shown is not None
            entered.set()

    with found.fresh(_ID) as shown:
        assert shown is not None
        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        with found.fresh(bytes.fromhex("3c" * 16)) as small:
            assert small is not None
        assert not entered.is_set()
        assert found.built == 2
    thread.join(60)
    assert entered.is_set()


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spans that are kept are few, those looked at last; small traces are not kept."""
    monkeypatch.setattr(views, "_KEPT_SPANS", 3 * LARGE)
    ids = [bytes([number]) * 16 for number in range(1, 6)]
    found = Views(MemoryReader([*(large(LARGE, each.hex()) for each in ids), shop("3c" * 16)]))
    for each in (*ids, bytes.fromhex("3c" * 16)):
        found.recent(each)
    assert list(found._kept) == ids[-3:]
    before = found.built
    found.recent(ids[-1])
    assert found.built == before
    assert found.recent(bytes(16)) is None


def test_what_is_kept_goes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a trace is built anew, and it is let go of though nobody asks any more."""
    monkeypatch.setattr(views, "_KEPT_SECONDS", 0.05)
    found = Views(_large())
    shown = found.recent(_ID)
    assert shown is not None
    view = weakref.ref(shown.view)
    del shown
    deadline = time.monotonic() + 60
    while view() is not None:
        assert time.monotonic() < deadline, "it is kept for ever"
        gc.collect()
        time.sleep(0.01)
    assert found.recent(_ID) is not None
    assert found.built == 2


def test_spans_are_taken_in_while_pages_are_drawn() -> None:
    """The routes of pages are not async: they are drawn in threads, beside the event loop that takes spans in."""
    import inspect

    drawing = [route for route in routes(MemoryReader()) if "trace" in getattr(route, "path", "")]
    assert len(drawing) == 4
    assert not any(inspect.iscoroutinefunction(route.endpoint) for route in drawing)  # type: ignore[attr-defined]
