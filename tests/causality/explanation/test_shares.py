"""What the time to the answer is divided into, and under which names."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from causal_otel.causality.explanation import explain
from tests.causality.explanation.made import (
    OTHER_TRACE,
    TRACE_ID,
    call,
    explained,
    pairs,
    query,
    request,
    shares,
    span,
    span_id,
    stall,
    task,
    view,
)


def test_the_parts_of_a_query_are_told_apart() -> None:
    """Waiting for the pool, connecting, the database, its rows and the code in between have names of their own."""
    parts = {"causal.pool.wait": 0.2, "causal.connect": 0.05, "causal.server": 0.1, "causal.fetch": 0.04}
    assert shares(request(500), query("q", 50, 450, parts)) == {
        "waiting for a PostgreSQL connection": 200,
        "PostgreSQL": 110,
        "own code": 100,
        "connecting to PostgreSQL": 50,
        "waiting for more rows (PostgreSQL)": 40,
    }


def test_the_state_of_the_pool_is_told() -> None:
    """How many connections it may have, all of which are in use, and how many waited: the worst that was seen."""
    pool = {"causal.pool.wait": 0.1, "causal.pool.size": 2}
    found = shares(
        request(300),
        query("a", 0, 150, {**pool, "causal.pool.waiting": 1}),
        query("b", 150, 300, {**pool, "causal.pool.waiting": 4}),
    )
    assert found == {"waiting for a PostgreSQL connection (pool 2 of 2 in use, 4 waiting)": 200, "PostgreSQL": 100}


@pytest.mark.parametrize(
    ("system", "name", "label"),
    [
        ("neo4j", "causal.pool.wait", "waiting for a Neo4j connection"),
        ("elasticsearch", "causal.pool.wait", "waiting for an Elasticsearch connection"),
        ("redis", "causal.lock.wait", "waiting for a Redis lock"),
        ("redis", "causal.retry.wait", "pausing before another attempt at Redis"),
        ("neo4j", "causal.discovery", "asking which Neo4j server to talk to"),
        ("mine", "causal.pool.setup", "preparing a mine connection"),
    ],
)
def test_each_part_has_a_name(system: str, name: str, label: str) -> None:
    """The name says what was waited for, and of which system."""
    assert shares(request(100), query("q", 0, 100, {"db.system.name": system, name: 0.06}))[label] == 60


def test_a_call_of_another_service_is_named_after_its_host() -> None:
    """Its pool, its connection, the wait for its answer and for the body."""
    parts = {"causal.pool.wait": 0.04, "causal.connect": 0.02, "causal.fetch": 0.01}
    assert shares(request(100), call("c", 0, 100, parts)) == {
        "waiting for a connection to api.example.com": 40,
        "waiting for api.example.com": 30,
        "connecting to api.example.com": 20,
        "waiting for the body from api.example.com": 10,
    }


def test_where_the_server_is_traced_too_its_client_was_on_the_way() -> None:
    """What the server's span does not explain is the network's, and code of another service has that one's name."""
    serve = span("serve", "c", 30, 80, kind="server", service="stock")
    assert shares(request(100), call("c", 0, 100), serve) == {
        "on the way to api.example.com and back": 50,
        "own code (stock)": 50,
    }


def test_a_request_waits_for_its_client_and_for_threads() -> None:
    """Of the request's own time, in the order in which it happens."""
    asgi = request(100, {"causal.receive": 0.03, "causal.threadpool.wait": 0.02, "causal.send": 0.01})
    asgi.scope_spans[0].scope.name = "causal_otel.asgi"
    assert shares(asgi, query("q", 60, 80)) == {
        "waiting for the request's body": 30,
        "own code": 20,
        "PostgreSQL": 20,
        "waiting for a thread": 20,
        "waiting until the client takes the response": 10,
    }


def test_a_jobs_wait_for_a_thread_is_cut_out_of_what_lies_before_it() -> None:
    """It is on the job's first span, and passed in its parent's own time."""
    assert shares(request(100), span("job", "root", 60, 90, attributes={"causal.threadpool.wait": 0.05})) == {
        "waiting for a thread": 50,
        "own code": 50,
    }


def test_what_a_sibling_did_meanwhile_is_no_wait_for_a_thread() -> None:
    """Only time that the path explains by nothing else is cut out."""
    found = shares(
        request(100), query("q", 0, 60), span("job", "root", 60, 100, attributes={"causal.threadpool.wait": 0.05})
    )
    assert found == {"PostgreSQL": 60, "own code": 40}


def test_after_the_answer_a_queue_is_waited_for() -> None:
    """What goes on for longer is told besides: in the queue, with a worker that was busy, and at work."""
    found = explained(
        request(100),
        span("send", "root", 90, 95, kind="producer", attributes={"messaging.destination.name": "celery"}),
        task("run", "send", 1095, 1200, {"causal.queue.wait": 1.0, "causal.prefetch.wait": 0.7}),
    )
    assert {each.label: each.nanoseconds / 1e6 for each in found.answer.shares} == {
        "own code": 95,
        "sending to the queue celery": 5,
    }
    assert found.afterwards is not None
    assert {each.label: each.nanoseconds / 1e6 for each in found.afterwards.shares} == {
        "waiting for a busy worker": 700,
        "waiting in the queue celery": 295,
        "own code (worker)": 105,
    }
    assert found.sentence == (
        "100 ms: 95 % own code, 5 % sending to the queue celery; then 1.1 s until the end of all work: "
        "64 % waiting for a busy worker, 27 % waiting in the queue celery, 10 % own code (worker)"
    )


def test_a_task_that_is_due_later_did_not_wait_in_its_queue() -> None:
    """What lies before its own measure of its wait was asked for."""
    found = explained(
        span("root", end=10, kind="producer"),
        task("run", "root", 1010, 1100, {"causal.queue.wait": 0.2, "celery.task.eta": "2026-11-22T12:00:00"}),
    )
    assert found.afterwards is not None
    assert {each.kind: each.nanoseconds / 1e6 for each in found.afterwards.shares} == {
        "not_due": 800, "queue_wait": 200, "own_code": 90,
    }  # fmt: skip


def test_a_trace_that_begins_with_a_task_has_waited_before() -> None:
    """Its time begins when it could have run."""
    found = explained(task("root", "", 0, 100, {"causal.queue.wait": 0.4}))
    assert found.sentence == "500 ms: 80 % waiting in the queue celery, 20 % own code"
    assert found.answer.nanoseconds == 500_000_000


def test_clocks_that_disagree_change_nothing() -> None:
    """A server whose clock is an hour ahead has its parts, its stall and its child where they were."""
    hour = 3_600_000
    away: dict[str, Any] = {"service": "stock", "resource": {"host.name": "there"}}
    found = shares(
        request(100),
        call("c", 0, 100),
        span(
            "serve",
            "c",
            hour + 20,
            hour + 80,
            kind="server",
            attributes={"causal.loop.blocked": 0.01, "causal.cpu": 0.012},
            **away,
        ),
        query(
            "q", hour + 30, hour + 70, {"causal.pool.wait": 0.03, "causal.loop.blocked": 0.01}, parent="serve", **away
        ),
        stall("block", hour + 60, hour + 70, parent="serve", **away),
    )
    assert found == {
        "on the way to api.example.com and back": 40,
        "waiting for a PostgreSQL connection": 30,
        "computing (stock)": 12,
        "loop blocked 10 ms by report.py:31 render()": 10,
        "nothing traced: waiting (stock)": 8,
    }


# -- own time ------------------------------------------------------------------------------------------------------


def test_own_code_is_told_apart_where_it_was_measured() -> None:
    """Garbage collection, waiting for its turn, computing; what is left is a wait for something that nobody traced."""
    own = {"causal.cpu": 0.3, "causal.gc": 0.1, "causal.loop.ready.wait": 0.05}
    assert shares(request(1000, own), query("q", 100, 200), span("mine", "root", 300, 400)) == {
        "nothing traced: waiting": 550,
        "computing": 200,
        "garbage collection": 100,
        "PostgreSQL": 100,
        "waiting for its turn on the event loop": 50,
    }


def test_what_a_stall_has_computed_is_not_computed_twice() -> None:
    """The local root's measure holds it as well."""
    busy = stall("block", 100, 400, {"causal.block.cpu": 0.3})
    assert shares(request(500, {"causal.cpu": 0.32}), busy) == {
        "loop blocked 300 ms by report.py:31 render() (computing)": 300,
        "nothing traced: waiting": 180,
        "computing": 20,
    }


def test_computing_is_no_more_than_own_time() -> None:
    """The thread computed in drivers too."""
    assert shares(request(100, {"causal.cpu": 0.09}), query("q", 20, 100)) == {"PostgreSQL": 80, "computing": 20}


# -- locks ---------------------------------------------------------------------------------------------------------


def _wait(links: list[Span.Link] | None = None, holder: str = "") -> ResourceSpans:
    own = {"causal.lock.kind": "asyncio.Lock", "causal.lock.wait": 0.08}
    own |= {"causal.lock.holder": holder} if holder else {}
    return span("wait", "root", 10, 90, operation="wait Lock", attributes=own, links=links)


def _holder(trace_id: str, name: str) -> list[Span.Link]:
    link = Span.Link(
        trace_id=bytes.fromhex(trace_id),
        span_id=bytes.fromhex(span_id(name)),
        attributes=pairs({"causal.link": "holder"}),
    )
    return [link]


def test_a_lock_and_its_holder_are_named() -> None:
    """By the task's name, its span, or both; what is not known is not said."""
    here = query("q", 0, 5)
    assert shares(request(100), here, _wait())["waiting for asyncio.Lock"] == 80
    assert shares(request(100), here, _wait(holder="refresh"))["waiting for asyncio.Lock held by refresh"] == 80
    linked = _wait(_holder(TRACE_ID, "q"))
    assert shares(request(100), here, linked)["waiting for asyncio.Lock held by SELECT items"] == 80
    both = _wait(_holder(TRACE_ID, "q"), "refresh")
    assert shares(request(100), here, both)["waiting for asyncio.Lock held by refresh (SELECT items)"] == 80
    elsewhere = _wait(_holder(OTHER_TRACE, "root"), "refresh")
    assert shares(request(100), elsewhere)["waiting for asyncio.Lock held by refresh"] == 80
    culprit = view(span("root", end=90, operation="GET /stats", trace_id=OTHER_TRACE))
    found = shares(request(100), elsewhere, others=(culprit,))
    assert found["waiting for asyncio.Lock held by refresh (GET /stats)"] == 80


def test_short_waits_for_locks_are_parts_of_the_span_around() -> None:
    """Where a wait has no span of its own."""
    assert shares(request(100, {"causal.lock.wait": 0.02})) == {"own code": 80, "waiting for a lock": 20}


# -- whatever comes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, "0.2", -1.0, float("nan"), float("inf")])
def test_what_is_no_time_is_not_told(value: Any) -> None:
    """Attributes come from anybody."""
    assert shares(request(100), query("q", 0, 100, {"causal.pool.wait": value})) == {"PostgreSQL": 100}


def test_parts_are_cut_to_the_span() -> None:
    """Together they are never more than it took."""
    found = shares(request(100), query("q", 0, 100, {"causal.pool.wait": 0.08, "causal.connect": 0.09}))
    assert found == {"waiting for a PostgreSQL connection": 80, "connecting to PostgreSQL": 20}


def test_the_time_of_one_span_is_explained_if_that_is_asked_for() -> None:
    """The same, from another root."""
    trace = view(request(100), span("mine", "root", 10, 60, operation="mine"), query("q", 20, 50, parent="mine"))
    found = explain(trace, root=trace.spans[1])
    assert found.sentence == "50 ms: 60 % PostgreSQL, 40 % own code"
    assert found.operation == "mine"


def test_no_time_and_no_spans_are_explained_too() -> None:
    """There is nothing to say, and that is said."""
    assert explained(request(0)).sentence == "0 ns: nothing took any time"
    assert explained().sentence == "0 ns: nothing took any time"
