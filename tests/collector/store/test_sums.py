"""Sums by the hour, the day and the whole time: how series went, what their spans told, who called whom."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.figures import Selected, Step
from causal_otel.collector.query import TraceReader
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.store.measures import BELOW_LABEL, CALLED, OTHERS
from causal_otel.collector.store.reader import Reader
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, NOON, SECOND, event, merged, span, traces
from tests.collector.store.stores import EVER, close, write
from tests.collector.store.writers import DAY, rows

UNAWAITED = "causal.task.unawaited"
STEPS: tuple[Step, ...] = ("hour", "day", "all")
ANY = Selected()
SELECTIONS = (
    ANY,
    Selected("shop"),
    Selected("shop", "GET /"),
    Selected(kind="client"),
    Selected(system="postgresql"),
    Selected(version="2"),
    Selected(entries=True),
    Selected("nobody"),
)
WINDOWS = (
    EVER,
    (NOON - DAY, NOON),
    (NOON - 2 * DAY, NOON - DAY - 3 * HOUR),
    (NOON - NOON % DAY - DAY, NOON - NOON % DAY - 1),
)
"""Of these the last is a whole day."""


def _tags(rng: random.Random) -> dict[str, Any]:
    """What a span may tell of itself, no two times of equal length."""
    tags: dict[str, Any] = {}
    for key in ("causal.pool.wait", "causal.server", "causal.queue.wait", "causal.threadpool.wait", "causal.cpu"):
        if rng.random() < 0.3:
            tags[key] = rng.random()
    if "causal.pool.wait" in tags:
        tags |= {"causal.pool.size": rng.randrange(1, 9), "causal.pool.waiting": rng.randrange(3)}
        tags |= {"db.system.name": "postgresql", "server.address": "db", "server.port": 5432, "db.namespace": "shop"}
    if "causal.queue.wait" in tags:
        tags["messaging.destination.name"] = rng.choice(["mail", "bills"])
    for key in ("causal.cancelled", "causal.task.unawaited"):
        if rng.random() < 0.1:
            tags[key] = True
    if rng.random() < 0.1:
        tags["causal.block.frame"] = rng.choice(["report.py:31 render()", "load()"])
    return tags


def _messages(rng: random.Random, traces_count: int, first: int = 1) -> Iterator[TracesData]:
    """Traces of three days, each span in a message of its own, parents before and after their children."""
    numbers = itertools.count(first * 1000)
    for trace in range(first, first + traces_count):
        start = NOON - rng.randrange(3 * DAY)
        ids: list[int] = []
        found = []
        for _ in range(rng.randrange(1, 7)):
            number = next(numbers)
            error = rng.random() < 0.2
            tags = _tags(rng) | (
                {"error.type": rng.choice(["500", "ValueError"])} if error and rng.random() < 0.8 else {}
            )
            each = span(
                rng.choice(["GET /", "SELECT", "work"]),
                trace=trace,
                id=number,
                parent=rng.choice(ids) if ids and rng.random() < 0.9 else 0,
                start=start + rng.randrange(30 * SECOND),
                duration=rng.randrange(10 * SECOND),
                kind=rng.choice([Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL]),
                error=error,
                tags=tags,
            )
            ids.append(number)
            version = rng.choice([{}, {"service.version": "1"}, {"service.version": "2"}])
            scope = rng.choice(["causal_otel.asgi", "tests"])
            found.append(traces(each, service=rng.choice(["shop", "bank"]), resource=version, scope=scope))
        rng.shuffle(found)
        yield from found


def _sums(
    reader: TraceReader, selected: Selected, window: tuple[int, int], step: Step, *, below: bool = True
) -> list[Any]:
    """All that a reader tells, in an order of its own; without what is told below entries, if so asked."""
    named: dict[tuple[Any, ...], list[Any]] = {
        **{("series", each.series, each.start): _plain(each) for each in reader.series(selected, *window, step)},
        **{
            ("measure", each.series, each.start, each.key, each.label): _plain(each)
            for each in reader.measures(selected, *window, step)
            if below or (each.key != CALLED and each.label != BELOW_LABEL)
        },
        **{("call", each.parent, each.child): _plain(each) for each in reader.calls(selected, ANY, *window)},
        **{("called", each.parent, each.child): _plain(each) for each in reader.calls(ANY, selected, *window)},
    }
    return sorted(named.items(), key=repr)


def _plain(each: Any) -> list[Any]:
    """Its values; of counts, which are equal in many spans, not in which trace the largest was."""
    equals = getattr(each, "key", "") in ("causal.pool.size", "causal.pool.waiting", "causal.cancelled", UNAWAITED)
    values = [getattr(each, name) for name in each.__slots__ if not (equals and name == "trace")]
    return [value.buckets() if isinstance(value, Histogram) else value for value in values]


def _assert_same(directory: Path, expected: MemoryReader, rng: random.Random, *, below: bool) -> None:
    questions = list(itertools.product(SELECTIONS, WINDOWS, STEPS))
    with Reader(directory) as reader:
        for selected, window, step in [(ANY, WINDOWS[-1], "day"), *rng.sample(questions, 12)]:
            told = _sums(reader, selected, window, step, below=below)
            assert told == _sums(expected, selected, window, step, below=below), (selected, window, step)
            assert told or selected.service == "nobody" or window != EVER


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 9))])
def test_sums_are_those_of_the_spans(tmp_path: Path, seed: int) -> None:
    """Of open days, of closed ones, of closed ones to which more has come, and of these once they are closed again."""
    rng = random.Random(seed)
    expected = write(tmp_path, _messages(rng, 12))
    _assert_same(tmp_path, expected, rng, below=False)  # each span came alone
    close(tmp_path)
    _assert_same(tmp_path, expected, rng, below=True)
    write(tmp_path, _messages(rng, 4, first=100), expected)
    _assert_same(tmp_path, expected, rng, below=False)
    close(tmp_path)
    _assert_same(tmp_path, expected, rng, below=True)


def test_where_the_time_of_a_request_went_is_known_at_once(tmp_path: Path) -> None:
    """Where its spans come together, the request's series tells what the spans below it have waited for, and called."""
    rng = random.Random(7)
    expected = write(tmp_path, [merged(*_messages(rng, 1, first=number)) for number in range(1, 8)])
    with Reader(tmp_path) as reader:
        told = _sums(reader, Selected(entries=True), EVER, "all")
    assert told == _sums(expected, Selected(entries=True), EVER, "all")
    assert {key[3:] for key, _ in told if key[0] == "measure"} >= {
        ("causal.server", BELOW_LABEL),
        (CALLED, "postgresql"),
    }


def test_parents_in_a_circle_lead_to_no_request(tmp_path: Path) -> None:
    """What their spans tell is told once, of themselves, by an open day and by a closed one."""
    tags = {"causal.server": 0.5}
    circle = [
        span("GET", id=own, parent=above, kind=Span.SPAN_KIND_CLIENT, tags=tags)
        for own, above in ((1, 2), (2, 1), (3, 3))
    ]
    expected = write(tmp_path, [traces(*circle)])
    for _ in ("open", "closed"):
        with Reader(tmp_path) as reader:
            assert _sums(reader, ANY, EVER, "all") == _sums(expected, ANY, EVER, "all")
            assert {each.label for each in reader.measures(ANY, *EVER, "all")} == {""}
        close(tmp_path)


def test_a_closed_day_is_summed_up_until_more_comes(tmp_path: Path) -> None:
    """Its rows for the whole day are there once, deleted when a span comes late, and there again when it is closed."""
    write(tmp_path, [traces(span(trace=1, start=NOON)), traces(span(trace=2, start=NOON + HOUR))])
    whole = "SELECT hour, spans FROM hour ORDER BY hour"
    noon = NOON // HOUR
    assert rows(tmp_path, whole) == [(noon, 1), (noon + 1, 1)]
    close(tmp_path)
    assert rows(tmp_path, whole) == [(-1, 2), (noon, 1), (noon + 1, 1)]
    write(tmp_path, [traces(span(trace=3, start=NOON))])
    assert rows(tmp_path, whole) == [(noon, 2), (noon + 1, 1)]
    close(tmp_path)
    assert rows(tmp_path, whole) == [(-1, 3), (noon, 2), (noon + 1, 1)]


def test_an_exception_is_told_by_its_type_and_the_applications_own_frame(tmp_path: Path) -> None:
    """The deepest one that is not installed and no library's, of the last exception."""
    stack = (
        'Traceback (most recent call last):\n  File "/srv/shop/orders.py", line 31, in load\n'
        '  File "/srv/.venv/lib/python3.12/site-packages/asyncpg/pool.py", line 4, in fetch\nasyncpg.Refused: no\n'
    )
    values = {"exception.type": "asyncpg.Refused", "exception.stacktrace": stack, "exception.message": "s3cret"}
    failed = span(error=True, events=[event("exception", values)], duration=5 * MILLISECOND, trace=7)
    write(tmp_path, [traces(failed)])
    with Reader(tmp_path) as reader:
        [told] = reader.measures(ANY, *EVER, "all")
    assert (told.key, told.label) == ("error.type", "asyncpg.Refused\nshop/orders.py load()")
    assert (told.spans, told.total, told.trace) == (1, 5 * MILLISECOND, failed.trace_id)


def test_what_is_told_apart_is_bounded(tmp_path: Path) -> None:
    """Of thousands of frames and versions most are told together, and none is lost."""
    spans = [
        traces(*(span(trace=number, tags={"causal.block.frame": f"f{number}()"}) for number in range(1, 2501))),
        *(traces(span(trace=number), resource={"service.version": str(number)}) for number in range(3000, 3040)),
    ]
    write(tmp_path, spans)
    with Reader(tmp_path) as reader:
        stalls = reader.measures(ANY, *EVER, "all", ["causal.block.frame"])
        versions = {each.series.version: each.calls for each in reader.series(ANY, *EVER, "all")}
    assert len(stalls) == 2001
    assert sum(each.spans for each in stalls) == 2500
    assert next(each.spans for each in stalls if each.label == OTHERS) == 500
    assert len(versions) == 22
    assert versions[OTHERS] == 20
    assert sum(versions.values()) == 2540
