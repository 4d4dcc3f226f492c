"""The traces that were received last: of all, of a service, or with errors.

Chunks are numbered as they come, so new ones have the highest numbers. The traces of a service are found by the tag
index and the table ``trace``, not by a look through the last chunks: so a service that sends little is found beside a
busy one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.query import Recent
from causal_otel.collector.store.candidates import TagIndex
from causal_otel.collector.store.open_days import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.collector.store.day_reading import DayReading
    from causal_otel.collector.store.open_days import OpenDay

__all__ = ["recent"]


class _Place(NamedTuple):
    """A file, by its device and inode, and the last chunk in it."""

    identity: tuple[int, int]
    chunk: int


class _Mark(dict[int, _Place]):
    """How far the days had come, by the day."""


def recent(days: Sequence[OpenDay], limit: int, service: str | None, errors: bool, after: object) -> Recent:
    """See :meth:`~causal_otel.collector.query.TraceReader.recent`.

    Args:
        days: where to look, newest first.
        limit: how many traces at most.
        service: only those with a span of this one; None: any.
        errors: only those with a span whose status is an error.
        after: only those of which something came after a mark; None: at any time.
    """
    found: dict[bytes, None] = {}
    more: set[bytes] = set()
    mark = _Mark()
    for day in days:
        try:
            with day.reading() as db:
                (last,) = db.execute("SELECT max(id) FROM chunk").fetchone()
                mark[day.day] = _Place(day.identity, last or 0)
                if isinstance(after, _Mark):
                    came = _since(db, _seen(after, day, last or 0), service, errors)
                    # Those that do not fit are counted.
                    for trace_id in came:
                        if trace_id in found or len(found) < limit:
                            found[trace_id] = None
                        else:
                            more.add(trace_id)
                elif len(found) < limit:
                    for trace_id in _newest(db, service, errors):
                        found[trace_id] = None
                        if len(found) == limit:
                            break
        except Skipped:
            continue
    return Recent(tuple(found), len(more), mark)


def _seen(after: _Mark, day: OpenDay, last: int) -> int:
    """The last chunk of a day that was there before."""
    known = after.get(day.day)
    if known is None:
        return 0
    # A day that was closed meanwhile has other numbers; what came to it late is seen the next time.
    return known.chunk if known.identity == day.identity else last


def _since(db: DayReading, chunk: int, service: str | None, errors: bool) -> Iterator[bytes]:
    """The traces of a day of which there are later chunks than this one, those that came last first."""
    resources = None if service is None else db.resources_of(service)
    rows = db.execute("SELECT trace_id FROM chunk WHERE id > ? ORDER BY id DESC", (chunk,)).fetchall()
    for trace_id in dict.fromkeys(_ids(rows)):
        if errors and not _has_errors(db, trace_id):
            continue
        if resources is None or any(
            not resources.isdisjoint(db.resources_in(body))
            for (body,) in db.execute("SELECT body FROM chunk WHERE trace_id = ?", (trace_id,))
        ):
            yield trace_id


def _newest(db: DayReading, service: str | None, errors: bool) -> Iterator[bytes]:
    """The traces of a day, those that came last first; some of them several times."""
    if service is not None:
        yield from _of_service(db, service, errors)
    elif errors:
        # Their number is not known, so they are sorted by the table that takes the least to read.
        yield from _ids(db.execute("SELECT id FROM trace WHERE errors > 0 ORDER BY newest DESC"))
    else:
        yield from _ids(db.execute("SELECT trace_id FROM chunk ORDER BY id DESC"))


def _of_service(db: DayReading, service: str, errors: bool) -> Iterator[bytes]:
    resources = db.resources_of(service)
    for chunk in TagIndex(db, {}).newest_of_resources(resources):
        trace_id, body = db.execute("SELECT trace_id, body FROM chunk WHERE id = ?", (chunk,)).fetchone()
        if resources.isdisjoint(db.resources_in(body)):
            continue  # another's hash is the same
        if not errors or _has_errors(db, trace_id):
            yield trace_id


def _has_errors(db: DayReading, trace_id: bytes) -> bool:
    return db.execute("SELECT 1 FROM trace WHERE id = ? AND errors > 0", (trace_id,)).fetchone() is not None


def _ids(rows: Iterable[tuple[bytes]]) -> Iterator[bytes]:
    return (trace_id for (trace_id,) in rows)
