"""Figures that there is no time to read all of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.figures import Selected
from causal_otel.collector.query import TraceReader
from causal_otel.collector.store.days import DAY, day_of
from causal_otel.collector.store.reader import Reader
from tests.collector.oracle import MemoryReader
from tests.collector.spans import NOON, span, traces
from tests.collector.store.endless import plant_endless_day
from tests.collector.store.stores import EVER, write

TODAY = day_of(NOON)
ANY = Selected()


def _failure(day: int) -> TracesData:
    """A failed call of another service, on a day."""
    begin = NOON - (TODAY - day) * DAY
    calls = [
        span("GET", trace=day, id=1, start=begin, kind=2),
        span("ask", trace=day, id=2, parent=1, start=begin, kind=2, error=True, tags={"error.type": "ValueError"}),
    ]
    message = TracesData()
    for each, service in zip(calls, ("web", "shop"), strict=True):
        message.MergeFrom(traces(each, service=service))
    return message


MESSAGES = [_failure(TODAY - back) for back in range(5)]

FIGURES: dict[str, Callable[[TraceReader, int], list[Any]]] = {
    "series": lambda reader, start: [
        (tuple(each.series), each.start, each.calls, each.errors, each.total)
        for each in reader.series(ANY, start, EVER[1], "day")
    ],
    "measures": lambda reader, start: [astuple(each) for each in reader.measures(ANY, start, EVER[1], "day")],
    "calls": lambda reader, start: [astuple(each) for each in reader.calls(ANY, ANY, start, EVER[1])],
    "statistics": lambda reader, start: [
        (each.service, each.operation, each.calls, each.errors, each.total)
        for each in reader.statistics(start, EVER[1])
    ],
    "dependencies": lambda reader, start: [
        (each.parent, each.child, each.calls, each.errors) for each in reader.dependencies(start, EVER[1])
    ],
}


def ask(name: str, reader: TraceReader, start: int = 0) -> list[Any]:
    """Figures since a time, in an order."""
    return sorted(FIGURES[name](reader, start))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A store of five days."""
    write(tmp_path, MESSAGES)
    return tmp_path


def test_figures_are_all_there_in_time(directory: Path) -> None:
    """A reader with enough time answers as one without a limit, and as brute force does."""
    with Reader(directory) as reader:
        bounded = reader.bounded(seconds=60)
        for name in FIGURES:
            assert ask(name, bounded) == ask(name, reader) == ask(name, MemoryReader(MESSAGES)) != []
        assert bounded.since == reader.since == 0


@pytest.mark.parametrize("name", list(FIGURES))
def test_an_endless_read_is_broken_off(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The figures are of the days after it, as if nothing was before; the reader tells since when."""
    plant_endless_day(monkeypatch, TODAY - 2)
    with Reader(directory) as reader:
        bounded = reader.bounded(seconds=1.0)
        found = ask(name, bounded)
        assert bounded.since == (TODAY - 1) * DAY
        assert found == ask(name, MemoryReader(MESSAGES), bounded.since) != []


def test_what_was_left_out_is_left_out_of_what_follows(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All figures of a page are of the same days, and nobody waits twice for a day that takes too long."""
    asked = plant_endless_day(monkeypatch, TODAY - 2)
    with Reader(directory) as reader:
        bounded = reader.bounded(seconds=1.0)
        for name in FIGURES:
            assert ask(name, bounded) == ask(name, MemoryReader(MESSAGES), (TODAY - 1) * DAY)
        assert asked.count(TODAY - 2) == 1
        assert bounded.since == (TODAY - 1) * DAY


def test_without_any_time_there_are_no_figures(directory: Path) -> None:
    """Not even of the newest day, which the reader tells; whoever asks anew has time again."""
    with Reader(directory) as reader:
        bounded = reader.bounded(seconds=0)
        assert [ask(name, bounded) for name in FIGURES] == [[]] * len(FIGURES)
        assert bounded.since == (TODAY + 1) * DAY
        assert reader.bounded().series(ANY, *EVER, "all") != []
