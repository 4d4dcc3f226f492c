"""Large traces are kept for what is clicked on next; how they are read in turn is tested in ``test_reading.py``."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.responses import Response
from starlette.testclient import TestClient

from causal_otel.collector.analysis import TraceView, build
from causal_otel.collector.reading import LARGE, Reading
from causal_otel.collector.web import trace_page, views
from causal_otel.collector.web.views import Shown, Views
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import Builder, large, shop
from tests.collector.web.trace_site import application

_ID = bytes.fromhex("1a" * 16)


def _large(trace_id: bytes = _ID) -> MemoryReader:
    return MemoryReader([large(LARGE + 100, trace_id.hex())])


def _as_it_is(shown: Shown | None) -> Shown | None:
    return shown


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
    assert client.get(f"{path}/find", params={"text": "r-700"}).json()["stops"]
    assert client.get(path, params={"toggle": Builder.id(1)}, follow_redirects=False).status_code == 303
    assert len(built) == 1
    assert client.get(path).status_code == 200  # a page shows what has come since
    assert len(built) == 2


@pytest.mark.asyncio
async def test_clicks_at_once_build_one() -> None:
    """Of those who look at spans of a large trace at once, which nobody has been shown, the first one builds it."""
    found = Views(Reading(_large()))
    shown = await asyncio.gather(*(found.recent(_ID, _as_it_is) for _ in range(8)))
    assert found.built == 1
    assert shown[0] is not None
    assert all(each is shown[0] for each in shown)


@pytest.mark.asyncio
async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spans that are kept are few, those looked at last; small traces are not kept."""
    monkeypatch.setattr(views, "_KEPT_SPANS", 3 * LARGE)
    ids = [bytes([number]) * 16 for number in range(1, 6)]
    found = Views(Reading(MemoryReader([*(large(LARGE, each.hex()) for each in ids), shop("3c" * 16)])))
    for each in (*ids, bytes.fromhex("3c" * 16)):
        await found.recent(each, _as_it_is)
    assert list(found._kept) == ids[-3:]
    before = found.built
    await found.recent(ids[-1], _as_it_is)
    assert found.built == before
    assert await found.recent(bytes(16), _as_it_is) is None


@pytest.mark.asyncio
async def test_what_is_kept_goes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a trace is built anew, and it is let go of though nobody asks any more."""
    monkeypatch.setattr(views, "_KEPT_SECONDS", 0.05)
    found = Views(Reading(_large()))
    shown = await found.recent(_ID, _as_it_is)
    assert shown is not None
    view = weakref.ref(shown.view)
    del shown
    deadline = time.monotonic() + 60
    while view() is not None:
        assert time.monotonic() < deadline, "it is kept for ever"
        gc.collect()
        await asyncio.sleep(0.01)
    assert await found.recent(_ID, _as_it_is) is not None
    assert found.built == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["", ".json", f"/span/{Builder.id(7)}", "/find?text=r-7"])
async def test_spans_are_taken_in_while_pages_are_drawn(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of a trace is made in threads, beside the event loop that takes spans in."""
    threads = set()

    def made(*arguments: object, **more: object) -> Response:
        threads.add(threading.current_thread())
        return Response()

    for name in ("page", "Response", "JSONResponse"):
        monkeypatch.setattr(trace_page, name, made)
    transport = httpx.ASGITransport(application(_large()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        await client.get(f"/trace/{_ID.hex()}{path}")
    assert threads
    assert threading.current_thread() not in threads
