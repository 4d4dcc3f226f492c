"""Errors grouped by type and own frame: what the store sums up, and what examples of it are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from causal_otel.collector.analysis import build
from causal_otel.collector.error_labels import ErrorLabel, error_of, joined, split
from causal_otel.collector.figures import Selected
from causal_otel.collector.query import TraceReader
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.trends.documents import figures
from causal_otel.collector.trends.errors import errors, example, examples
from causal_otel.collector.trends.periods import DAY, HOUR, Period
from tests.collector.oracle import MemoryReader
from tests.collector.spans import MILLISECOND, MINUTE, NOON, event, merged, span, traces
from tests.collector.store.stores import close, write
from tests.collector.web.failing import ERRORS, failing, raised

ANY = Selected()


@pytest.mark.parametrize("length", [20 * HOUR, 2 * DAY, 5 * DAY])
@pytest.mark.parametrize("closed", [False, True])
def test_the_store_tells_what_its_spans_tell(tmp_path: Path, length: int, closed: bool) -> None:
    """By the hour and by the day, of open days and of closed ones: counts, trends, operations, versions."""
    expected = write(tmp_path, failing(NOON, count=60, over=4 * DAY))
    if closed:
        close(tmp_path)
    period = Period(NOON - length, NOON)
    with Reader(tmp_path) as reader:
        found = figures(reader, "errors", None, period)
        wanted = figures(expected, "errors", None, period)
        assert found == wanted
        assert figures(reader, "errors", "bank", period) == figures(expected, "errors", "bank", period)
    assert found["spans"] == sum(sum(row["trend"]) for row in found["errors"])


def test_a_group_is_the_same_in_the_store_and_in_a_trace(tmp_path: Path) -> None:
    """What is told apart when spans are received is found again in the traces, so that examples are of the group."""
    with_messages = list(failing(NOON, count=40))
    write(tmp_path, with_messages)
    with Reader(tmp_path) as reader:
        labels = {each.label for each in errors(reader, ANY, Period(NOON - 2 * DAY, NOON)).groups}
    assert labels == {error_of(each) for message in with_messages for each in build(message).spans if each.error}


@pytest.mark.parametrize(
    ("attributes", "exception", "expected"),
    [
        ({"error.type": "500"}, ("", ""), ErrorLabel("500", "")),
        ({"error.type": "500"}, ("ValueError", "a.py f()"), ErrorLabel("ValueError", "a.py f()")),
        ({}, ("", ""), ErrorLabel("error", "")),
        ({"error.type": "a\nb"}, ("", ""), ErrorLabel("a\nb", "")),
        ({"error.type": 7}, ("", ""), ErrorLabel("7", "")),
        ({"error.type": "x" * 300}, ("", "y" * 300), ErrorLabel("x" * 100, "y" * 100)),
    ],
)
def test_labels_are_read_as_they_were_written(
    attributes: dict[str, object], exception: tuple[str, str], expected: ErrorLabel
) -> None:
    """The exception's type comes before ``error.type``; both, and the frame, are cut."""
    assert split(joined(attributes, exception)) == expected


def test_the_rest_of_too_many_groups_is_one_without_a_frame() -> None:
    """The label of all others is no type with a line break."""
    assert split("others") == ErrorLabel("others", "")


def test_the_example_is_the_innermost_span_that_failed_so() -> None:
    """An error that passes through a query, a task and a request is looked at where it arose."""
    error = raised(ERRORS[1])
    spans = [
        span("GET /", trace=1, id=1, start=NOON, duration=9 * MILLISECOND, kind=2, **error),
        span("task", trace=1, id=2, parent=1, start=NOON, duration=8 * MILLISECOND, **error),
        span("inner", trace=1, id=3, parent=2, start=NOON, duration=7 * MILLISECOND, **error),
        span("other", trace=1, id=4, parent=3, start=NOON, duration=6 * MILLISECOND, **raised(ERRORS[2])),
    ]
    reader = MemoryReader([traces(*spans)])
    group = max(errors(reader, ANY, Period(NOON - HOUR, NOON)).groups, key=lambda each: each.count)
    found = example(reader, group)
    assert (group.count, group.requests, found.told) == (3, 1, 3)
    assert found.span is not None
    assert found.span.name == "inner"
    assert found.message == "no such order"
    assert "in load" in found.stack


@pytest.mark.parametrize("error", ERRORS)
def test_examples_are_found_whatever_tells_the_type(tmp_path: Path, error: tuple[str, str, str, str]) -> None:
    """An exception, an attribute, or nothing: the newest first, and none of another group."""
    write(tmp_path, failing(NOON, count=80, over=20 * HOUR))
    period = Period(NOON - DAY, NOON)
    kind, path, function, _ = error
    label = ErrorLabel(kind or "error", f"shop/{path.rpartition('/')[2]} {function}()" if path else "")
    with Reader(tmp_path) as reader:
        (group,) = (each for each in errors(reader, ANY, period).groups if each.label == label)
        found = examples(reader, group, ANY, period, seconds=60)
        assert len(found) == min(20, len(_failed(reader, label, period)))
        assert [each.trace_id for each in found] == _failed(reader, label, period)[:20]


def _failed(reader: TraceReader, label: ErrorLabel, period: Period) -> list[bytes]:
    """The traces with such an error, the newest innermost span first."""
    found = []
    for trace_id in reader.trace_ids(period.start, period.end):
        message = reader.trace(trace_id)
        assert message is not None
        failed = [each for each in build(message).spans if each.error and error_of(each) == label]
        if failed:
            found.append((max(failed, key=lambda each: each.depth).start, trace_id))
    return [trace_id for _, trace_id in sorted(found, reverse=True)]


def test_a_large_trace_is_not_read_for_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is just the link to it."""
    monkeypatch.setattr("causal_otel.collector.trends.errors._MOST_SPANS", 1)
    two = merged(*(traces(span(trace=1, id=number, start=NOON, error=True)) for number in (1, 2)))
    reader = MemoryReader([two])
    (group,) = errors(reader, ANY, Period(NOON - HOUR, NOON)).groups
    found = example(reader, group)
    assert (found.trace_id, found.span, found.message, found.stack) == (group.trace_id, None, "", "")


def test_what_is_new_is_told_only_where_the_time_before_is_kept() -> None:
    """Of a service that sent nothing before, nobody knows what is new."""
    old, new = (span(trace=number, start=NOON - MINUTE, **raised(ERRORS[number])) for number in (1, 2))
    before = span(trace=3, start=NOON - 30 * HOUR, **raised(ERRORS[1]))
    well = traces(span(trace=4, start=NOON - 30 * HOUR), service="bank")
    period = Period(NOON - DAY, NOON)
    for messages, expected in (
        ([traces(old, new)], {None}),
        ([traces(old, new, before)], {True, False}),
        ([traces(old, new), well], {True}),
    ):
        assert {each.new for each in errors(MemoryReader(messages), ANY, period).groups} == expected
    alone = MemoryReader([traces(old, new), well])
    assert {each.new for each in errors(alone, Selected("shop"), period).groups} == {None}


def test_a_type_that_goes_on_is_looked_for_among_all_errors() -> None:
    """Labels are cut, and a search by a part of a type finds nothing."""
    values = {"exception.type": "E" * 150}
    reader = MemoryReader([traces(span(trace=9, start=NOON, error=True, events=[event("exception", values)]))])
    period = Period(NOON - HOUR, NOON)
    (group,) = errors(reader, ANY, period).groups
    assert [each.told for each in examples(reader, group, ANY, period, seconds=60)] == [1]
