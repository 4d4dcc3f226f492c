"""What the path of a large trace costs: work grows as the spans do, and depth is not bounded by Python's stack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from causal_otel.causality.critical_path import Until, critical_path
from tests.causality.traces import PlainLink, PlainSpan, plain_trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tests.causality.traces import PlainTrace

    Shape = Callable[[int], list[PlainSpan]]


def chain(spans: int) -> list[PlainSpan]:
    """Each span lies in the one before."""
    found = [PlainSpan("0", 0, 3 * spans)]
    for number in range(1, spans):
        found.append(PlainSpan(f"{number}", number, 3 * spans - number, found[-1]))
    return found


def one_after_another(spans: int) -> list[PlainSpan]:
    """A span with very many children."""
    root = PlainSpan("root", 0, 3 * spans)
    return [root, *(PlainSpan(f"{number}", 3 * number, 3 * number + 2, root) for number in range(spans - 1))]


def all_at_once(spans: int) -> list[PlainSpan]:
    """As many, which all run at the same time and end one after another."""
    root = PlainSpan("root", 0, 3 * spans)
    return [root, *(PlainSpan(f"{number}", number, spans + number, root) for number in range(spans - 1))]


def nested_at_one_time(spans: int) -> list[PlainSpan]:
    """A chain of spans that all have the same times."""
    found = [PlainSpan("0", 0, 10)]
    for number in range(1, spans):
        found.append(PlainSpan(f"{number}", 3, 7, found[-1]))
    return found


def tasks(spans: int) -> list[PlainSpan]:
    """A gather of very many tasks, again and again."""
    found = one_after_another(spans)
    for number, span in enumerate(found[1:], 2):
        span.task, span.waiter = number, 1
    return found


def tasks_that_wait_for_each_other(spans: int) -> list[PlainSpan]:
    """Each task waits for the next, in a chain, under one span."""
    root = PlainSpan("root", 0, 3 * spans)
    found = [root]
    for number in range(2, spans + 1):
        span = PlainSpan(f"{number}", number, number + 1, root, task=number, waiter=number - 1)
        found.append(span)
    return found


def tasks_of_tasks(spans: int) -> list[PlainSpan]:
    """Each span is of a task that the span above it has started and waited for."""
    found = chain(spans)
    for number, span in enumerate(found[1:], 2):
        span.task, span.waiter = number, number - 1
    return found


def attempts(spans: int) -> list[PlainSpan]:
    """A message that was tried very often."""
    root = PlainSpan("root", 0, 1, kind="producer")
    found = [root]
    for number in range(1, spans):
        links = [PlainLink("t", f"{number - 1}", {"causal.link": "retry"})]
        found.append(PlainSpan(f"{number}", 3 * number, 3 * number + 2, root, kind="consumer", links=links))
    return found


SHAPES: list[Shape] = [
    chain,
    one_after_another,
    all_at_once,
    nested_at_one_time,
    tasks,
    tasks_that_wait_for_each_other,
    tasks_of_tasks,
    attempts,
]


def lines(made: PlainTrace, until: Until) -> int:
    """How many lines of Python are carried out to find the path; sorting is none."""
    count = 0

    def tracer(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        critical_path(made, until=until)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("until", ["answer", "end"])
@pytest.mark.parametrize("shape", SHAPES)
def test_four_times_the_spans_are_four_times_the_work(shape: Shape, until: Until) -> None:
    """Whatever the shape, a span costs the same in a large trace as in a small one."""
    few, many = lines(plain_trace(shape(100)), until), lines(plain_trace(shape(400)), until)
    assert many < 4.2 * few


@pytest.mark.long
@pytest.mark.parametrize("shape", [chain, one_after_another, tasks_of_tasks])
def test_a_hundred_thousand_spans_have_a_path(shape: Shape) -> None:
    """A chain of them, and a span with so many children, are no more than that."""
    made = plain_trace(shape(100_000))
    segments = critical_path(made, until="end")
    assert (segments[0].start, segments[-1].end) == (made.start, made.end)
    assert len(segments) > 99_999
