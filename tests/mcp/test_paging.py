"""Lists come page by page: all of it, nothing twice, whatever the size of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from causal_otel.collector.mcp.answers import MOST_BYTES, Refused
from causal_otel.collector.mcp.paging import Page, call_of, read_cursor
from causal_otel.collector.mcp.tools import TOOLS
from causal_otel.collector.query import Found
from tests.mcp.agents import Agent, without_notice
from tests.mcp.traces import DEEP, ITEMS, LARGE, LARGE_SPANS, TIME, WHOLE_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Query, Summary


@pytest.mark.parametrize("limit", [7, 50])
def test_a_search_in_pages(agent: Agent, limit: int) -> None:
    """Every trace is found once, in the order of the search; of many more it is told that there are at least some."""
    wanted = {"operation": '"GET /item"', **WHOLE_TIME}
    pages = agent.pages("search_traces", "traces", limit=limit, **wanted)
    assert [row["trace_id"] for page in pages for row in page] == [f"{number:032x}" for number in range(ITEMS, 0, -1)]
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert agent.ask("search_traces", limit=limit, **wanted)["left_out"] == f"at least {limit}"


def test_a_search_in_another_order_in_pages(agent: Agent) -> None:
    """The longest first: each a millisecond shorter than the one before."""
    pages = agent.pages("search_traces", "traces", operation="GET /item", sort="longest", limit=40, **WHOLE_TIME)
    rows = [row for page in pages for row in page]
    assert [row["ms"] for row in rows] == [100.0 + number for number in range(ITEMS - 1, -1, -1)]


@pytest.mark.parametrize("sort", ["spans", "errors"])
def test_a_search_for_equals_in_pages(over_stdin: Agent, sort: str) -> None:
    """Of traces with as many spans and errors as each other, each comes once."""
    pages = over_stdin.pages("search_traces", "traces", operation="GET /item", sort=sort, limit=17, **WHOLE_TIME)
    ids = [row["trace_id"] for page in pages for row in page]
    assert len(set(ids)) == len(ids) == ITEMS


def test_an_outline_in_pages(agent: Agent) -> None:
    """What is left is told exactly, and follows where the first page ended."""
    first = agent.ask("trace_outline", trace_id=LARGE, limit=100)
    assert first["left_out"] == LARGE_SPANS - len(first["outline"])
    second = agent.ask("trace_outline", trace_id=LARGE, limit=100, cursor=first["next_cursor"])
    assert second["left_out"] == first["left_out"] - len(second["outline"])
    group, place = divmod(len(first["outline"]) - 1, 10)
    assert second["outline"][0]["path"] == (f"1.{group + 1}.{place}" if place else f"1.{group + 1}")


@pytest.mark.long
def test_all_pages_of_a_large_outline(over_stdin: Agent) -> None:
    """All 5,000 spans, depth first, each once."""
    pages = over_stdin.pages("trace_outline", "outline", trace_id=LARGE, limit=100)
    rows = [row for page in pages for row in page]
    assert len({row["id"] for row in rows}) == len(rows) == LARGE_SPANS
    paths = [tuple(map(int, row["path"].split("."))) for row in rows]
    assert paths == sorted(paths)


@pytest.mark.parametrize(
    ("tool", "title", "arguments", "number"),
    [
        ("services", "services", {"limit": 9}, 0),
        ("operations", "operations", {"operation": "GET /item", "limit": 50}, ITEMS),
        ("operations", "operations", {"operation": "SELECT inventory", "limit": 3, "sort": "p95"}, 14),
        ("errors", "errors", {"operation": "GET /item", "limit": 50}, ITEMS // 2),
        ("trace_outline", "outline", {"trace_id": LARGE, "errors": True, "limit": 7}, (LARGE_SPANS - 1) // 100),
    ],
)
def test_other_lists_in_pages(agent: Agent, tool: str, title: str, arguments: dict[str, Any], number: int) -> None:
    """Every row is there once."""
    time = {} if tool == "trace_outline" else WHOLE_TIME
    rows = [str(row) for page in agent.pages(tool, title, **arguments, **time) for row in page]
    assert len(set(rows)) == len(rows) >= ITEMS if not number else len(rows) == number


@pytest.mark.long
def test_a_deep_trace_has_short_paths(agent: Agent) -> None:
    """A path that would be long has only its end, so a page of a chain of 2,000 spans is no larger than others."""
    pages = agent.pages("trace_outline", "outline", trace_id=DEEP, limit=100)
    rows = [row for page in pages for row in page]
    assert len({row["id"] for row in rows}) == len(rows) == 2000
    assert max(len(row["path"]) for row in rows) <= 40
    assert rows[-1]["path"].startswith("…")


def test_the_time_of_the_first_page_counts(agent: Agent) -> None:
    """A cursor has the time of its call, so that what is received meanwhile moves nothing."""
    first = agent.ask("search_traces", last="3650d", limit=1, operation="POST /orders")
    _, _, _, start, end = first["next_cursor"].split("-")
    again = agent.ask("search_traces", last="3650d", limit=1, operation="POST /orders", cursor=first["next_cursor"])
    assert [len(each["traces"]) for each in (first, again)] == [1, 1]
    assert int(end, 16) - int(start, 16) == 3650 * 86400 * 10**9
    assert "next_cursor" not in again
    assert TIME["start"] < again["traces"][0]["start"]


def _page(rows: list[str], limit: int, cursor: str = "") -> dict[str, Any]:
    call = call_of("tool", {"a": 1, "cursor": cursor, "limit": limit})
    page = Page(limit, read_cursor(cursor, call), call)
    return without_notice(page.answer({}, "rows", rows, str, lambda row: {"row": row}))


def test_a_list_that_grows_repeats_nothing() -> None:
    """What has come before the last row that was shown does not move the next page."""
    first = _page(list("abcdef"), 3)
    second = _page([*"xyabc", *"defgh"], 3, first["next_cursor"])
    assert [row["row"] for row in second["rows"]] == ["d", "e", "f"]
    assert second["left_out"] == 2


def test_a_list_that_has_lost_its_place_says_so() -> None:
    """Where the last row is gone, nobody can know what comes next."""
    first = _page(list("abcdef"), 3)
    with pytest.raises(Refused, match="the list has changed meanwhile; leave cursor out to begin again"):
        _page(list("defghi"), 3, first["next_cursor"])


def test_pages_are_as_long_as_there_is_room() -> None:
    """Of rows that are long, as many as fit; one that is too long by itself stands alone."""
    rows = [f"{number:03}" + "x" * 1500 for number in range(30)]
    first = _page(rows, 20)
    assert 9 <= len(first["rows"]) <= 10
    assert first["left_out"] == 30 - len(first["rows"])
    assert len(str(first)) < MOST_BYTES


class _Endless:
    """Traces without end, one a second, of which not more are found at once than it says."""

    furthest = 30

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        return Found(tuple(number.to_bytes(16, "big") for number in range(1, min(query.limit, self.furthest) + 1)))

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        return []

    def trace(self, trace_id: bytes) -> TracesData | None:
        return None


def test_a_search_that_goes_no_further_says_so() -> None:
    """The last page says that there are more, and how to see them; a trace that is gone meanwhile is told to be."""
    tool, cursor, ids = TOOLS["search_traces"], "", []
    while True:
        arguments = tool.read({"limit": 8, "cursor": cursor})
        answer = without_notice(tool.answer(_Endless(), arguments))
        ids += [row["trace_id"] for row in answer["traces"] if row["gone"]]
        if "next_cursor" not in answer:
            break
        cursor = answer["next_cursor"]
    assert len(set(ids)) == len(ids) == 30
    assert answer["incomplete"] == "a search goes no further than 30 traces: narrow the time to see the others"
