"""The tasks of a trace as they are shown: who started them, and who waited for them."""

from __future__ import annotations

from causal_otel.causality.critical_path import task_runs
from tests.causality.traces import PlainTrace, trace


def _told(made: PlainTrace) -> list[str]:
    """Each task's number, spans, and where it was started and waited for."""
    found = []
    for run in task_runs(made):
        started = f" from {run.started_in.name}" if run.started_in else ""
        waited = f" for {run.waiter} in {run.waited_in.name if run.waited_in else '?'}" if run.waiter else ""
        fate = "" if run.fate == "awaited" or run.main else f" {run.fate}"
        spans = " ".join(span.name for span in run.spans)
        found.append(f"{run.number}: {spans}{started}{waited}{fate}")
    return found


def test_a_trace_without_numbers_has_none() -> None:
    """Where no span says anything of tasks, nothing is made up."""
    assert task_runs(trace("main 0-10 | a<main 0-4")) == []


def test_tasks_are_started_and_waited_for() -> None:
    """In the shape of jaeger-ui#2371 two tasks are started in one span, which waits for both."""
    made = trace("main 0-10 | foo1<main 0-4 #2 | foo3<main 6-10 #2>1 | foo2<main 0-5 #3>1")
    assert _told(made) == ["1: main", "3: foo2 from main for 1 in main", "2: foo1 foo3 from main for 1 in main"]
    runs = {run.number: run for run in task_runs(made)}
    assert (runs[2].first.name, runs[2].last.name) == ("foo1", "foo3")


def test_a_task_nobody_waits_for_is_unawaited() -> None:
    """It has no waiter, and one of which nothing is said is unknown."""
    made = trace("main 0-10 | a<main 1-20 #2! | b<main 2-4 #3")
    assert _told(made) == ["1: main", "2: a from main unawaited", "3: b from main unknown"]


def test_a_waiter_between_its_spans_waits_where_it_was_started() -> None:
    """A task without an open span is in none of its own, so its wait is shown in the span that has started it."""
    made = trace("main 0-30 | a<main 0-2 #2>1 | b<main 3-20 #3>2 | c<main 25-28 #2>1")
    assert "3: b from main for 2 in main" in _told(made)


def test_spans_within_others_of_the_task_are_not_its_ends() -> None:
    """First and last are of the outermost spans: an inner one may end with it."""
    made = trace("main 0-30 | a<main 0-20 #2>1 | b<a 5-20")
    (_, run) = task_runs(made)
    assert ([span.name for span in run.spans], run.first.name, run.last.name) == (["a", "b"], "a", "a")


def test_names_come_from_their_spans() -> None:
    """A task has the name that the application gave it, where a span tells."""
    made = trace("main 0-10 | a<main 0-4 #2>1 | b<main 5-8 #3>1")
    made.spans[1].attributes["causal.task.name"] = "refresh"
    assert [run.name for run in task_runs(made)] == ["", "refresh", ""]


def test_a_process_that_tells_nothing_has_none() -> None:
    """Another process's part of the trace has no numbers, so nothing is said of its tasks."""
    made = trace(
        "main 0-10 | a<main 0-4 #2>1 | call<main 4-9 client | served<call 5-8 server @other | c<served 6-7 @other"
    )
    assert _told(made) == ["1: main call", "2: a from main for 1 in main"]
