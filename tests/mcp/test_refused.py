"""What cannot be answered is said in words that tell the model what to do next."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.storing import ORDER
from tests.collector.analysis.making import span_id
from tests.mcp.agents import Agent
from tests.mcp.traces import LARGE, TIME

_UNKNOWN = "ff" * 16


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (
            "search_traces",
            {"min_duration": "fast"},
            "min_duration: 'fast' is not a duration: write a number",
        ),
        ("search_traces", {"max_duration": 100}, "as in 500us, 100ms, 1.2s or 1h"),
        ("search_traces", {"min_duration": "2s", "max_duration": "1s"}, "max_duration is shorter than min_duration"),
        ("search_traces", {"last": "yesterday"}, "last: 'yesterday' is not a duration"),
        ("search_traces", {"start": "yesterday"}, "start: write the time in UTC, as in 2026-11-22T14:30"),
        ("search_traces", {"last": "1h", "start": "2026-11-22T14:30"}, "give either last or start, not both"),
        ("search_traces", {"start": "2026-11-22T14:30", "end": "2026-11-22T14:00"}, "end is before start"),
        ("search_traces", {"query": "a == b"}, "query: column 3: == is not supported: write ="),
        ("search_traces", {"operation": '"GET'}, "operation: write a name in quotes"),
        ("search_traces", {"limit": 51}, "limit: input should be less than or equal to 50, not 51"),
        ("search_traces", {"limit": 0}, "limit: input should be greater than or equal to 1, not 0"),
        (
            "search_traces",
            {"sort": "best"},
            "sort: input should be 'newest', 'oldest', 'longest', 'spans' or 'errors', not",
        ),
        ("search_traces", {"errors": "some"}, "errors: input should be a valid boolean"),
        ("search_traces", {"conditions": "x"}, "there is no parameter 'conditions': there are "),
        ("search_traces", {"service": ["api"]}, "service: input should be a valid string, not ['api']"),
        ("search_traces", {"service": "x" * 10_000, "limit": -1}, "limit: "),
        ("search_traces", {"cursor": "20"}, "cursor: '20' is none: give the next_cursor of the answer before"),
        ("why", {"trace_id": "42"}, "trace_id: '42' is no trace id, which has 32 hexadecimal digits: search_traces"),
        (
            "why",
            {"trace_id": _UNKNOWN},
            f"there is no trace {_UNKNOWN}: it was not received (yet), or is no longer kept",
        ),
        ("why", {}, "give trace_id, operation or service"),
        ("why", {"trace_id": ORDER, "operation": "GET"}, "give either trace_id, or operation and service; not both"),
        ("why", {"which": "all"}, "give its name; operations lists them"),
        ("why", {"operation": "nothing", **TIME}, "no span of 'nothing' is there in that time: try a longer last"),
        ("why", {"operation": "POST", "which": "last_failed", **TIME}, "no span of 'POST' has failed in that time"),
        (
            "why",
            {"operation": "nothing", "service": "web", "which": "all"},
            "in the service 'web' is there in the last 1h",
        ),
        ("why", {"which": "newest"}, "which: input should be 'slowest', 'last_failed' or 'all'"),
        ("trace_outline", {}, "trace_id is needed: the trace's id"),
        ("trace_outline", {"trace_id": _UNKNOWN}, "search_traces lists those that are there"),
        ("trace_outline", {"trace_id": ORDER, "below": "12"}, "trace_outline lists its spans with their ids"),
        ("trace_outline", {"trace_id": ORDER, "min_duration": "-1"}, "min_duration: '-1' is not a duration"),
        ("trace_outline", {"trace_id": ORDER, "limit": 101}, "limit: input should be less than or equal to 100"),
        ("span_details", {"trace_id": ORDER}, "span_id is needed: the span's id, 16 hexadecimal digits"),
        ("span_details", {"trace_id": _UNKNOWN, "span_id": span_id("root")}, f"there is no trace {_UNKNOWN}"),
        ("span_details", {"trace_id": ORDER, "span_id": "zz"}, f"span_id: the trace {ORDER} has no span 'zz'"),
        (
            "span_details",
            {"trace_id": ORDER, "span_id": span_id("root"), "attribute": "nothing"},
            "attribute: the span has no 'nothing': without attribute, span_details shows what it has",
        ),
        ("span_details", {"trace_id": ORDER, "span_id": span_id("root"), "offset": -1}, "offset: input should be"),
        ("diff_traces", {"a": ORDER}, "b is needed: the id of the trace to explain"),
        ("diff_traces", {"a": "first", "b": ORDER}, "a: 'first' is no trace id"),
        ("diff_traces", {"a": ORDER, "b": _UNKNOWN}, f"there is no trace {_UNKNOWN}"),
        ("operations", {"kind": "http"}, "kind: input should be '', 'server', 'client'"),
        ("operations", {"sort": "slow"}, "sort: input should be 'total', 'calls'"),
        ("operations", {"operation": '"GET'}, "operation: write a name in quotes"),
        ("errors", {"last": "7"}, "last: '7' is not a duration"),
        ("errors", {"cursor": "1-00000000-00000000-0-0"}, "cursor: it is one of another call"),
        ("services", {"limit": "many"}, "limit: input should be a valid integer"),
        ("delete_traces", {}, "there is no tool 'delete_traces': there are search_traces, why, "),
    ],
)
def test_mistakes_are_explained(agent: Agent, tool: str, arguments: dict[str, Any], said: str) -> None:
    """A sentence says what is wrong and what is right, or which tool to ask instead."""
    text = agent.refused(tool, **arguments)
    assert said in text
    assert len(text) < 600


def test_all_mistakes_are_told_at_once(agent: Agent) -> None:
    """A call with several mistakes is corrected in one go."""
    text = agent.refused("search_traces", limit=0, sort="best", tags="a=b")
    assert [part.split(":")[0] for part in text.split("; ")] == ["sort", "limit", "there is no parameter 'tags'"]


def test_a_cursor_belongs_to_its_call(agent: Agent) -> None:
    """It is refused with other arguments or another tool, not with another size of the page."""
    cursor = agent.ask("trace_outline", trace_id=LARGE, limit=10)["next_cursor"]
    assert len(agent.ask("trace_outline", trace_id=LARGE, limit=20, cursor=cursor)["outline"]) == 20
    for tool, arguments in (
        ("trace_outline", {"trace_id": ORDER}),
        ("trace_outline", {"trace_id": LARGE, "errors": True}),
        ("errors", {}),
    ):
        text = agent.refused(tool, cursor=cursor, **arguments)
        assert text == (
            "cursor: it is one of another call: repeat all other arguments as they were; leave cursor out to begin "
            "again"
        )
