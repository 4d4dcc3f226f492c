"""What of the time to the answer a blocked event loop took, and who blocked it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.causality.explanation.made import (
    OTHER_TRACE,
    call,
    explained,
    query,
    request,
    shares,
    span,
    stall,
    task,
    view,
)


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({"causal.block.cpu": 0.14}, " (computing)"),
        ({"causal.block.cpu": 0.14, "causal.block.gc": 0.12}, " (garbage collection)"),
        ({"causal.block.wait": 0.14, "causal.block.cpu": 0.01}, " (a blocking call)"),
        ({"causal.block.gil": 0.14}, " (waiting for the GIL)"),
        ({"causal.block.starved": 0.14}, " (no free CPU)"),
        ({}, ""),
    ],
)
def test_a_stall_names_the_code_and_what_it_did(measured: dict[str, Any], why: str) -> None:
    """The frame of the record, and the largest of its shares."""
    found = shares(request(200, {"causal.loop.blocked": 0.15}), stall("block", 0, 150, measured))
    assert found == {f"loop blocked 150 ms by report.py:31 render(){why}": 150, "own code": 50}


def test_a_stall_of_many_callbacks_says_so() -> None:
    """None of them alone has held the loop, so that there is no place in the code to name."""
    crowd = span("s", "root", 0, 150, operation="loop blocked", attributes={"causal.block.callbacks": 312})
    assert shares(request(200), crowd) == {
        "loop blocked 150 ms by 312 callbacks, none of them long": 150,
        "own code": 50,
    }


def test_a_span_of_that_name_alone_is_no_stall() -> None:
    """Users may call their own spans so."""
    assert shares(request(200), span("s", "root", 0, 150, operation="loop blocked")) == {"own code": 200}


def test_a_victims_query_is_not_blamed_for_a_stall() -> None:
    """A SELECT that took 512 ms, in which the loop was blocked for 412, is 100 ms of PostgreSQL."""
    suffered = {"causal.loop.blocked": 0.412, "causal.server": 0.512}
    assert shares(request(512, {"causal.loop.blocked": 0.412}), query("q", 0, 512, suffered)) == {
        "loop blocked 412 ms by another request or task": 412,
        "PostgreSQL": 100,
    }


def test_a_stall_is_counted_once_however_many_spans_suffered_it() -> None:
    """All open spans say it: it is cut out of the innermost."""
    suffered = {"causal.loop.blocked": 0.2}
    found = shares(
        request(500, suffered),
        span("mine", "root", 50, 450, attributes=suffered),
        query("q", 100, 400, suffered, parent="mine"),
    )
    assert found == {"loop blocked 200 ms by another request or task": 200, "own code": 200, "PostgreSQL": 100}


def test_a_stall_of_this_trace_is_cut_out_where_it_was() -> None:
    """A query beside the code that blocks: of its wait for the pool only what the stall overlaps is the stall's."""
    parts = {"causal.pool.wait": 0.1, "causal.server": 0.2, "causal.loop.blocked": 0.15}
    found = shares(
        request(300, {"causal.loop.blocked": 0.15}), query("q", 0, 300, parts), stall("block", 50, 200, parent="root")
    )
    assert found == {
        "loop blocked 150 ms by report.py:31 render()": 150,
        "PostgreSQL": 100,
        "waiting for a PostgreSQL connection": 50,
    }


def test_parts_that_leave_room_for_a_stall_lie_around_it() -> None:
    """Ours do: what the loop's standing still has added to the wait for a server is not in its part."""
    blocked = {"causal.loop.blocked": 0.15}
    parts = {"causal.pool.wait": 0.1, "causal.server": 0.05, **blocked}
    known = shares(request(300, blocked), query("q", 0, 300, parts), stall("block", 50, 200))
    assert known == {
        "loop blocked 150 ms by report.py:31 render()": 150,
        "waiting for a PostgreSQL connection": 100,
        "PostgreSQL": 50,
    }
    elsewhere = shares(request(300, blocked), query("q", 0, 300, {**parts, "causal.pool.wait": 0.1}))
    assert elsewhere == {
        "loop blocked 150 ms by another request or task": 150,
        "waiting for a PostgreSQL connection": 100,
        "PostgreSQL": 50,
    }
    long = {"causal.pool.wait": 0.3, "causal.server": 0.05, "causal.loop.blocked": 0.2}
    assert shares(request(550, {"causal.loop.blocked": 0.2}), query("q", 0, 550, long)) == {
        "waiting for a PostgreSQL connection": 300,
        "loop blocked 200 ms by another request or task": 200,
        "PostgreSQL": 50,
    }


def test_a_span_below_the_local_root_may_know_its_own_time() -> None:
    """A background task computes for itself."""
    task_of_request = span("task", "root", 100, 400, attributes={"causal.cpu": 0.06})
    found = explained(request(100, {"causal.cpu": 0.1}), task_of_request)
    assert [each.label for each in found.answer.shares] == ["computing"]
    assert found.afterwards is not None
    assert {each.label: round(each.nanoseconds / 1e6, 3) for each in found.afterwards.shares} == {
        "nothing traced: waiting": 240,
        "computing": 60,
    }


def test_a_task_that_nobody_awaited_is_named() -> None:
    """What it did itself is told as its time, and not by the measure of the request, which has none of it."""
    unawaited = {"causal.task": 2, "causal.task.unawaited": True}
    found = explained(
        request(100, {"causal.cpu": 0.1}),
        span("letter", "root", 50, 400, operation="send the letter", attributes=unawaited),
        span("mine", "letter", 100, 300),
        query("q", 300, 350, parent="letter"),
    )
    assert found.sentence == (
        "100 ms: 100 % computing; then 300 ms until the end of all work: "
        "83 % in a task that nobody awaited (send the letter), 17 % PostgreSQL"
    )


def test_a_task_of_its_own_has_not_computed_what_its_request_has() -> None:
    """Of another task's time the request's measure says nothing."""
    found = explained(request(100, {"causal.cpu": 0.1}), span("t", "root", 50, 400, attributes={"causal.task": 2}))
    assert found.afterwards is not None
    assert [each.label for each in found.afterwards.shares] == ["own code"]


def test_waits_before_a_span_do_not_count_twice() -> None:
    """In its queue until a worker had it, and for a thread in the end."""
    waits = {"causal.queue.wait": 0.4, "causal.prefetch.wait": 0.1, "causal.threadpool.wait": 0.05}
    found = explained(task("root", "", 0, 100, waits))
    assert {each.kind: each.nanoseconds / 1e6 for each in found.answer.shares} == {
        "queue_wait": 300, "own_code": 100, "thread_wait": 50, "worker_busy": 50,
    }  # fmt: skip
    assert found.answer.nanoseconds == 500_000_000


def test_a_stall_of_another_trace_names_it() -> None:
    """Where the culprit is known, so is its trace."""
    culprit = view(
        span("root", end=600, operation="GET /report", kind="server", trace_id=OTHER_TRACE),
        stall("block", 100, 400, trace_id=OTHER_TRACE),
    )
    suffered = {"causal.loop.blocked": 0.3}
    label = f"loop blocked 300 ms by report.py:31 render() in GET /report, trace {OTHER_TRACE}"
    found = shares(request(500, suffered), query("q", 0, 500, suffered), others=(culprit,))
    assert found == {label: 300, "PostgreSQL": 200}


@pytest.mark.parametrize("given", [{"service": "other"}, {"resource": {"service.instance.id": "7"}}])
def test_a_stall_of_another_process_is_nobodys_culprit(given: dict[str, Any]) -> None:
    """What blocked a loop elsewhere is not blamed, though it was at the same time."""
    culprit = view(stall("block", 100, 400, trace_id=OTHER_TRACE, parent="", **given))
    suffered = {"causal.loop.blocked": 0.3}
    found = shares(request(500, suffered), query("q", 0, 500, suffered), others=(culprit,))
    assert "loop blocked 300 ms by another request or task" in found


def test_a_longer_stall_than_was_suffered_was_on_another_loop() -> None:
    """Two processes may have one resource: what the victim says decides."""
    culprit = view(stall("block", 100, 400, trace_id=OTHER_TRACE, parent=""))
    suffered = {"causal.loop.blocked": 0.06}
    found = shares(request(500, suffered), query("q", 0, 500, suffered), others=(culprit,))
    assert "loop blocked 60 ms by another request or task" in found


def test_of_a_victim_partly_on_the_path_a_part_is_told() -> None:
    """A server's span that ends after its client is on the path up to there, with that share of its stall."""
    serve = span("serve", "c", 0, 200, kind="server", service="stock", attributes={"causal.loop.blocked": 0.1})
    assert shares(request(100), call("c", 0, 100), serve) == {
        "loop blocked 50 ms by another request or task": 50,
        "own code (stock)": 50,
    }


def test_a_stall_beside_the_path_is_told_at_the_end_of_the_sentence() -> None:
    """It held up others, and this trace's answer not."""
    found = explained(
        request(100), span("task", "root", 10, 400), stall("block", 200, 350, parent="task"), query("q", 0, 100)
    )
    assert found.sentence.startswith("100 ms: 100 % PostgreSQL; then 300 ms")
    beside = explained(
        request(100), span("task", "root", 10, 105), stall("block", 20, 90, parent="task"), query("q", 0, 100)
    )
    assert beside.sentence == "100 ms: 100 % PostgreSQL; beside that, loop blocked 70 ms by report.py:31 render()"
