"""What operations took, beside what they took in the time before: told by a store, against the spans themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from causal_otel.collector.store.days import day_of
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.trends.documents import INCOMPLETE, figures
from causal_otel.collector.trends.periods import Period
from causal_otel.collector.trends.slower import change_text, compared
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, NOON
from tests.collector.store.endless import Hurried, plant_endless_day
from tests.collector.store.stores import close, write
from tests.collector.trends.slowing import slowing, went

PERIOD = Period(NOON - 24 * HOUR, NOON)
MESSAGES = list(slowing(NOON))
WENT = went(MESSAGES, NOON)


@pytest.mark.parametrize("closed", [False, True])
def test_a_store_tells_what_its_spans_tell(tmp_path: Path, closed: bool) -> None:
    """How many times as long p95 is, as exactly as percentiles are known; of few calls nothing, and what is new."""
    write(tmp_path, MESSAGES)
    if closed:
        close(tmp_path)
    with Reader(tmp_path) as reader:
        found = compared(reader, reader.statistics(PERIOD.start, PERIOD.end), PERIOD, None)
    assert {each.operation for each in found} == set(WENT)
    for each in found:
        expected = WENT[each.operation]
        assert (each.calls_before, each.calls) == (len(expected.before), len(expected.since))
        assert each.is_new == (not expected.before)
        if expected.change is None:
            assert each.change is None
        else:
            assert each.change == pytest.approx(expected.change, rel=0.11)
    changes = {each.operation: each.change for each in found if each.change is not None}
    assert max(changes, key=lambda name: changes[name]) == "GET /checkout"
    assert min(changes, key=lambda name: changes[name]) == "GET /search"


def test_documents_have_it_in_their_rows() -> None:
    """Exactly as brute force has it; of a service alone, and of some operations, the same."""
    reader = MemoryReader(MESSAGES)
    rows = figures(reader, "operations", None, PERIOD)["operations"]
    assert {row["operation"]: row["change"] for row in rows} == {name: each.change for name, each in WENT.items()}
    assert {row["operation"]: row["calls_before"] for row in rows} == {
        name: len(each.before) for name, each in WENT.items()
    }
    assert figures(reader, "operations", "shop", PERIOD)["operations"] == rows
    (row,) = figures(reader, "operations", None, PERIOD, '"GET /checkout"')["operations"]
    assert row in rows


def test_where_nothing_is_kept_of_the_time_before_nothing_is_new() -> None:
    """Neither a change nor that there were no calls is told."""
    reader = MemoryReader(MESSAGES)
    longer = Period(NOON - 72 * HOUR, NOON)
    for row in figures(reader, "operations", None, longer)["operations"]:
        assert (row["calls_before"], row["p95_before_nano"], row["change"]) == (None, None, None)


def test_without_the_time_to_read_the_time_before_the_rest_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of the time itself are all there, and the document does not say otherwise."""
    write(tmp_path, MESSAGES)
    plant_endless_day(monkeypatch, day_of(NOON) - 1)
    period = Period(NOON - 11 * HOUR, NOON)
    with Hurried(tmp_path) as reader:
        document = figures(reader.bounded(), "operations", None, period)
    expected = MemoryReader(MESSAGES).statistics(period.start, period.end)
    assert INCOMPLETE not in document
    assert [(row["operation"], row["calls"]) for row in document["operations"]] == [
        (each.operation, each.calls) for each in expected
    ]
    assert {row["calls_before"] for row in document["operations"]} == {None}


@pytest.mark.parametrize(
    ("change", "text"),
    [(0.0004, "×0.0004"), (0.38, "×0.38"), (1.0, "×1"), (6.12, "×6.1"), (9.96, "×10"), (1234.5, "×1234")],
)
def test_changes_are_short(change: float, text: str) -> None:
    """Two digits, or all before the point."""
    assert change_text(change) == text
