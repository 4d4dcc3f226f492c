"""A search through a large day: every way leads to the same, in the time that it has, whatever happens to a file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.expressions import Compare, tags
from causal_otel.collector.query import Query
from causal_otel.collector.store import days
from causal_otel.collector.store.open_days import Deadline, OpenDays
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.search import search
from causal_otel.collector.systems import MOST, OTHERS
from tests.collector.oracle import MemoryReader
from tests.collector.spans import (
    HOUR,
    MILLISECOND,
    NOON,
    SECOND,
    span,
    trace_id,
    traces,
)
from tests.collector.store.stores import EVER, close, damage, same_answer, write


def _many(count: int, **fields: Any) -> list[TracesData]:
    """``count`` traces of three spans, a second apart, in requests of 200."""
    made = []
    for first in range(0, count, 200):
        spans = [
            span(
                f"operation {number % 7}",
                trace=number + 1,
                start=NOON + number * SECOND + index,
                duration=(1 + number % 50) * MILLISECOND,
                error=number % 40 == 0,
                tags={"number": number, "even": number % 2 == 0, "index": index},
                **fields,
            )
            for number in range(first, min(first + 200, count))
            for index in range(3)
        ]
        made.append(traces(*spans))
    return made


@pytest.fixture(scope="module", params=["open", "closed"])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MemoryReader]:
    """Three thousand traces of one day."""
    directory = tmp_path_factory.mktemp("many")
    expected = write(directory, _many(3000))
    if request.param == "closed":
        close(directory)
    return directory, expected


@pytest.mark.long
@pytest.mark.parametrize(
    "query",
    [
        Query(*EVER),
        Query(*EVER, limit=2500),
        Query(*EVER, where=tags((("number", "17"),))),
        Query(*EVER, where=tags((("even", "true"),)), limit=1400),
        Query(*EVER, where=tags((("even", "true"), ("index", "1"))), limit=1400),
        Query(*EVER, where=tags((("even", "true"), ("number", "16")))),
        Query(*EVER, where=tags((("index", "0"), ("index", "1")))),
        Query(*EVER, operation="operation 3", where=tags((("index", "1"),))),
        Query(
            *EVER, operation="operation 3", where=tags((("index", "1"), ("even", "true"))), shortest=50 * MILLISECOND
        ),
        Query(*EVER, where=tags((("even", "false"),)), shortest=50 * MILLISECOND),
        Query(*EVER, where=tags((("even", "true"),)), shortest=50 * MILLISECOND),
        Query(*EVER, where=tags((("even", "true"), ("error", "true")))),
        Query(*EVER, service="shop", operation="operation 3", errors=True),
        Query(NOON + 100 * SECOND, NOON + 200 * SECOND, limit=1000),
        Query(NOON + 100 * SECOND, NOON + 200 * SECOND, where=tags((("even", "true"),)), limit=10),
        Query(*EVER, where=tags((("nobody", "has this"),))),
        Query(*EVER, sort="longest"),
        Query(*EVER, sort="spans", limit=700),
        Query(*EVER, sort="longest", where=tags((("even", "true"),))),
        Query(*EVER, sort="errors", operation="operation 3", limit=100),
        Query(*EVER, sort="longest", where=tags((("number", "16"),))),
        Query(NOON + 100 * SECOND, NOON + 200 * SECOND, sort="longest", limit=30),
        Query(*EVER, sort="longest", where=Compare("number", "<", "40")),
        Query(*EVER, sort="longest", where=tags((("index", "0"), ("index", "1")))),
    ],
)
def test_every_way_through_a_large_day_leads_to_the_same(query: Query, many: tuple[Path, MemoryReader]) -> None:
    """By time, by tag, by both; rare and common conditions; few results and many."""
    directory, expected = many
    with Reader(directory) as reader:
        assert same_answer(reader.search(query, seconds=60), expected, query)


def test_a_service_with_thousands_of_operations_can_be_searched(tmp_path: Path) -> None:
    """Such as one that puts ids into its span names."""
    messages = [
        traces(*[span(f"GET /{number}", trace=number + 1, start=NOON + number) for number in range(first, first + 500)])
        for first in range(0, 3000, 500)
    ]
    expected = write(tmp_path, messages)
    with Reader(tmp_path) as reader:
        for query in (
            Query(*EVER, service="shop"),
            Query(*EVER, service="shop", operation="GET /2"),
            Query(*EVER, service="shop", shortest=SECOND),
        ):
            assert same_answer(reader.search(query, seconds=60), expected, query)
        assert len(reader.operations("shop")) == 3000


def test_systems_without_end_are_searched_all_the_same(tmp_path: Path) -> None:
    """A day tells a hundred of a service apart; those of the others are found by looking."""
    kind = Span.SPAN_KIND_CLIENT
    hosts = [{"http.request.method": "GET", "server.address": f"host-{number}"} for number in range(MOST + 20)]
    spans = [span("GET", trace=n + 1, start=NOON + n, kind=kind, tags=tags) for n, tags in enumerate(hosts)]
    expected = write(tmp_path, [traces(each) for each in spans])
    for _ in range(2):
        with Reader(tmp_path) as reader:
            for number in (0, MOST - 1, MOST, MOST + 19):
                query = Query(*EVER, service="shop", system=f"http host-{number}")
                assert same_answer(reader.search(query, seconds=60), expected, query)
                assert reader.search(query).trace_ids == (trace_id(number + 1),)
            found = {each.system: each.calls for each in reader.statistics(*EVER)}
            assert len(found) == MOST + 1
            assert found[OTHERS] == 20
            others = reader.search(Query(*EVER, system=OTHERS))
            assert others.trace_ids == tuple(trace_id(number) for number in range(MOST + 20, MOST, -1))
        close(tmp_path)


class _Patience(Deadline):
    """A deadline that has passed when it has been looked at so often between statements, or in one."""

    def __init__(self, looks: int, *, inside: bool = False) -> None:
        super().__init__(60)
        self.looks = looks
        self.inside = inside

    def passed(self) -> bool:
        # SQLite asks here, `check` asks there.
        return self.inside

    def check(self) -> None:
        self.looks -= 1
        self.inside = self.inside or self.looks < 0
        super().check()


@pytest.mark.parametrize("looks", [0, 1, 2, 5, 20, 50])
def test_a_search_out_of_time_returns_what_it_has_and_says_so(looks: int, many: tuple[Path, MemoryReader]) -> None:
    """What it has are the newest ones."""
    directory, expected = many
    query = Query(*EVER, limit=1000)
    with closing(OpenDays(directory)) as open_days:
        found = search(open_days.present(), query, _Patience(looks))
    assert not found.complete
    assert found.trace_ids == expected.search(query).trace_ids[: len(found.trace_ids)]


def test_frequent_tags_that_are_never_on_one_span_are_not_looked_for_in_every_trace(tmp_path: Path) -> None:
    """A closed day knows which ones are together; what came later is looked at."""
    expected = write(tmp_path, _many(1200))
    close(tmp_path)
    write(tmp_path, [traces(*[span(trace=9, tags={"index": index}) for index in range(2)])], expected)
    looks = _Patience(50)
    for query in (
        Query(*EVER, where=tags((("index", "0"), ("index", "1")))),
        Query(*EVER, where=tags((("index", "0"), ("even", "true"), ("even", "false")))),
        Query(*EVER, operation="operation 8", where=tags((("index", "1"),))),
    ):
        with closing(OpenDays(tmp_path)) as open_days:
            found = search(open_days.present(), query, looks)
        assert same_answer(found, expected, query)


def test_no_statement_outlasts_the_deadline(many: tuple[Path, MemoryReader]) -> None:
    """SQLite itself is told to stop."""
    directory, _ = many
    with closing(OpenDays(directory)) as open_days:
        found = search(open_days.present(), Query(*EVER), _Patience(10**9, inside=True))
    assert not found.complete
    with Reader(directory) as reader:
        assert not reader.search(Query(*EVER), seconds=0).complete
        for sort in ("longest", "spans", "errors"):
            hurried = reader.search(Query(*EVER, sort=sort), seconds=0)
            assert (hurried.trace_ids, hurried.complete, hurried.since) == ((), False, EVER[1])
            assert reader.search(Query(*EVER, sort=sort)).complete
        assert reader.search(Query(*EVER)).complete


class _Dropping(Deadline):
    """Deletes a file when the clock is looked at for the first time."""

    def __init__(self, path: Path) -> None:
        super().__init__(60)
        self.path: Path | None = path

    def check(self) -> None:
        if self.path is not None:
            days.remove(self.path)
            self.path = None
        super().check()


def test_a_day_may_vanish_in_the_middle_of_a_search(tmp_path: Path) -> None:
    """The search does not fail, and the next one does without that day."""
    yesterday = NOON - 24 * HOUR
    write(tmp_path, [traces(span(trace=1)), traces(span(trace=2, start=yesterday))])
    path = days.path_of(tmp_path, days.day_of(yesterday))
    with Reader(tmp_path) as reader, closing(OpenDays(tmp_path)) as open_days:
        assert reader.search(Query(*EVER)).trace_ids == (trace_id(1), trace_id(2))
        found = search(open_days.present(), Query(*EVER), _Dropping(path))
        assert found.trace_ids[0] == trace_id(1)
        assert reader.search(Query(*EVER)).trace_ids == (trace_id(1),)
        assert reader.trace(trace_id(2)) is None


def test_a_day_may_vanish_before_it_is_opened(tmp_path: Path) -> None:
    """A file that was listed and is gone is as if it had never been, and not reported as damaged."""
    write(tmp_path, [traces(span(trace=1)), traces(span(trace=2, start=NOON - 24 * HOUR))])
    with closing(OpenDays(tmp_path)) as open_days:
        present = open_days.present()
        days.remove(present[1].path)
        assert search(present, Query(*EVER), Deadline(60)).trace_ids == (trace_id(1),)
        assert present[1].fault == ""


def test_a_damaged_page_hides_no_other_day(tmp_path: Path) -> None:
    """What is wrong is reported; what can be read is found."""
    write(
        tmp_path,
        [
            traces(span(trace=1)),
            *_many(
                400,
            ),
            traces(span(trace=9999, start=NOON - 24 * HOUR)),
        ],
    )
    path = days.path_of(tmp_path, days.day_of(NOON))
    damage(path, "found")
    with Reader(tmp_path) as reader:
        assert reader.search(Query(*EVER)).trace_ids == (trace_id(9999),)
        query = Query(*EVER, operation="work", sort="longest")
        assert reader.search(query).trace_ids == (trace_id(9999),)
        assert [name for name, _ in reader.volume().damaged] == [str(path)]
