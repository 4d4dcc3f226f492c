"""What the live tail costs and what it sends, however many tabs are open and whoever does not read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from causal_otel.collector.web import live_feed
from causal_otel.collector.web.live_feed import SHOWN, Feed, last
from causal_otel.collector.web.live_filter import LiveFilter, wanted
from tests.collector.oracle import MemoryReader
from tests.collector.spans import SECOND, merged, span, trace_id, traces
from tests.collector.web.browser import serving
from tests.collector.web.sites import site
from tests.waiting import wait_until

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Recent

ALL = wanted({})
PATIENCE = 60.0


def made(trace: int, name: str = "work", *, duration: int = 1000, error: bool = False) -> TracesData:
    """A trace of one span, of now."""
    return traces(span(name, trace=trace, start=time.time_ns() - SECOND, duration=duration, error=error))


class CountingReader(MemoryReader):
    """Counts what it is asked."""

    def __init__(self, messages: Iterable[TracesData] = ()) -> None:
        super().__init__(messages)
        self.asked: Counter[str] = Counter()
        self.fails = False

    def recent(self, limit: int, **how: Any) -> Recent:
        self.asked["recent"] += 1
        if self.fails:
            raise RuntimeError("the disk is gone")
        return super().recent(limit, **how)

    def traces(self, trace_ids: Iterable[bytes], *, within: tuple[int, int] | None = None) -> Iterator[TracesData]:
        for trace in super().traces(trace_ids):
            self.asked["trace"] += 1
            yield trace


async def _until(events: AsyncIterator[str], part: str) -> list[str]:
    """What comes until it has this in it."""
    found = []
    async with asyncio.timeout(PATIENCE):
        async for each in events:
            found.append(each)
            if part in each:
                return found
    raise AssertionError(f"the stream has ended without {part}: {found}")


async def _closed(*streams: AsyncIterator[str]) -> None:
    for each in streams:
        await each.aclose()  # type: ignore[attr-defined]


def _id(number: int) -> str:
    return f'id="t{trace_id(number).hex()}"'


@pytest.mark.asyncio
async def test_a_trace_is_read_once_for_all_tabs() -> None:
    """However many tabs are open, the store is asked once at a time, and a trace is read once for all filters."""
    reader = CountingReader([made(1)])
    feed = Feed(reader)
    filters = [ALL, wanted({"operation": "work"}), wanted({"first": "worst"})]
    streams = [feed.events(filters[number % 3]) for number in range(60)]
    await asyncio.gather(*(_until(each, _id(1)) for each in streams))
    reader.asked.clear()
    reader.add(made(2))
    await asyncio.gather(*(_until(each, _id(2)) for each in streams))
    assert reader.asked["trace"] == 1
    assert reader.asked["recent"] <= 3  # the store was asked again while some tabs were still waiting
    await _closed(*streams)


@pytest.mark.asyncio
async def test_nobody_asks_the_store_when_all_have_left() -> None:
    """The feed ends with its last tab, and begins again with the next."""
    reader = CountingReader()
    feed = Feed(reader)
    stream = feed.events(ALL)
    await _until(stream, "nothing new")
    running = asyncio.all_tasks()
    await _closed(stream)
    await wait_until_done(running)
    asked = reader.asked["recent"]
    stream = feed.events(ALL)
    reader.add(made(5))
    await _until(stream, _id(5))
    assert reader.asked["recent"] > asked
    await _closed(stream)


async def wait_until_done(tasks: set[asyncio.Task[Any]]) -> None:
    """All of them but the test's own have ended."""
    others = tasks - {asyncio.current_task()}
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait(others) if others else None


@pytest.mark.asyncio
async def test_what_does_not_fit_is_counted_after_it_was_filtered() -> None:
    """Of what matches, the rest is told as so many more a second; what does not match is no part of it."""
    reader = CountingReader()
    feed = Feed(reader)
    some, everything = feed.events(wanted({"operation": "rare"})), feed.events(ALL)
    await asyncio.gather(_until(some, "nothing new"), _until(everything, "nothing new"))
    reader.add(merged(*(made(100 + number) for number in range(4 * SHOWN)), made(1, "rare")))
    (*_, few), (*_, many) = await asyncio.gather(_until(some, _id(1)), _until(everything, "event: more"))
    assert "event: more" not in few
    assert many.count('<li class="trace') == SHOWN
    more, unseen = map(int, many.partition("event: more\ndata: ")[2].split())
    assert unseen == 0
    assert 0 < more <= 3 * SHOWN + 1
    await _closed(some, everything)


@pytest.mark.asyncio
async def test_a_look_takes_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What there was no time for is counted, not looked at; the newest are looked at first."""
    monkeypatch.setattr(live_feed, "_BUDGET_SECONDS", 0.0)
    reader = CountingReader()
    feed = Feed(reader)
    stream = feed.events(wanted({"operation": "work"}))
    await _until(stream, "nothing new")
    reader.add(merged(*(made(number) for number in range(1, 301))))
    (*_, told) = await _until(stream, "event: more")
    assert told.count('<li class="trace') == 1
    assert _id(300) in told
    more, unseen = map(int, told.partition("event: more\ndata: ")[2].split())
    assert more == 0
    assert 0 < unseen <= 299
    await _closed(stream)


@pytest.mark.asyncio
async def test_who_does_not_read_keeps_one_text_and_is_told_what_it_has_missed() -> None:
    """A tab that stands still has the newest text waiting and no more; what came before counts as more."""
    tab = live_feed._Tab()
    for number in range(5):
        tab.put(live_feed._Batch(f"{number}", sent=10, more=number, unseen=1, seconds=1.0))
    batch = await tab.take()
    assert (batch.rows, batch.sent, batch.more, batch.unseen, batch.seconds) == ("4", 10, 10 + 40, 5, 5.0)
    assert not tab.ready.is_set()


@pytest.mark.long
def test_a_client_that_does_not_read_costs_nobody() -> None:
    """Beside connections that never take anything from their sockets, another is served; they leave nothing."""
    reader = CountingReader()
    with serving(site(reader)) as url:
        address = urlsplit(url)
        stalled = [socket.create_connection((address.hostname or "", address.port or 0)) for _ in range(10)]
        for each in stalled:
            each.sendall(b"GET /ui/live HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        with httpx.stream("GET", f"{url}/ui/live", timeout=PATIENCE, trust_env=False) as answer:
            lines = answer.iter_lines()
            for number in range(1, 4):
                reader.add(merged(*(made(1000 * number + each) for each in range(SHOWN))))
                wanted_line = _id(1000 * number + SHOWN - 1)
                assert any(wanted_line in line for line in lines)
        for each in stalled:
            each.close()
        asked = -1

        def is_quiet() -> bool:
            nonlocal asked
            before, asked = asked, reader.asked["recent"]
            time.sleep(1.5)  # longer than between two looks
            return before == asked

        wait_until(is_quiet, seconds=PATIENCE)


@pytest.mark.asyncio
async def test_streams_end_when_the_store_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; a browser asks again, and is served once the store can be read again."""
    reader = CountingReader()
    feed = Feed(reader)
    stream = feed.events(ALL)
    await _until(stream, "nothing new")
    reader.fails = True
    async with asyncio.timeout(PATIENCE):
        async for _ in stream:
            pass
    assert "the live page could not be kept up to date" in caplog.text
    reader.fails = False
    again = feed.events(ALL)
    await _until(again, "nothing")
    reader.add(made(7))
    await _until(again, _id(7))
    await _closed(again)


@pytest.mark.asyncio
async def test_there_are_only_so_many_tabs_and_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that there is no room, and there is again once some have left."""
    monkeypatch.setattr(live_feed, "_MOST_TABS", 3)
    monkeypatch.setattr(live_feed, "_MOST_FILTERS", 2)
    feed = Feed(MemoryReader())
    other, third = wanted({"errors": "1"}), wanted({"service": "x"})
    streams = [feed.events(each) for each in (ALL, other)]
    for each in streams:
        await anext(each)
    assert feed.has_room(ALL)
    assert not feed.has_room(third)
    streams.append(feed.events(ALL))
    await anext(streams[-1])
    assert not feed.has_room(ALL)
    await _closed(*streams)
    assert feed.has_room(third)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"service": "shop"},
        {"errors": "1"},
        {"service": "shop", "errors": "1"},
        {"operation": "r"},
        {"shortest": "5us"},
    ],
)
def test_the_first_traces_are_those_that_match(parameters: dict[str, str]) -> None:
    """What is shown at first is what the filter wants of all that was received, the newest first."""
    kinds = [("work", 1000, False), ("rare", 9000, True), ("read", 2000, False)]
    reader = MemoryReader(
        [made(n, kinds[n % 3][0], duration=kinds[n % 3][1], error=kinds[n % 3][2]) for n in range(1, 40)]
    )
    asked: LiveFilter = wanted(parameters)
    expected = [n for n in range(39, 0, -1) if asked.holds(next(iter(reader.traces([trace_id(n)]))))]
    found = last(reader, asked)
    assert [each.trace_id for each in found.traces] == [trace_id(n) for n in expected]
    assert found.looked_at is None
