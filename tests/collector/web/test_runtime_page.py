"""The page of the runtime: stalls, waits for the loop, pools, queues, and tasks that were cancelled or not awaited."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.testclient import TestClient

from causal_otel.collector.attributes import plain_dict, service_name
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.templating import count
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, MINUTE, span, traces
from tests.collector.web.browser import screenshot
from tests.collector.web.sites import site
from tests.collector.web.trace_site import follow
from tests.collector.web.traffic import EVIL

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

POOL = {"db.system.name": "postgresql", "server.address": "db.internal", "server.port": 5432, "db.namespace": "shop"}
DASH = "–"


def held_up(now: int, number: int, chance: random.Random) -> Iterator[Span]:
    """A request that waits for its loop, a query that waits for a pool, a stall, a message, and a task."""
    start = now - MINUTE - chance.randrange(20 * HOUR)

    def part(name: str, id: int, tags: dict[str, Any], kind: int = Span.SPAN_KIND_INTERNAL, **more: Any) -> Span:
        given = {"trace": number, "id": id, "parent": 0 if id == 1 else 1, "start": start, "kind": kind, **more}
        return span(name, tags=tags, duration=chance.randrange(50, 3000) * MILLISECOND, **given)

    waited = {"causal.loop.ready.wait": chance.random(), "causal.loop.blocked": chance.random()}
    yield part("GET /", 1, waited, Span.SPAN_KIND_SERVER)
    pool = {"causal.pool.wait": chance.random(), "causal.pool.size": chance.choice([4, 8])}
    pool["causal.pool.waiting"] = chance.randrange(6)
    yield part("SELECT", 2, {**pool, **POOL, "causal.loop.blocked": 0.02}, Span.SPAN_KIND_CLIENT)
    yield part("loop blocked", 3, {"causal.block.frame": chance.choice(["report.py:3 render()", "bill.py:9 add()"])})
    waited_for = chance.random() + 0.1
    queue: dict[str, Any] = {
        "causal.queue.wait": waited_for,
        "messaging.destination.name": chance.choice(["mail", "bills"]),
    }
    if number % 3:
        queue["causal.prefetch.wait"] = waited_for / 2
    name = f"process {queue['messaging.destination.name']}"
    yield part(name, 4, queue, Span.SPAN_KIND_CONSUMER, error=number % 4 == 0)
    if number % 2:
        yield part("letter", 5, {"causal.task.unawaited": True})
        yield part("load", 6, {"causal.cancelled": True})


@pytest.fixture(scope="module")
def reader() -> MemoryReader:
    """Requests of a day, of two services."""
    chance, now = random.Random(5), time.time_ns()
    return MemoryReader(
        traces(*held_up(now, number, chance), service="shop" if number % 5 else "bank") for number in range(1, 60)
    )


def spans_with(reader: MemoryReader, service: str, key: str, **also: Any) -> list[tuple[Any, Span]]:
    """What spans of a service tell of a key, each with its span; ``a__b`` is another attribute that is so."""
    found = []
    for trace_id in reader.trace_ids(0, 2**63 - 1):
        message = reader.trace(trace_id)
        assert message is not None
        for group in message.resource_spans:
            for each in group.scope_spans[0].spans:
                told = plain_dict(each.attributes)
                same = all(told.get(name.replace("__", ".")) == value for name, value in also.items())
                if key in told and same and service_name(group.resource) == service:
                    found.append((told[key], each))
    return found


def figures(seconds: list[tuple[float, Span]]) -> list[str]:
    """How many, their mean and the longest, as pages have them."""
    amounts = [round(each * 1e9) for each, _ in seconds]
    return [count(len(amounts)), format_duration(sum(amounts) // len(amounts)), format_duration(max(amounts))]


def rows(page: Any, table: str) -> dict[tuple[str, str], list[str]]:
    """The cells with figures of each row of a table, by what its first cell says."""
    found = {}
    for row in page.locator(f"#{table} tbody tr").all():
        name = row.locator(".frame-name")
        key = name.inner_text() if name.count() else "", row.locator(".service").inner_text().split()[0]
        found[key] = [" ".join(each.split()) for each in row.locator("td[data-label]").all_inner_texts()]
    return found


@pytest.mark.parametrize("javascript", [True, False])
def test_all_figures_are_those_of_the_spans(
    reader: MemoryReader, serve: Callable[[ASGIApp], str], open_page: OpenPage, javascript: bool
) -> None:
    """Of stalls, waits for the loop, pools, queues and tasks, for each service."""
    page = open_page(f"{serve(site(reader))}/runtime?lookback=24h", javascript=javascript)
    screenshot(page, f"runtime-{javascript}")
    stalls, lags, pools = rows(page, "stalls"), rows(page, "lag"), rows(page, "pools")
    queues, tasks = rows(page, "queues"), rows(page, "tasks")
    for service in ("shop", "bank"):
        by_frame: defaultdict[str, list[tuple[float, Span]]] = defaultdict(list)
        for frame, each in spans_with(reader, service, "causal.block.frame"):
            by_frame[frame].append(((each.end_time_unix_nano - each.start_time_unix_nano) / 1e9, each))
        assert {key: cells for key, cells in stalls.items() if key[1] == service} == {
            (frame, service): figures(found) for frame, found in by_frame.items()
        }
        ready = spans_with(reader, service, "causal.loop.ready.wait")
        blocked = spans_with(reader, service, "causal.loop.blocked")
        own = [(value, each) for value, each in blocked if each.kind == Span.SPAN_KIND_SERVER]
        assert lags["", service] == [*figures(ready), *figures(own)]
        waits = spans_with(reader, service, "causal.pool.wait")
        others = [value for value, _ in spans_with(reader, service, "causal.pool.waiting")]
        size = max(value for value, _ in spans_with(reader, service, "causal.pool.size"))
        before = f"{round(sum(others) / len(others), 1)}, at most {max(others)}"
        assert pools["postgresql db.internal:5432/shop", service] == [str(size), *figures(waits), before]
        for queue in ("mail", "bills"):
            named = {"messaging__destination__name": queue}
            waited = spans_with(reader, service, "causal.queue.wait", **named)
            held = figures(spans_with(reader, service, "causal.prefetch.wait", **named))
            number, mean, longest = figures(waited)
            failed = sum(each.status.code == 2 for _, each in waited)
            assert queues[queue, service] == [number, str(failed), mean, longest, f"{held[1]}, at most {held[2]}"]
        cancelled = len(spans_with(reader, service, "causal.cancelled"))
        unawaited = len(spans_with(reader, service, "causal.task.unawaited"))
        assert tasks["load", service] == [str(cancelled), "0", "open"]
        assert tasks["letter", service] == ["0", str(unawaited), "open"]


def test_each_row_leads_to_the_trace_with_the_largest_and_to_a_search(
    reader: MemoryReader, serve: Callable[[ASGIApp], str], open_page: OpenPage
) -> None:
    """The figure opens that trace, and the name finds spans like it."""
    page = open_page(f"{serve(site(reader))}/runtime?lookback=24h&service=bank")
    assert {key[1] for table in ("stalls", "lag", "pools", "queues", "tasks") for key in rows(page, table)} == {"bank"}
    longest = max(spans_with(reader, "bank", "causal.pool.wait"), key=lambda each: each[0])[1]
    link = page.locator('#pools td[data-label="Longest"] a')
    assert link.get_attribute("href") == f"/trace/{longest.trace_id.hex()}"
    found = [each for each, _ in spans_with(reader, "bank", "causal.pool.wait")]
    follow(page, "#pools .frame-name")
    mean = sum(round(each * 1e9) for each in found) // len(found)
    assert page.locator(".trace").count() == sum(round(each * 1e9) >= mean for each in found)


@pytest.mark.long
@pytest.mark.parametrize(
    ("table", "link", "key", "also"),
    [
        ("stalls", ".frame-name", "causal.block.frame", {}),
        ("queues", '[data-label="Failed"] a', "causal.queue.wait", {"failed": True}),
        ("tasks", '[data-label="Cancelled"] a', "causal.cancelled", {}),
        ("tasks", '[data-label="Not awaited"] a', "causal.task.unawaited", {}),
    ],
)
def test_searches_find_what_was_counted(
    reader: MemoryReader, table: str, link: str, key: str, also: dict[str, Any],
    serve: Callable[[ASGIApp], str], open_page: OpenPage,
) -> None:  # fmt: skip
    """As many traces as the row has spans, each of which is in a trace of its own."""
    page = open_page(f"{serve(site(reader))}/runtime?lookback=24h&service=bank")
    row = page.locator(f"#{table} tbody tr", has=page.locator(link)).first
    cell = {"stalls": "Stalls", "queues": "Failed"}.get(table, link.split('"')[1] if '"' in link else "")
    number = int(row.locator(f'td[data-label="{cell}"]').inner_text())
    with page.expect_navigation():
        row.locator(link).first.click()
    assert page.locator(".trace").count() == number


def test_failures_of_a_task_of_several_queues_are_not_given_to_one() -> None:
    """Which queue the failed message came from is not known, and the page says that."""
    now = time.time_ns() - MINUTE
    both = [
        span(
            "run", trace=number, start=now, kind=Span.SPAN_KIND_CONSUMER, error=True,
            tags={"causal.queue.wait": 0.5, "messaging.destination.name": queue},
        )
        for number, queue in ((1, "mail"), (2, "bills"))
    ]  # fmt: skip
    text = TestClient(site(MemoryReader([traces(*both)]))).get("/runtime").text
    assert text.count("not known</span>") == 2


def test_what_spans_say_is_no_markup(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Frames, pools, queues, operations and services are shown as they are."""
    tags = {
        "causal.block.frame": EVIL, "causal.pool.wait": 0.5, "causal.pool.size": 4, "server.address": EVIL,
        "db.system.name": EVIL[:20], "causal.queue.wait": 0.5, "messaging.destination.name": EVIL,
        "causal.cancelled": True, "causal.task.unawaited": True, "causal.loop.ready.wait": 0.5,
    }  # fmt: skip
    evil = traces(span(EVIL, start=time.time_ns() - MINUTE, tags=tags), service=EVIL)
    page = open_page(f"{serve(site(MemoryReader([evil])))}/runtime")
    names = page.locator(".frame-name").all_inner_texts()
    assert len(names) == 4
    assert all("onerror" in each for each in names)
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("window.evil") is None


def test_where_nothing_was_held_up_the_page_says_so() -> None:
    """And where nothing was received, how to send spans."""
    well = MemoryReader([traces(span(start=time.time_ns() - MINUTE))])
    assert "Nothing was held up" in TestClient(site(well)).get("/runtime").text
    assert "Nothing was held up" not in TestClient(site(MemoryReader())).get("/runtime").text
