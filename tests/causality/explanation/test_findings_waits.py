"""Findings about waits: queues, stalls, locks, cancellations, tasks that nobody awaits, and what failed."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from tests.causality.explanation.made import (
    OTHER_TRACE,
    call,
    explained,
    findings,
    of_kind,
    pairs,
    query,
    request,
    span,
    span_id,
    stall,
    task,
    view,
)

# -- queues --------------------------------------------------------------------------------------------------------


def _sent(*tasks: ResourceSpans) -> list[ResourceSpans]:
    return [request(100), span("send", "root", 90, 95, kind="producer"), *tasks]


def test_a_message_that_waited_is_told() -> None:
    """How long, in which queue, and how long a worker had it and was busy."""
    waited = task("run", "send", 1100, 1200, {"causal.queue.wait": 1.0, "causal.prefetch.wait": 0.75})
    (found,) = of_kind("queue_wait", *_sent(waited))
    assert found.sentence == "mail waited 1 s in the queue celery, 750 ms of it with a worker that was busy"
    assert (found.nanoseconds, found.span_ids) == (1_000_000_000, (span_id("run"),))


def test_of_many_messages_the_longest_wait_is_told() -> None:
    """One finding for a task."""
    waited = [task(f"run{number}", "send", 1100, 1200, {"causal.queue.wait": 0.1 * number}) for number in range(1, 5)]
    (found,) = of_kind("queue_wait", *_sent(*waited))
    assert found.sentence == "mail ×4 waited up to 400 ms in the queue celery"
    assert found.span_ids[0] == span_id("run4")


def test_a_message_that_was_taken_at_once_is_not_told() -> None:
    """A few milliseconds are no wait."""
    assert of_kind("queue_wait", *_sent(task("run", "send", 100, 200, {"causal.queue.wait": 0.005}))) == []


# -- stalls --------------------------------------------------------------------------------------------------------


def test_stalls_that_were_caused_are_added_up_by_the_code() -> None:
    """How often, how long, and that others paid for it."""
    found = of_kind(
        "loop_block_caused",
        request(500),
        stall("a", 0, 100, {"causal.block.wait": 0.1}),
        stall("b", 200, 260, {"causal.block.wait": 0.06}),
        stall("c", 300, 360, {"causal.block.frame": "app.py:7 dump()"}),
    )
    assert [each.sentence for each in found] == [
        (
            "report.py:31 render() (a blocking call) blocked the event loop 2 times for 160 ms: "
            "nothing else ran on it meanwhile"
        ),
        "app.py:7 dump() blocked the event loop for 60 ms: nothing else ran on it meanwhile",
    ]
    assert [each.spans for each in found] == [2, 1]


def test_a_stall_that_was_suffered_names_the_culprit_and_the_victim() -> None:
    """What waited through it, and what is known of who held the loop."""
    suffered = {"causal.loop.blocked": 0.3}
    spans = [request(500, suffered), query("q", 0, 500, suffered)]
    (found,) = of_kind("loop_block_suffered", *spans)
    assert found.sentence == "the event loop was blocked by another request or task for 300 ms during SELECT items"
    culprit = view(
        span("root", end=600, operation="GET /report", kind="server", trace_id=OTHER_TRACE),
        stall("block", 100, 400, trace_id=OTHER_TRACE),
    )
    (found,) = of_kind("loop_block_suffered", *spans, others=(culprit,))
    assert found.sentence == (
        f"the event loop was blocked by report.py:31 render() in GET /report, trace {OTHER_TRACE} for 300 ms "
        "during SELECT items"
    )
    assert of_kind("loop_block_caused", *spans, others=(culprit,)) == []


def test_a_trace_does_not_suffer_what_it_caused() -> None:
    """It is told once."""
    suffered = {"causal.loop.blocked": 0.3}
    found = findings(request(500, suffered), query("q", 0, 500, suffered), stall("block", 100, 400))
    assert [kind for kind, _ in found] == ["loop_block_caused"]


# -- locks ---------------------------------------------------------------------------------------------------------


def test_a_wait_for_a_lock_names_the_holder() -> None:
    """Its task and its span, how long, and how many waited already."""
    link = Span.Link(
        trace_id=bytes.fromhex("a1" * 16),
        span_id=bytes.fromhex(span_id("q")),
        attributes=pairs({"causal.link": "holder"}),
    )
    own = {"causal.lock.kind": "asyncio.Lock", "causal.lock.holder": "refresh", "causal.lock.waiting": 2}
    waits = [
        span(f"w{number}", "root", number * 40, number * 40 + 30, operation="wait Lock", attributes=own, links=[link])
        for number in range(2)
    ]
    (found,) = of_kind("lock_wait", request(100), query("q", 90, 95), *waits)
    assert found.sentence == "waiting for asyncio.Lock held by refresh (SELECT items) ×2, 60 ms, behind 2 others"
    assert found.spans == 2


def test_a_lock_in_redis_is_told() -> None:
    """How long, and whether it was given up."""
    lock = {"db.system.name": "redis", "causal.lock.wait": 0.08, "causal.lock.acquired": False}
    (found,) = of_kind("redis_lock", request(100), query("q", 0, 90, lock, operation="LOCK"))
    assert found.sentence == "waiting for a Redis lock that somebody else held, 80 ms, and gave up"
    lock["causal.lock.acquired"] = True
    (found,) = of_kind("redis_lock", request(100), query("q", 0, 90, lock, operation="LOCK"))
    assert found.sentence == "waiting for a Redis lock that somebody else held, 80 ms"


def test_a_span_of_that_name_alone_is_no_lock() -> None:
    """Users may call their own spans so."""
    assert findings(request(100), span("w", "root", 0, 90, operation="wait for it")) == []


# -- cancellation --------------------------------------------------------------------------------------------------


def test_a_client_that_went_away_is_told_with_what_was_under_way() -> None:
    """The innermost calls that its going away has cancelled."""
    cancelled = {"causal.cancelled": True}
    gone = {"error.type": "client_disconnected", **cancelled}
    (found,) = of_kind(
        "cancelled",
        request(80, gone, error=True),
        span("mine", "root", 10, 80, attributes=cancelled),
        query("q", 20, 80, cancelled, parent="mine"),
    )
    assert found.sentence == "POST /orders: the client went away after 80 ms, while SELECT items was under way"
    assert found.span_ids == (span_id("root"), span_id("mine"), span_id("q"))
    assert findings(request(80, gone, error=True), call("c", 0, 10))[0][1] == (
        "POST /orders: the client went away after 80 ms"
    )


def test_what_a_timeout_has_cancelled_is_told() -> None:
    """Of spans that were cancelled together the innermost."""
    cancelled = {"causal.cancelled": True}
    (found,) = of_kind(
        "cancelled",
        request(80),
        span("mine", "root", 10, 60, attributes=cancelled),
        query("q", 20, 60, cancelled, parent="mine"),
    )
    assert found.sentence == "SELECT items was cancelled after 40 ms"


def test_calls_of_one_kind_are_told_together() -> None:
    """However many were cancelled, retried or not awaited: one finding for each kind."""
    spans = [query(f"q{n}", n * 10, n * 10 + n + 1, {"causal.cancelled": True}) for n in range(3)]
    (found,) = of_kind("cancelled", request(80), *spans)
    assert found.sentence == "SELECT items ×3 was cancelled after up to 3 ms"
    attempts = {"causal.attempts": 2, "causal.retry.wait": 0.002}
    spans = [query(f"q{n}", n * 10, n * 10 + 5, {**attempts, "causal.attempts": n + 2}) for n in range(3)]
    (found,) = of_kind("retries", request(80), *spans)
    assert found.sentence == "SELECT items ×3 took up to 4 attempts and 15 ms, 6 ms of it pausing between them"
    lock = {"db.system.name": "redis", "causal.lock.wait": 0.01}
    (found,) = of_kind("redis_lock", request(80), *(query(f"q{n}", n * 20, n * 20 + 15, lock) for n in range(3)))
    assert found.sentence == "waiting for a Redis lock that somebody else held ×3, 30 ms"
    own = {"causal.task.unawaited": True, "causal.task.name": "one"}
    (found,) = of_kind(
        "unawaited_task",
        request(80),
        *(span(f"t{n}", "root", 50, 90, operation="refresh", attributes=own) for n in "xy"),
    )
    assert found.sentence == "nobody awaited refresh ×2, 40 ms, until 10 ms after the answer"


# -- tasks that nobody awaits --------------------------------------------------------------------------------------


def test_a_task_that_nobody_awaits_is_told() -> None:
    """Its name if it has one, how long it took, and how long after the answer."""
    own: dict[str, Any] = {"causal.task.unawaited": True, "causal.task.name": "refresh-cache"}
    (found,) = of_kind("unawaited_task", request(100), span("t", "root", 50, 350, operation="refresh", attributes=own))
    assert found.sentence == "nobody awaited refresh in the task refresh-cache, 300 ms, until 250 ms after the answer"
    del own["causal.task.name"]
    (found,) = of_kind("unawaited_task", request(100), span("t", "root", 50, 90, operation="refresh", attributes=own))
    assert found.sentence == "nobody awaited refresh, 40 ms"
    assert of_kind("unawaited_task", request(100), span("t", "root", 50, 90)) == []


# -- failures ------------------------------------------------------------------------------------------------------


def test_what_failed_first_comes_first() -> None:
    """Not what failed because of it, and before findings that took longer."""
    failed = {"error.type": "TimeoutError"}
    spans = [
        request(1000, failed, error=True),
        span("mine", "root", 0, 900, attributes=failed, error=True),
        query("q", 0, 50, failed, parent="mine", error=True, message="no answer"),
        query("later", 60, 70, failed, parent="mine", error=True),
        query("wait", 100, 900, {"causal.pool.wait": 0.8}),
    ]
    found = findings(*spans)
    assert found[0] == ("error", "SELECT items failed first: TimeoutError: no answer; 1 more failed by themselves")
    assert found[1][0] == "pool_exhausted"


def test_a_good_and_quick_trace_has_no_findings() -> None:
    """There is nothing to say."""
    assert explained(request(100), query("a", 0, 30), span("mine", "root", 40, 60), call("c", 45, 55)).findings == ()
