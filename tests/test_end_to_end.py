"""The whole: uvicorn, a Celery prefork worker, an external service and three databases, as processes of their own."""

from __future__ import annotations

import io
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from rich.console import Console

from causal_otel.cli.demo.received import ReceivedSpan
from causal_otel.cli.demo.scenario import Shown, play
from causal_otel.cli.demo.stage import Stage, stage

_CONCURRENT = 200


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    """The demo's processes."""
    with stage(Console(file=io.StringIO())) as running:
        yield running


@pytest.fixture(scope="module")
def played(running: Stage) -> dict[str, Shown]:
    """The traces of one request of each kind."""
    return {shown.request: shown for shown in play(running)}


def _edges(spans: list[ReceivedSpan]) -> Counter[tuple[str, ...]]:
    """Every span as service, kind and name, below its parent's service and name."""
    by_id = {span["span_id"]: span for span in spans}

    def place(span: ReceivedSpan) -> str:
        return f"{span['service']}: {span['name']}"

    return Counter(
        (place(by_id[span["parent_span_id"]]) if span["parent_span_id"] else "", span["kind"], place(span))
        for span in spans
    )


def test_one_trace_across_every_process(played: dict[str, Shown]) -> None:
    """A request, its task in the worker and the external service's part are one trace: these spans, and no others."""
    shown = played["POST /api/analyses"]
    assert len({span["trace_id"] for span in shown.spans}) == 1
    api, task, weigh = "demo-api: POST /api/analyses", "demo-worker: process analyse", "demo-worker: weigh suppliers"
    assert _edges(shown.spans) == Counter(
        {
            ("", "SERVER", api): 1,
            (api, "CLIENT", "demo-api: MATCH Company"): 1,
            (api, "CLIENT", "demo-api: INSERT analyses"): 1,
            (api, "CLIENT", "demo-api: SET"): 1,
            (api, "PRODUCER", "demo-api: send analyse"): 1,
            ("demo-api: send analyse", "CONSUMER", task): 1,
            (task, "CLIENT", "demo-worker: MATCH Company SUPPLIES"): 1,
            (task, "CLIENT", "demo-worker: SELECT deliveries"): 1,
            (task, "INTERNAL", weigh): 1,
            (weigh, "CLIENT", "demo-worker: POST"): 1,
            ("demo-worker: POST", "SERVER", "demo-scoring: POST /v1/score"): 1,
            (task, "CLIENT", "demo-worker: UPDATE analyses"): 1,
            (task, "CLIENT", "demo-worker: MULTI"): 1,
        }
    )


def test_processes_are_told_apart(played: dict[str, Shown]) -> None:
    """Each of the three processes has an instance id of its own."""
    spans = played["POST /api/analyses"].spans
    instances = {span["service"]: span["resource"]["service.instance.id"] for span in spans}
    assert instances.keys() == {"demo-api", "demo-worker", "demo-scoring"}
    assert len(set(instances.values())) == 3


def test_children_lie_within_the_request(played: dict[str, Shown]) -> None:
    """In one process every child begins and ends inside its parent."""
    spans = played["GET /api/graph/stats"].spans
    by_id = {span["span_id"]: span for span in spans}
    for span in spans:
        parent = by_id.get(span["parent_span_id"] or "")
        if parent is not None:
            assert parent["start"] <= span["start"] <= span["end"] <= parent["end"]


def test_no_failure_and_no_secret(running: Stage, played: dict[str, Shown]) -> None:
    """Nothing is marked as an error, and the graph database's password is nowhere."""
    spans = running.received.spans()
    assert {span["status"]["code"] for span in spans} == {"UNSET"}
    assert all("password" not in key for span in spans for key in span["attributes"])


def test_concurrent_requests_are_isolated(running: Stage) -> None:
    """Of 200 requests at once each one's spans are in its own trace, below its own caller, and in no other."""
    callers = {secrets.token_hex(16): secrets.token_hex(8) for _ in range(_CONCURRENT)}
    answered: dict[str, httpx.Response] = {}

    async def request(client: httpx.AsyncClient, trace_id: str, span_id: str) -> None:
        header = {"traceparent": f"00-{trace_id}-{span_id}-01"}
        answered[trace_id] = await client.get("/api/graph/stats", headers=header)

    async def all_at_once() -> None:
        limits = httpx.Limits(max_connections=_CONCURRENT)
        async with (
            httpx.AsyncClient(base_url=running.api_url, limits=limits, timeout=60, trust_env=False) as client,
            anyio.create_task_group() as group,
        ):
            for trace_id, span_id in callers.items():
                group.start_soon(request, client, trace_id, span_id)

    anyio.run(all_at_once)
    assert {response.status_code for response in answered.values()} == {200}, running.api.output()[-6000:]
    assert {trace_id: response.headers["x-trace-id"] for trace_id, response in answered.items()} == {
        trace_id: trace_id for trace_id in callers
    }

    def whole(spans: list[ReceivedSpan]) -> bool:
        servers = {span["trace_id"] for span in spans if span["kind"] == "SERVER"}
        return callers.keys() <= servers

    spans = [span for span in running.received.wait_for(whole, 30) if span["trace_id"] in callers]
    by_trace: dict[str, list[ReceivedSpan]] = {}
    for span in spans:
        by_trace.setdefault(span["trace_id"], []).append(span)
    for trace_id, found in by_trace.items():
        (server,) = [span for span in found if span["kind"] == "SERVER"]
        assert server["parent_span_id"] == callers[trace_id]
        clients: list[Any] = [span["parent_span_id"] for span in found if span["kind"] == "CLIENT"]
        assert clients
        assert set(clients) == {server["span_id"]}
