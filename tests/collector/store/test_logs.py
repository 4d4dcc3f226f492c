"""Log records in the store: kept once, with their trace, through compaction and retention, and found by their words."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from causal_otel.collector.log_words import read_words
from causal_otel.collector.query import SORTS, Counted, Found, Query, TraceLogs
from causal_otel.collector.query_line import parse
from causal_otel.collector.store import days, log_tables, slices
from causal_otel.collector.store.committing import Committer, Kept, Taken
from causal_otel.collector.store.compaction import close_day
from causal_otel.collector.store.counters import Counters
from causal_otel.collector.store.files import DayFiles
from causal_otel.collector.store.incoming_logs import LogPiece
from causal_otel.collector.store.log_tables import LogTables
from causal_otel.collector.store.reader import Reader
from tests.collector.records import bodies, log_request, record
from tests.collector.spans import HOUR, NOON, SECOND, request, span, trace_id, traces
from tests.collector.store.stores import EVER, close, damage, writing
from tests.collector.store.writers import Clock, rows

TODAY = days.day_of(NOON)


def _logs(directory: Path, trace: int) -> TraceLogs | None:
    with Reader(directory) as reader:
        return reader.logs(trace_id(trace))


def _said(directory: Path, trace: int) -> list[str]:
    found = _logs(directory, trace)
    return [] if found is None else bodies(found.message)


def _search(directory: Path, words: str, **options: object) -> Found:
    with Reader(directory) as reader:
        return reader.search(Query(*EVER, logs=read_words(words), **options))  # type: ignore[arg-type]


def _found(directory: Path, words: str, **options: object) -> list[int]:
    found = _search(directory, words, **options)
    assert found.complete
    return [int.from_bytes(each, "big") for each in found.trace_ids]


def _fill(directory: Path) -> None:
    """Three traces, two of them with records, over midnight; a request is sent twice, a record in two requests."""
    later = NOON + 13 * HOUR
    with writing(directory) as writer:
        first = log_request(record("card declined"), record("Order 4711 paid", at=NOON + SECOND))
        assert writer.put(first, logs=True).result(30) == Kept(2)
        assert writer.put(first, logs=True).result(30) == Kept(0)
        again = log_request(record("card declined"), record("x" * 40, trace=2, span=0, tags={"user": "Ada_Lovelace"}))
        assert writer.put(again, logs=True).result(30) == Kept(2)
        assert writer.put(log_request(record("after midnight", at=later)), logs=True).result(30) == Kept(1)
        assert writer.put(log_request(record("of no span here declined", trace=9)), logs=True).result(30) == Kept(1)
        for number, errors in ((1, True), (2, False), (3, False)):
            sent = span(trace=number, start=NOON, duration=number * SECOND, error=errors)
            assert writer.put(request(traces(sent))).result(30) == Kept(1)
        counters = writer.counters()
        assert (counters["logs"], counters["spans"], counters["resent"]) == (6, 3, 1)


@pytest.mark.parametrize("closed", [False, True])
def test_they_are_kept_once_and_found_by_their_words(tmp_path: Path, closed: bool) -> None:
    """Open or closed, a trace has its records of all days, and words find it, with the other conditions."""
    _fill(tmp_path)
    if closed:
        close(tmp_path)
        close(tmp_path)  # a closed day is closed anew when much has come late
        (count,) = {number for (number,) in rows(tmp_path, "SELECT value FROM meta WHERE key = 'log_records'")}
        assert count == 4  # what came twice is written once
    assert _said(tmp_path, 1) == ["Order 4711 paid", "after midnight", "card declined"]
    assert _said(tmp_path, 2) == ["x" * 40]
    assert _logs(tmp_path, 3) is None
    found = _logs(tmp_path, 1)
    assert found is not None
    ((resource, scope),) = {
        (group.resource.attributes[0].value.string_value + group.schema_url, scoped.scope.name)
        for group in found.message.resource_logs
        for scoped in group.scope_logs
    }
    assert (resource, scope) == ("shophttps://schema", "shop.cart")
    assert _found(tmp_path, "declined") == [1]  # trace 9 has no spans
    assert _found(tmp_path, "CARD, Declined!") == [1]
    assert _found(tmp_path, "card 4711") == []  # not on one record
    assert _found(tmp_path, "midnight") == [1]
    assert _found(tmp_path, "ada") == [2]
    assert _found(tmp_path, "clined") == []
    assert _found(tmp_path, "declined", errors=True) == [1]
    assert _found(tmp_path, "ada", errors=True) == []
    assert _found(tmp_path, "declined", service="other") == []
    assert _found(tmp_path, "declined", shortest=2 * SECOND) == []


def test_orders_and_limits(tmp_path: Path) -> None:
    """The newest are those whose record is the latest; of other orders all that match are compared."""
    with writing(tmp_path) as writer:
        for number in range(1, 8):
            at = NOON + (8 - number) * SECOND
            writer.put(log_request(record(f"tick {number}", trace=number, at=at)), logs=True).result(30)
            writer.put(request(traces(span(trace=number, start=NOON, duration=number * SECOND)))).result(30)
    for closed in (False, True):
        if closed:
            close(tmp_path)
        assert _found(tmp_path, "tick", sort="longest", limit=3) == [7, 6, 5]
        assert sorted(_found(tmp_path, "tick")) == [1, 2, 3, 4, 5, 6, 7]
        assert len(_found(tmp_path, "tick", limit=2)) == 2
    assert _found(tmp_path, "tick", limit=2) == [1, 2]
    with Reader(tmp_path) as reader:
        query = Query(NOON + 4 * SECOND, NOON + 2 * HOUR, logs=("tick",))
        assert reader.search(query).trace_ids == ()  # no span starts then
        assert reader.search(Query(*EVER, logs=("tick",)), seconds=0.0).complete is False
        some = reader.logs(trace_id(1), most=0)
        assert some is None


def test_a_trace_that_logs_a_lot(tmp_path: Path) -> None:
    """Its records are in several rows, so a page that shows some reads some, and knows how many there are."""
    with writing(tmp_path) as writer:
        body = log_request(*(record(f"number {number}", at=NOON + number) for number in range(4500)))
        assert writer.put(body, logs=True).result(60) == Kept(4500)
    for closed in (False, True):
        if closed:
            close(tmp_path)
        with Reader(tmp_path) as reader:
            some = reader.logs(trace_id(1), most=100)
        assert some is not None
        assert (len(bodies(some.message)), some.left_out) == (2000, 2500)
        assert len(_said(tmp_path, 1)) == 4500


def test_a_trace_that_logs_a_lot_is_closed_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be written waits for some of a trace's records only; one that came twice is there once."""
    monkeypatch.setattr(slices, "_SLICE_SECONDS", 0.0)
    with writing(tmp_path) as writer:
        for first in (0, 3000, 1000):
            sent = (record(f"number {number}", at=NOON + number) for number in range(first, first + 3000))
            assert writer.put(log_request(*sent), logs=True).result(60) == Kept(3000)
    path = days.path_of(tmp_path, TODAY)
    rows_written: list[list[int]] = []
    add_rows = LogTables.add_rows

    def count(self: LogTables, pieces: Iterable[LogPiece], *others: Any) -> None:
        some = list(pieces)
        rows_written.append([piece.count for piece in some])
        add_rows(self, some, *others)

    monkeypatch.setattr(LogTables, "add_rows", count)
    for _ in close_day(path, now=0, beside=[], release=lambda: None):
        pass
    assert len(rows_written) >= 2
    assert sum(map(sum, rows_written)) == 6000
    assert len(_said(tmp_path, 1)) == 6000


def test_many_words_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of words is written in parts, so that a request of nothing but words takes no memory for all."""
    monkeypatch.setattr(log_tables, "_KEYS_AT_ONCE", 3)
    words = [f"word{number}" for number in range(20)]
    with writing(tmp_path) as writer:
        sent = (record(" ".join(words[at : at + 5]), trace=at + 1) for at in range(0, 20, 5))
        assert writer.put(log_request(*sent), logs=True).result(30) == Kept(4)
        writer.put(request(*(traces(span(trace=at + 1, start=NOON)) for at in range(0, 20, 5)))).result(30)
    for closed in (False, True):
        if closed:
            close(tmp_path)
        assert [_found(tmp_path, word) for word in words] == [[at // 5 * 5 + 1] for at in range(20)]


def test_late_records_of_a_day_that_is_being_closed(tmp_path: Path) -> None:
    """Records that come for a day at any moment of its compaction are kept, and found."""
    _fill(tmp_path)
    counters = Counters()
    files = DayFiles(tmp_path, Clock(), counters)
    committer = Committer(files, counters, Clock(), retention_days=30)
    steps = 0
    path = days.path_of(tmp_path, TODAY)
    for _ in close_day(path, now=0, beside=[], release=partial(files.release, TODAY)):
        steps += 1
        future: Future[Kept] = Future()
        committer.keep([Taken(log_request(record(f"late {steps}", trace=2)), future, logs=True)])
        assert future.result(0) == Kept(1)
    files.close()
    assert steps > 3
    assert _said(tmp_path, 2) == sorted(["x" * 40, *(f"late {step}" for step in range(1, steps + 1))])
    assert _found(tmp_path, f"late {steps}") == [2]


def test_what_is_not_kept(tmp_path: Path) -> None:
    """Records that name no trace are counted and refused, nonsense is refused, and a day goes with its records."""
    with writing(tmp_path) as writer:
        kept = writer.put(log_request(record("outside", trace=0), record("inside")), logs=True).result(30)
        assert (kept.spans, kept.rejected) == (1, 1)
        assert "outside a span" in kept.message
        assert writer.counters()["logs_rejected"] == 1
        with pytest.raises(ValueError, match="not an ExportLogsServiceRequest"):
            writer.put(b"\xff", logs=True).result(30)
        old = log_request(record("of an old clock", at=NOON - 40 * 24 * HOUR), record("no time", at=0))
        assert writer.put(old, logs=True).result(30) == Kept(2)  # today, as spans of a wrong clock are
    assert [path.name for path in days.day_files(tmp_path).values()] == [days.path_of(tmp_path, TODAY).name]
    assert _said(tmp_path, 1) == ["inside", "no time", "of an old clock"]
    days.remove(days.path_of(tmp_path, TODAY))
    assert _said(tmp_path, 1) == []


def test_a_file_without_records_and_a_damaged_one(tmp_path: Path) -> None:
    """A day without records has no tables for them; records that cannot be read cost neither spans nor the answer."""
    with writing(tmp_path) as writer:
        writer.put(request(traces(span(trace=1)))).result(30)
    assert rows(tmp_path, "SELECT name FROM sqlite_schema WHERE name LIKE 'log%'") == []
    close(tmp_path)
    assert rows(tmp_path, "SELECT name FROM sqlite_schema WHERE name LIKE 'log%'") == []
    assert (_said(tmp_path, 1), _found(tmp_path, "inside")) == ([], [])
    with writing(tmp_path) as writer:
        writer.put(log_request(record("inside")), logs=True).result(30)
    assert _said(tmp_path, 1) == ["inside"]
    damage(days.path_of(tmp_path, TODAY), "log")
    assert _said(tmp_path, 1) == []
    with Reader(tmp_path) as reader:
        assert reader.trace(trace_id(1)) is not None


@pytest.mark.parametrize("sort", SORTS)
def test_pages_of_a_search_for_words_are_the_whole_list_in_parts(sort: str, tmp_path: Path) -> None:
    """Forwards and backwards, and as many as are counted; the rest of the conditions narrows both."""
    with writing(tmp_path) as writer:
        for number in range(1, 10):
            at = NOON + number * 3 * HOUR
            sent = span(trace=number, start=at, duration=number % 4 * SECOND, error=number % 3 == 0)
            writer.put(request(traces(sent))).result(30)
            word = "declined" if number != 5 else "paid"
            writer.put(log_request(record(f"card {word}", trace=number, at=at + SECOND)), logs=True).result(30)
    where = parse("duration>0s").where
    query = Query(*EVER, logs=("card", "declined"), where=where, sort=sort, limit=2)
    with Reader(tmp_path) as reader:
        everything = reader.search(replace(query, limit=20)).trace_ids
        assert {int.from_bytes(each) for each in everything} == {1, 2, 3, 6, 7, 9}
        assert reader.count(query) == Counted(6)
        assert not reader.count(query, seconds=0.0).complete
        pages = [reader.search(query)]
        while pages[-1].last is not None:
            pages.append(reader.search(replace(query, after=pages[-1].last)))
        assert [page.trace_ids for page in pages[:-1]] == [everything[at : at + 2] for at in (0, 2, 4)]
        for page, before in ((pages[1], pages[0]), (pages[2], pages[1])):
            assert reader.search(replace(query, before=page.first)) == before
        assert reader.search(replace(query, before=pages[0].first)).trace_ids == ()
