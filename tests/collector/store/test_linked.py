"""Links are followed the other way: the spans of other traces that link to one are found by its id."""

from __future__ import annotations

from pathlib import Path

import pytest

from causal_otel.collector.query import Linking
from causal_otel.collector.store.reader import Reader
from tests.collector.spans import HOUR, NOON, link, span, trace_id, traces
from tests.collector.store.stores import close, write


def _same(found: Linking, expected: Linking) -> bool:
    return (set(found.links), found.complete) == (set(expected.links), expected.complete)


@pytest.mark.parametrize("closed", [False, True])
def test_the_spans_that_link_to_a_trace_are_found(tmp_path: Path, closed: bool) -> None:
    """Whether their day is closed or not, with the role that the link has; links within a trace are none of them."""
    messages = [
        traces(span(trace=1, id=10)),
        traces(span("later", trace=2, id=20, start=NOON + HOUR, links=[link(1, 10, {"causal.link": "sender"})])),
        traces(span("twice", trace=3, id=30, links=[link(1, 10), link(1, 11), link(2, 20)])),
        traces(span("day before", trace=4, id=40, start=NOON - 30 * HOUR, links=[link(1, 10)])),
        traces(span("inside", trace=1, id=11, links=[link(1, 10)])),
    ]
    expected = write(tmp_path, messages)
    if closed:
        close(tmp_path)
    with Reader(tmp_path) as reader:
        for number, count in ((1, 4), (2, 1), (3, 0), (9, 0)):
            found = reader.linked_from(trace_id(number))
            assert len(found.links) == count
            assert _same(found, expected.linked_from(trace_id(number)))
        assert {each.role for each in reader.linked_from(trace_id(1)).links} == {"sender", ""}


def test_many_are_cut_and_told(tmp_path: Path) -> None:
    """No more are returned than were asked for, or than there is time for, and the answer says that there are more."""
    write(tmp_path, [traces(*(span(trace=2, id=100 + number, links=[link(1, 10)]) for number in range(30)))])
    with Reader(tmp_path) as reader:
        few = reader.linked_from(trace_id(1), 7)
        assert (len(few.links), few.complete) == (7, False)
        all_of_them = reader.linked_from(trace_id(1), 30)
        assert (len(all_of_them.links), all_of_them.complete) == (30, True)
        assert not reader.linked_from(trace_id(1), seconds=-1).complete


def test_what_was_received_twice_is_told_once(tmp_path: Path) -> None:
    """A span that was sent again links once."""
    twice = traces(span(trace=2, id=20, links=[link(1, 10)]))
    write(tmp_path, [twice, twice])
    with Reader(tmp_path) as reader:
        assert len(reader.linked_from(trace_id(1)).links) == 1
