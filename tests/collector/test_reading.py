"""Large traces are read one at a time, whoever asks, and what is small does not wait for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette

from causal_otel.collector.jaeger import legacy, v3
from causal_otel.collector.query import Summary
from causal_otel.collector.reading import LARGE, LARGE_DOCUMENT, Reading
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from causal_otel.collector.web import pages
from tests.collector.oracle import MemoryReader
from tests.collector.spans import NOON, request, span, trace_id, traces
from tests.collector.web.sample_traces import Builder, large, shop

_BIG, _OTHER, _SMALL = "1a" * 16, "2b" * 16, "3c" * 16
_THREADS = 4
_SEARCH = "/api/traces?service=service-0&start=0&end=9000000000000000"
_V3_TIMES = "query.startTimeMin=2000-01-01T00:00:00Z&query.startTimeMax=2200-01-01T00:00:00Z"

_WHOLE = (
    f"/trace/{_BIG}",
    f"/trace/{_BIG}?toggle={Builder.id(1)}",
    f"/trace/{_BIG}.json",
    f"/trace/{_BIG}/span/{Builder.id(7)}",
    f"/trace/{_BIG}/find?text=r-7",
    f"/compare?a={_BIG}&b={_SMALL}",
    f"/api/traces/{_BIG}",
    f"/api/traces?traceID={_BIG}",
    _SEARCH,
    f"/api/v3/traces/{_BIG}",
    f"/api/v3/traces?{_V3_TIMES}",
)
"""All that reads the large trace whole."""

_LISTS = (
    "/?start=2000-01-01&end=2200-01-01",
    "/search.json?start=2000-01-01&end=2200-01-01",
    "/live",
    f"/api/v3/trace-summaries?{_V3_TIMES}",
)
"""All that reads it for a line of a list."""

_SMALL_ONES = (
    f"/trace/{_SMALL}",
    f"/trace/{_SMALL}.json",
    f"/trace/{_SMALL}/span/{Builder.id(1)}",
    f"/trace/{_SMALL}/find?text=checkout",
    f"/api/traces/{_SMALL}",
    f"/api/v3/traces/{_SMALL}",
    "/api/services",
    "/operations",
    "/map",
)


class _Gate(MemoryReader):
    """Reading its large trace, whole or for a list, waits for ``go``; it counts how many do and ever did so at once."""

    def __init__(self, gated: str) -> None:
        super().__init__([large(LARGE, _BIG), large(LARGE, _OTHER), shop(_SMALL)])
        self._gated = gated
        self.begun, self.go = threading.Event(), threading.Event()
        self.read = self.most = self._under_way = 0
        self._counts = threading.Lock()

    def trace(self, trace_id: bytes) -> TracesData | None:
        if self._gated == "whole" and trace_id.hex() == _BIG:
            self._wait()
        return super().trace(trace_id)

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        if self._gated == "lists" and isinstance(trace_ids, tuple) and bytes.fromhex(_BIG) in trace_ids:
            self._wait()
        return super().summaries(trace_ids)

    def _wait(self) -> None:
        with self._counts:
            self.read += 1
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        self.begun.set()
        assert self.go.wait(120)
        with self._counts:
            self._under_way -= 1

    async def is_read(self) -> None:
        """Return when somebody waits for ``go``, and all others have got as far as they can."""
        assert await asyncio.to_thread(self.begun.wait, 60)
        for _ in range(100):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _asking(reader: _Gate) -> AsyncIterator[httpx.AsyncClient]:
    """A client of pages and APIs over ``reader``, which have as many threads as a collector's."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    reading = Reading(reader)
    routes = [*legacy.routes(reading), *v3.routes(reading), *pages.routes(reading, status=dict, put=None)]
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as client:
        try:
            async with asyncio.timeout(120):
                yield client
        finally:
            reader.go.set()


def _statuses(answers: Iterable[httpx.Response]) -> set[int]:
    return {answer.status_code for answer in answers}


@pytest.mark.long
@pytest.mark.asyncio
async def test_whoever_reads_a_large_trace_takes_turns() -> None:
    """While one of many readers of a large trace is at work, no other is, and everything small is answered."""
    reader = _Gate("whole")
    async with _asking(reader) as client, asyncio.TaskGroup() as group:
        waiting = [group.create_task(client.get(path)) for path in _WHOLE]
        await reader.is_read()
        small = [await client.get(path) for path in (*_SMALL_ONES, *_LISTS)]
        assert _statuses(small) == {200}
        assert reader.read == 1
        assert not any(task.done() for task in waiting)
        reader.go.set()
    assert _statuses(task.result() for task in waiting) == {200, 303}
    assert reader.most == 1
    assert reader.read > 5


@pytest.mark.asyncio
async def test_lists_take_turns_as_well() -> None:
    """While a list with a large trace is made, no other such list is; whole traces and what is small are answered."""
    reader = _Gate("lists")
    async with _asking(reader) as client, asyncio.TaskGroup() as group:
        waiting = [group.create_task(client.get(path)) for path in (*_LISTS, "/compare") * 2]
        await reader.is_read()
        assert _statuses([await client.get(path) for path in (*_SMALL_ONES, f"/trace/{_BIG}")]) == {200}
        assert reader.read == 1
        assert not any(task.done() for task in waiting)
        reader.go.set()
    assert _statuses(task.result() for task in waiting) == {200}
    assert (reader.read, reader.most) == (len(waiting), 1)


@pytest.mark.asyncio
async def test_a_click_does_not_wait() -> None:
    """A span of a trace that was shown lately has its details while another large trace is read."""
    reader = _Gate("whole")
    async with _asking(reader) as client, asyncio.TaskGroup() as group:
        assert (await client.get(f"/trace/{_OTHER}")).status_code == 200
        waiting = group.create_task(client.get(f"/trace/{_BIG}"))
        await reader.is_read()
        assert "r-7" in (await client.get(f"/trace/{_OTHER}/span/{Builder.id(7)}")).text
        assert not waiting.done()
        reader.go.set()


@pytest.mark.asyncio
async def test_large_documents_take_turns_with_traces() -> None:
    """A large document that is only to be transformed waits for a large trace; a small one does not."""
    documents = [otlp_json.dumps(trace) for trace in (large(LARGE), shop())]
    assert [len(each) >= LARGE_DOCUMENT for each in documents] == [True, False]
    reader = _Gate("whole")
    async with _asking(reader) as client, asyncio.TaskGroup() as group:
        group.create_task(client.get(f"/trace/{_BIG}"))
        await reader.is_read()
        waiting = group.create_task(client.post("/api/transform", content=documents[0]))
        assert (await client.post("/api/transform", content=documents[1])).status_code == 200
        assert not waiting.done()
        reader.go.set()
    assert waiting.result().status_code == 200


def test_a_store_tells_how_large_traces_are(tmp_path: Path) -> None:
    """The number of spans is that of all days together; traces that are not there have none."""
    writer, day = Writer(tmp_path), 86_400 * 10**9
    writer.start()
    with Reader(tmp_path) as reader:
        spans = [span(trace=number, start=NOON + at * day) for number, at in ((1, 0), (1, 0), (1, 1), (2, 1))]
        writer.put(request(traces(*spans)))
        writer.close(60)
        assert reader.span_count([trace_id(1)]) == len(spans) - 1
        assert reader.span_count([trace_id(1), trace_id(2), trace_id(3)]) == len(spans)
        assert reader.span_count([trace_id(3)]) == reader.span_count([]) == 0
