"""The whole: uvicorn, a Celery prefork worker, an external service and three databases, as processes of their own."""

from __future__ import annotations

import io
import secrets
from collections import Counter
from collections.abc import Iterator

import anyio
import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from rich.console import Console

from causal_otel.cli.demo.scenario import Shown, play
from causal_otel.cli.demo.stage import Stage, stage
from causal_otel.collector.analysis import SpanView, TraceView, build
from tests.waiting import wait_until

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


def _edges(trace: TraceView) -> Counter[tuple[str, ...]]:
    """Every span as service, kind and name, below its parent's service and name."""

    def place(span: SpanView) -> str:
        return f"{span.service}: {span.name}"

    return Counter((place(span.parent) if span.parent else "", span.kind, place(span)) for span in trace.spans)


def _trace(running: Stage, trace_id: bytes) -> TraceView:
    return build(running.collector.traces.trace(trace_id) or TracesData())


def test_one_trace_across_every_process(played: dict[str, Shown]) -> None:
    """A request, its task in the worker and the external service's part are one trace: these spans, and no others."""
    shown = played["POST /api/analyses"]
    assert not any(span.orphan for span in shown.trace.spans)
    api, task, weigh = "demo-api: POST /api/analyses", "demo-worker: process analyse", "demo-worker: weigh suppliers"
    assert _edges(shown.trace) == Counter(
        {
            ("", "server", api): 1,
            (api, "client", "demo-api: MATCH Company"): 1,
            (api, "client", "demo-api: INSERT analyses"): 1,
            (api, "client", "demo-api: SET"): 1,
            (api, "producer", "demo-api: send analyse"): 1,
            ("demo-api: send analyse", "consumer", task): 1,
            (task, "client", "demo-worker: MATCH Company SUPPLIES"): 1,
            (task, "client", "demo-worker: SELECT deliveries"): 1,
            (task, "internal", weigh): 1,
            (weigh, "client", "demo-worker: POST"): 1,
            ("demo-worker: POST", "server", "demo-scoring: POST /v1/score"): 1,
            (task, "client", "demo-worker: UPDATE analyses"): 1,
            (task, "client", "demo-worker: MULTI"): 1,
        }
    )


def test_processes_are_told_apart(played: dict[str, Shown]) -> None:
    """Each of the three processes has an instance id of its own."""
    spans = played["POST /api/analyses"].trace.spans
    instances = {span.service: span.resource["service.instance.id"] for span in spans}
    assert instances.keys() == {"demo-api", "demo-worker", "demo-scoring"}
    assert len(set(instances.values())) == 3


def test_children_lie_within_the_request(played: dict[str, Shown]) -> None:
    """In one process every child begins and ends inside its parent."""
    for span in played["GET /api/graph/stats"].trace.spans:
        if span.parent is not None:
            assert span.parent.start <= span.start <= span.end <= span.parent.end


def test_no_failure_and_no_secret(running: Stage, played: dict[str, Shown]) -> None:
    """Nothing is marked as an error, and the graph database's password is nowhere."""
    kept = running.collector.traces
    spans = [span for trace_id in kept.recent(1000).trace_ids for span in _trace(running, trace_id).spans]
    assert len(spans) >= sum(len(shown.trace.spans) for shown in played.values())
    assert {span.status for span in spans} == {"unset"}
    assert all("password" not in key for span in spans for key in span.attributes)


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

    def whole() -> bool:
        found = running.collector.traces.summaries(map(bytes.fromhex, callers))
        return len(found) == _CONCURRENT and {each.root_kind for each in found} == {"server"}

    wait_until(whole)
    for trace_id, caller in callers.items():
        trace = _trace(running, bytes.fromhex(trace_id))
        (server,) = trace.roots
        assert (server.kind, server.parent_id) == ("server", caller)
        assert {(span.kind, span.parent) for span in trace.spans[1:]} == {("client", server)}
