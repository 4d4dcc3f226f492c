"""Takes the words that searches are made of from the last days of a store, in little time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from causal_otel.collector.store.open_days import OutOfTime, Skipped
from causal_otel.collector.vocabulary import SeriesCount, TagCounts, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["vocabulary"]

_DAYS = 3
_CHUNKS = 300
_NEWEST = 100


def vocabulary(days: Sequence[OpenDay], deadline: Deadline) -> Vocabulary:
    """What there is to ask for in the last days, as far as there is time to look.

    Args:
        days: newest first.
        deadline: when to stop.
    """
    counts = TagCounts()
    spans: dict[tuple[str, str, str], int] = {}
    try:
        for day in days[:_DAYS]:
            with suppress(Skipped), day.reading(deadline) as db:
                for service, operation, system, count in db.execute(
                    "SELECT service, operation, system,"
                    " (SELECT sum(spans) FROM hour WHERE series = id AND hour >= 0) FROM series"
                ):
                    key = service, operation, system
                    spans[key] = spans.get(key, 0) + (count or 0)
        for day in days[:_DAYS]:
            with suppress(Skipped), day.reading(deadline) as db:
                for pairs in db.resource_tags().values():
                    counts.add(pairs)
                for body in _sample(db):
                    deadline.check()
                    if (trace := db.unpack(body)) is not None:
                        counts.add_trace(trace)
    except OutOfTime:
        pass
    series = [SeriesCount(*key, count) for key, count in spans.items()]
    return Vocabulary(tuple(sorted(series, key=lambda each: (-each.spans, each))), counts.values())


def _sample(db: DayReading) -> Iterator[bytes]:
    """Some chunks: the last ones, and some from the rest of the day."""
    (last,) = db.execute("SELECT max(id) FROM chunk").fetchone()
    ids = list(range(last or 0, max(0, (last or 0) - _NEWEST), -1))
    rest = (last or 0) - _NEWEST
    ids += range(rest, 0, -max(1, rest // (_CHUNKS - _NEWEST)))
    for chunk in ids:
        row = db.execute("SELECT body FROM chunk WHERE id = ?", (chunk,)).fetchone()
        if row is not None:
            yield row[0]
