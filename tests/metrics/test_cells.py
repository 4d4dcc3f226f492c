"""Cells: what is measured is counted right, bounded, and never anybody's problem."""

from __future__ import annotations

import bisect
import random
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN, SpanKind

from causal_otel._internal import faults
from causal_otel.instrument.measured import Instrument, Measured
from causal_otel.instrument.operation import Operation, Running
from causal_otel.metrics.cells import LIMIT, LONG, Cells
from causal_otel.metrics.observer import Metrics

BOUNDS = (1.0, 2.0, 5.0)
WORK = Instrument("tests.duration", "s", "How long.", ("who", "error.type"), ("who",), BOUNDS)
ROWS = WORK._replace(name="tests.rows", unit="{row}")
DOING = Instrument("tests.active", "{one}", "How many.", ("who",))


def _metrics(cells: Cells) -> Metrics:
    return Metrics(cells, {SpanKind.CLIENT: Measured(WORK, ROWS, DOING)})


def _operation(who: Any, **kinds: Any) -> Operation:
    return Operation("work", {"who": who, "what": "never the same"}, **kinds)


def _ended(
    metrics: Metrics,
    operation: Operation,
    seconds: float = 1.0,
    error_type: str | None = None,
    rows: int | None = None,
) -> None:
    """One operation, told as the seam tells it."""
    running = Running(operation, INVALID_SPAN, metrics=metrics, rows=lambda _: rows)
    if error_type is not None:
        running.fail(error_type)
    running.end(duration=int(seconds * 1e9))


def _totals(cells: Cells, instrument: Instrument = WORK) -> dict[Any, Any]:
    """What the cells have come to, by their labels."""
    for cell in cells.family(instrument).known():
        cell.fold()
    return {tuple(cell.labels.items()): cell.totals() for cell in cells.family(instrument).known()}


@given(st.lists(st.lists(st.floats(0, 10) | st.sampled_from(BOUNDS))))
def test_buckets(rounds: list[list[float]]) -> None:
    """A value is in the first bucket whose bound is not below it, however often it is looked at in between."""
    cells = Cells()
    cell = cells.family(WORK).new_index({"who": "a"}).find()
    for values in rounds:
        cell.pending += values
        cell.fold()
    every = [value for values in rounds for value in values]
    expected = [0] * (len(BOUNDS) + 1)
    for value in every:
        expected[bisect.bisect_left(BOUNDS, value)] += 1
    totals = cell.totals()
    assert (totals.count, list(totals.buckets)) == (len(every), expected)
    assert totals.total == pytest.approx(sum(every))
    assert (totals.low, totals.high) == ((min(every), max(every)) if every else (0, 0))


def test_labels() -> None:
    """Labels are the instrument's attributes, known at once or later, and the error; one set of them is one cell."""
    cells = Cells()
    metrics = _metrics(cells)
    for _ in range(3):
        _ended(metrics, _operation("a"))
    _ended(metrics, _operation("a"), error_type="E")
    late = Operation("work", {"what": 1})
    cells.family(WORK).new_index(late.attributes).find({"who": "a"}).pending.append(1.0)
    totals = _totals(cells)
    assert {labels: each.count for labels, each in totals.items()} == {
        (("who", "a"),): 4,
        (("who", "a"), ("error.type", "E")): 1,
    }
    assert _totals(cells, DOING)[("who", "a"),].total == 0


def test_other_kinds_and_background_are_not_measured() -> None:
    """Operations of a kind that declares nothing, in the background, or said not to be measured, have no cell."""
    cells = Cells()
    metrics = _metrics(cells)
    for kinds in ({"kind": SpanKind.INTERNAL}, {"background": True}, {"measured": False}):
        _ended(metrics, _operation("a", **kinds))
        _ended(metrics, _operation("a", **kinds).of_this_call({}))
    assert _totals(cells) == _totals(cells, DOING) == {}


def test_cardinality_is_bounded() -> None:
    """Beyond so many sets of labels all others share one, which says so; none is lost, and memory is bounded."""
    cells = Cells()
    metrics = _metrics(cells)
    for number in range(LIMIT * 6):
        _ended(metrics, _operation(number))
    totals = _totals(cells)
    assert len(totals) == LIMIT
    assert totals[("otel.metric.overflow", True),].count == LIMIT * 6 - LIMIT + 1
    assert sum(each.count for each in totals.values()) == LIMIT * 6
    assert len(cells.family(WORK).indexes) <= LIMIT * 4


def test_rows_have_the_labels_of_their_operation() -> None:
    """Rows are counted under the labels of the duration, the shared ones too: none under those of another operation."""
    cells = Cells()
    metrics = _metrics(cells)
    for number in range(LIMIT - 1):
        _ended(metrics, _operation(number))  # of which nobody knows the rows
    for number in range(LIMIT - 2, LIMIT + 50):
        _ended(metrics, _operation(number), rows=2)
    assert {labels: (each.count, each.total) for labels, each in _totals(cells, ROWS).items()} == {
        (("who", LIMIT - 2),): (1, 2),
        (("otel.metric.overflow", True),): (51, 102),
    }


def test_pending_is_bounded() -> None:
    """Measurements that nobody collects are folded by those that add to them."""
    cells = Cells()
    metrics, operation = _metrics(cells), _operation("a")
    longest = 0
    for _ in range(LONG * 5):
        _ended(metrics, operation)
        (cell,) = cells.family(WORK).known()
        longest = max(longest, len(cell.pending))
    assert longest <= LONG + 1
    assert next(iter(_totals(cells).values())).count == LONG * 5


def test_threads() -> None:
    """What many threads measure while others collect is counted exactly."""
    cells = Cells()
    metrics, operation = _metrics(cells), _operation("a")
    over = threading.Event()

    def work() -> None:
        for _ in range(5000):
            _ended(metrics, operation)

    def collect() -> None:
        while not over.is_set():
            with cells.reading:
                for cell in cells.family(WORK).known():
                    cell.fold()

    workers = [threading.Thread(target=work) for _ in range(4)]
    collector = threading.Thread(target=collect)
    collector.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    over.set()
    collector.join()
    assert next(iter(_totals(cells).values())).count == 20_000
    assert next(iter(_totals(cells, DOING).values())).total == 0


class Unprintable:
    """A value that cannot be hashed, compared or shown."""

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_values_of_labels() -> None:
    """A list is a label as text; a value that raises is contained, and a secret is taken out."""
    cells = Cells(lambda name, value: "***" if value == "secret" else value)
    metrics = _metrics(cells)
    before = sum(faults.counts().values())
    for who in (["a", "b"], ["a", "b"], "secret", Unprintable()):
        _ended(metrics, _operation(who))
    assert {labels: each.count for labels, each in _totals(cells).items()} == {
        (("who", "['a', 'b']"),): 2,
        (("who", "***"),): 1,
    }
    assert sum(faults.counts().values()) > before


def test_a_cached_operation_outlives_an_installation() -> None:
    """An operation that a patch has cached is measured by whoever measures now."""
    operation = _operation("a")
    for _ in range(2):
        cells = Cells()
        _ended(_metrics(cells), operation, random.random())
        assert [each.count for each in _totals(cells).values()] == [1]
