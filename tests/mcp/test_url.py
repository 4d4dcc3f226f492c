"""``causal-otel mcp --url``: the same tools on a running collector, and on a back end that counts nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from causal_otel.testing.process import LOOPBACK, claim_port
from tests.cli.answering import answering
from tests.cli.storing import ORDER, REPORT, TRACES
from tests.collector.analysis.making import span_id
from tests.collector.running import Running
from tests.mcp.agents import TOKEN, Agent, over_stdio
from tests.mcp.traces import QUICK, TIME, WHOLE_TIME


@pytest.fixture(scope="module")
def remote(collector: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent whose server asks a collector, with its token."""
    log = tmp_path_factory.mktemp("mcp") / "log"
    with over_stdio("--url", collector.pages, log=log, CAUSAL_OTEL_COLLECTOR_TOKEN=TOKEN) as found:
        yield found
    assert log.read_text() == ""


def test_traces_are_found_and_explained(remote: Agent, over_stdin: Agent) -> None:
    """As they are in the directory itself."""
    for tool, arguments in (
        ("search_traces", {"operation": "POST /orders", **TIME}),
        ("search_traces", {"query": "user.id=42 db.system.name=post*", **TIME}),
        ("why", {"trace_id": ORDER}),
        ("why", {"operation": "POST /orders", **TIME}),
        ("why", {"operation": "POST /orders", "which": "all", **TIME}),
        ("why", {"operation": '"GET"', "which": "last_failed", **TIME}),
        ("trace_outline", {"trace_id": ORDER}),
        ("span_details", {"trace_id": ORDER, "span_id": span_id("query")}),
        ("diff_traces", {"a": QUICK, "b": ORDER}),
    ):
        assert remote.ask(tool, **arguments) == over_stdin.ask(tool, **arguments)


def test_a_search_comes_in_pages(remote: Agent) -> None:
    """Every trace once."""
    pages = remote.pages("search_traces", "traces", operation="GET /item", limit=50, **WHOLE_TIME)
    ids = [row["trace_id"] for page in pages for row in page]
    assert len(set(ids)) == len(ids) == 130


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Rows are the same; an example that there was no time for on a busy machine is missing as a whole."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        lacking = set(one) ^ set(other)
        assert lacking in (set(), {"span_id", "at", "ms", "origin", "message"})
        assert {**one, **other} == {**other, **one}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("operations", {}),
        ("operations", {"service": "api", "operation": "orders", "sort": "p95"}),
        ("operations", {"kind": "server", "where_time_goes": True, "limit": 2}),
        ("services", {}),
        ("errors", {}),
        ("errors", {"service": "api"}),
        ("errors", {"operation": '"GET"'}),
        ("errors", {"operation": "get*", "limit": 1}),
        ("errors", {"operation": "nothing of that name"}),
    ],
)
def test_a_collectors_figures_are_exact(
    remote: Agent, over_stdin: Agent, tool: str, arguments: dict[str, object]
) -> None:
    """Of all spans, as in the directory itself, and not of some traces; of errors with their examples."""
    answer, expected = (each.ask(tool, **arguments, **WHOLE_TIME) for each in (remote, over_stdin))
    assert answer["counted"] == "all spans of the hours that the time is in"
    assert_same(answer[tool], expected[tool])
    assert answer.get("left_out") == expected.get("left_out")


def test_a_collectors_errors_come_in_pages(remote: Agent, over_stdin: Agent) -> None:
    """Every group once, in the order in which the directory has them."""
    found, expected = (each.pages("errors", "errors", limit=20, **WHOLE_TIME) for each in (remote, over_stdin))
    assert [len(page) for page in found] == [len(page) for page in expected]
    assert_same([row for page in found for row in page], [row for page in expected for row in page])
    assert len(found) > 2


def test_what_cannot_be_understood_is_refused_in_the_same_words(remote: Agent, over_stdin: Agent) -> None:
    """A name in quotes that are not closed, and more than a year."""
    for tool, arguments in (("errors", {"operation": '"GET'}), ("operations", {"operation": '"GET'})):
        assert remote.refused(tool, **arguments) == over_stdin.refused(tool, **arguments)
    assert "longer than a year" in remote.refused("errors", last="800d")


# -- a back end that counts nothing ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent whose server asks a Tempo that has two of the traces."""
    log = tmp_path_factory.mktemp("mcp") / "log"
    kept = [ORDER, REPORT]
    answers = {
        "/api/echo": (200, "text/plain", b"echo"),
        "/api/search": (200, "application/json", json.dumps({"traces": [{"traceID": each} for each in kept]}).encode()),
        **{f"/api/traces/{each}": (200, "application/protobuf", TRACES[each].SerializeToString()) for each in kept},
    }
    with answering(answers) as found, over_stdio("--url", found.url, log=log) as agent:
        yield agent
    assert log.read_text() == ""


def test_operations_are_counted_in_traces(sampling: Agent) -> None:
    """Of traces that are looked at, which the answer says: percentiles are exact then."""
    answer = sampling.ask("operations", service="api", operation="orders", **TIME)
    assert answer["counted"] == "traces that were looked at: 1, all that match"
    rows = {row["operation"]: row for row in answer["operations"]}
    assert rows["POST /orders"] == {
        "service": "api",
        "operation": "POST /orders",
        "kind": "server",
        "calls": 1,
        "errors": 0,
        "p50_ms": 100.0,
        "p95_ms": 100.0,
        "p99_ms": 100.0,
        "total_ms": 100.0,
    }
    services = sampling.ask("services", **TIME)
    assert {"service": "web", "spans": 1, "errors": 0, "operations": 1} in services["services"]


def test_errors_are_counted_in_traces(sampling: Agent, over_stdin: Agent) -> None:
    """Of traces that are looked at: as in the directory itself, but for what only sums over hours tell."""
    looked_at, summed = (each.ask("errors", operation='"GET"', **TIME) for each in (sampling, over_stdin))
    assert looked_at["counted"] == "traces that were looked at: 1, all that match"
    ((row,), (expected,)) = looked_at["errors"], summed["errors"]
    assert row.pop("last") == row["at"]
    assert row == {key: value for key, value in expected.items() if key not in ("first", "last")}


# -- what can go wrong ---------------------------------------------------------------------------------------------


def test_what_cannot_be_asked_is_told(tmp_path: Path, collector: Running) -> None:
    """No collector there, or no token: the model hears what to do, and the process goes on."""
    port = claim_port(None, "nobody")
    for url, said in (
        (f"http://{LOOPBACK}:{port}", "does not answer"),
        (collector.pages, "wants a token: set CAUSAL_OTEL_COLLECTOR_TOKEN"),
    ):
        with over_stdio("--url", url, log=tmp_path / "log") as agent:
            assert said in agent.refused("search_traces")
            assert said in agent.refused("why", trace_id=REPORT)
    assert (tmp_path / "log").read_text() == ""
