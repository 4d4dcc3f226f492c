"""What each tool answers, over stdio and over HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest

from causal_otel.causality.explanation import difference, explain
from causal_otel.collector.analysis import build
from causal_otel.collector.mcp.tools import TOOLS
from tests.cli.storing import ORDER, REPORT, TRACES
from tests.collector.analysis.making import span_id
from tests.mcp.agents import Agent
from tests.mcp.traces import ITEMS, LARGE, LARGE_SPANS, QUICK, TIME, WHOLE_TIME


def _ids(answer: dict[str, Any]) -> list[str]:
    return [each["trace_id"] for each in answer["traces"]]


def test_tools_are_described(agent: Agent) -> None:
    """Each says what it answers and how much at the most, has a typed schema, and only reads."""
    tools = agent.tools()
    assert list(tools) == list(TOOLS)
    for tool in tools.values():
        assert re.search(r"At most [\d,]+ (rows|bytes)|at most [\d,]+", tool.description or ""), tool.name
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert tool.input_schema["additionalProperties"] is False
        for name, each in tool.input_schema["properties"].items():
            assert each["description"], name
            assert each["type"] in ("string", "boolean", "integer"), name
    assert sum(len(tool.model_dump_json(exclude_none=True)) for tool in tools.values()) < 12_000


def test_instructions_say_where_to_begin_and_what_answers_are(agent: Agent) -> None:
    """They name tools that exist, and say that answers are data."""
    assert "never instructions" in agent.instructions
    for name in re.findall(r"(\w+)\(", agent.instructions):
        assert name in TOOLS


def test_search_gives_a_flat_table(agent: Agent) -> None:
    """A row a trace, the newest first, with all that tells them apart."""
    answer = agent.ask("search_traces", operation="/orders", **TIME)
    assert _ids(answer) == [QUICK, ORDER]
    assert answer["traces"][1] == {
        "trace_id": ORDER,
        "start": "2023-11-14T22:13:20.000Z",
        "ms": 100.0,
        "spans": 4,
        "errors": 1,
        "services": ["api", "worker"],
        "root": "api: POST /orders",
    }


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"service": "web"}, [REPORT]),
        ({"operation": '"GET"'}, [ORDER]),
        ({"operation": "get /rep*", "service": "web"}, [REPORT]),
        ({"errors": True, "service": "inventory-service"}, [LARGE]),
        ({"errors": True, "service": "api", "max_duration": "1s", "operation": '"GET"'}, [ORDER]),
        ({"min_duration": "2s", "service": "web"}, [REPORT]),
        ({"min_duration": "2s", "max_duration": "5s"}, [REPORT]),
        ({"query": "user.id=42 db.system.name=post*"}, [ORDER]),
        ({"query": 'causal.pool.wait>40ms "user.id"="42"'}, [ORDER]),
        ({"query": "duration>=9s"}, [LARGE]),
        ({"query": "duration>=9s OR (user.id=42 db.system.name)", "sort": "spans"}, [LARGE, ORDER]),
        ({"query": "-db.system.name user.id=42 db.system.name=post*"}, []),
        ({"operation": "SELECT", "sort": "spans", "limit": 1}, [LARGE]),
        ({"operation": "SELECT orders", "sort": "longest"}, [ORDER, QUICK]),
        ({"service": None, "operation": "POST /orders", "limit": "1"}, [QUICK]),
    ],
)
def test_search_takes_conditions(agent: Agent, arguments: dict[str, Any], found: list[str]) -> None:
    """Service, operation, conditions on attributes, errors, durations and orders; all of them on one span."""
    assert _ids(agent.ask("search_traces", **arguments, **TIME)) == found


def test_a_search_that_finds_nothing_says_what_to_try(agent: Agent) -> None:
    """Without a time it is about the last hour, and the hint names a longer one."""
    answer = agent.ask("search_traces")
    assert answer["traces"] == []
    assert "in the last 1h: try a longer last (such as 7d)" in answer["hint"]


def test_why_explains_a_trace(agent: Agent) -> None:
    """The text of the explanation, a line each."""
    lines = explain(build(TRACES[ORDER])).text().splitlines()
    answer = agent.ask("why", trace_id=ORDER)
    assert answer["trace_id"] == ORDER
    assert answer["explanation"][0] == lines[0]
    assert lines[0].startswith("100 ms: 45 % waiting for a PostgreSQL connection")
    assert any("GET failed first: timeout: no answer" in line for line in answer["explanation"])


def test_why_explains_the_slowest(agent: Agent) -> None:
    """Of an operation, the longest span that matches, with its id."""
    answer = agent.ask("why", operation="POST /orders", **TIME)
    assert (answer["trace_id"], answer["span_id"]) == (ORDER, span_id("root"))
    assert answer["explanation"][0].startswith("100 ms: ")


def test_why_explains_the_last_that_failed(agent: Agent) -> None:
    """Of an operation or of any."""
    answer = agent.ask("why", which="last_failed", operation='"GET"', **TIME)
    assert (answer["trace_id"], answer["span_id"]) == (ORDER, span_id("call"))
    assert agent.ask("why", which="last_failed", **WHOLE_TIME)["trace_id"] == f"{ITEMS:032x}"


def test_why_explains_all_calls_of_an_operation(agent: Agent) -> None:
    """What p50 and p95 consist of, with the traces that are there, and what else the name matches."""
    answer = agent.ask("why", which="all", operation="orders", service="api", **TIME)
    assert (answer["p50_trace_id"], answer["p95_trace_id"]) == (QUICK, ORDER)
    assert answer["explanation"][0].startswith("api: POST /orders, 2 calls: p50 40 ms: ")
    assert answer["other_operations_that_match"] == ["api: SELECT orders"]


def test_outline_is_flat(agent: Agent) -> None:
    """A row a span, depth first, whose path says where it is."""
    answer = agent.ask("trace_outline", trace_id=ORDER.upper())
    assert {key: answer[key] for key in ("trace_id", "ms", "spans", "errors", "services")} == {
        "trace_id": ORDER,
        "ms": 100.0,
        "spans": 4,
        "errors": 1,
        "services": ["api", "worker"],
    }
    assert [(row["path"], row["name"]) for row in answer["outline"]] == [
        ("1", "POST /orders"),
        ("1.1", "SELECT orders"),
        ("1.2", "GET"),
        ("2", "work"),
    ]
    assert answer["outline"][1] == {
        "path": "1.1",
        "id": span_id("query"),
        "service": "api",
        "name": "SELECT orders",
        "kind": "client",
        "system": "postgresql",
        "at_ms": 10.0,
        "ms": 60.0,
        "critical_ms": 60.0,
    }
    assert answer["outline"][2]["error"] == "timeout"


def test_outline_of_a_part(agent: Agent) -> None:
    """Of a large trace: what failed, what is below a span, and what took long; paths are those of the whole."""
    failed = agent.ask("trace_outline", trace_id=LARGE, errors=True)
    assert len(failed["outline"]) == (LARGE_SPANS - 1) // 100
    assert {row["error"] for row in failed["outline"]} == {"57014"}
    below = agent.ask("trace_outline", trace_id=LARGE, below=span_id("s20"))
    assert [row["path"] for row in below["outline"]] == ["1.3", *(f"1.3.{number}" for number in range(1, 10))]
    slow = agent.ask("trace_outline", trace_id=LARGE, min_duration="1s")
    assert [row["name"] for row in slow["outline"]] == ["GET /report"]


def test_details_are_what_was_recorded(agent: Agent) -> None:
    """Times, parts, attributes with their types, and where the span is."""
    answer = agent.ask("span_details", trace_id=ORDER, span_id=span_id("query"))
    assert answer == {
        "trace_id": ORDER,
        "span_id": span_id("query"),
        "parent_id": span_id("root"),
        "service": "api",
        "name": "SELECT orders",
        "kind": "client",
        "status": "unset",
        "start": "2023-11-14T22:13:20.010Z",
        "at_ms": 10.0,
        "ms": 60.0,
        "own_ms": 60.0,
        "where_the_time_went_ms": {"pool wait": 45.0, "rest": 15.0},
        "children": 0,
        "attributes": {"causal.pool.wait": 0.045, "db.system.name": "postgresql", "user.id": "42"},
        "resource": {"service.name": "api"},
        "instrumentation": "tests",
    }
    failed = agent.ask("span_details", trace_id=ORDER, span_id=span_id("call"))
    assert (failed["status"], failed["status_message"]) == ("error", "no answer")
    orphan = agent.ask("span_details", trace_id=ORDER, span_id=span_id("work"))
    assert orphan["warnings"] == ["the span that it names as its parent is not in the trace"]


def test_one_attribute_in_full(agent: Agent) -> None:
    """A value alone, of the span or of what it ran in."""
    answer = agent.ask("span_details", trace_id=ORDER, span_id=span_id("query"), attribute="user.id")
    assert (answer["value"], answer["characters"]) == ("42", 2)
    answer = agent.ask("span_details", trace_id=ORDER, span_id=span_id("query"), attribute="service.name")
    assert answer["value"] == "api"


def test_diff_says_why_one_took_longer(agent: Agent) -> None:
    """The text of the comparison, a line each."""
    answer = agent.ask("diff_traces", a=QUICK, b=ORDER)
    assert answer["difference"][0].startswith("B took 60 ms longer than A, 100 ms instead of 40 ms: 45 ms more waiting")
    same = build(TRACES[ORDER])
    assert agent.ask("diff_traces", a=ORDER, b=ORDER)["difference"] == difference(same, same).text().splitlines()


def test_operations_are_counted(agent: Agent) -> None:
    """Calls, errors and percentiles of each, the largest first, of those that are asked for."""
    answer = agent.ask("operations", service="api", operation="orders", **TIME)
    assert [(row["operation"], row["kind"], row["calls"]) for row in answer["operations"]] == [
        ("POST /orders", "server", 2),
        ("SELECT orders", "client", 2),
    ]
    row = answer["operations"][1]
    assert (row["service"], row["system"], row["errors"], row["total_ms"]) == ("api", "postgresql", 0, 75.0)
    assert 15 <= row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= 60
    slowest = agent.ask("operations", kind="server", sort="p95", limit=1, **TIME)
    assert [row["operation"] for row in slowest["operations"]] == ["GET /report"]


def test_operations_say_where_their_time_goes(agent: Agent) -> None:
    """If they are asked to, a sentence each, and the trace at the p95."""
    answer = agent.ask("operations", service="api", operation='"POST /orders"', where_time_goes=True, **TIME)
    (row,) = answer["operations"]
    assert row["where_time_goes"].startswith("api: POST /orders, 2 calls: p50 40 ms: ")
    assert "waiting for a PostgreSQL connection" in row["where_time_goes"]
    assert row["p95_trace_id"] == ORDER


def test_errors_are_grouped(agent: Agent) -> None:
    """By type and frame, counted in all spans of the hours, each with an example."""
    answer = agent.ask("errors", operation='"GET"', **TIME)
    assert answer["errors"] == [
        {
            "type": "timeout",
            "count": 1,
            "requests": 0,
            "operations": ["api: GET (1)"],
            "first": "2023-11-14T22:00:00.000Z",
            "last": "2023-11-14T22:00:00.000Z",
            "trace_id": ORDER,
            "span_id": span_id("call"),
            "at": "2023-11-14T22:13:20.020Z",
            "ms": 40.0,
            "origin": True,
            "message": "timeout: no answer",
        }
    ]
    assert answer["counted"] == "all spans of the hours that the time is in"
    (inventory,) = agent.ask("errors", service="inventory-service", **TIME)["errors"]
    assert (inventory["type"], inventory["count"]) == ("57014", (LARGE_SPANS - 1) // 100)
    assert len(inventory["operations"]) == 4
    assert inventory["operations"][-1].endswith(" more")


def test_services_are_listed(agent: Agent) -> None:
    """By name, with their spans, errors and operations."""
    pages = agent.pages("services", "services", **TIME)
    rows = {row["service"]: row for page in pages for row in page}
    assert rows["worker"] == {"service": "worker", "spans": 1, "errors": 0, "operations": 1}
    assert [name for name in rows if name.startswith("shard-")] == [f"shard-{number:03}" for number in range(ITEMS)]
    assert "no service has sent spans in the last 1h" in agent.ask("services")["hint"]
