"""What spans tell of themselves in numbers, summed up by the hour: the tables ``measured`` and ``measure``.

Waits, sizes and mishaps: where the time of a series went, how full a pool was, which function blocked the loop, which
errors there were. A label tells apart what one series may have several of: pools, queues, frames, errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel.causality.spans.parts import BEFORE, INSIDE, nanoseconds
from causal_otel.collector.attributes import text
from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.names import remember
from causal_otel.collector.store.tallies import Tallies
from causal_otel.names import (
    CAUSAL_BLOCK_FRAME,
    CAUSAL_CANCELLED,
    CAUSAL_CPU,
    CAUSAL_GC,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_POOL_SIZE,
    CAUSAL_POOL_WAIT,
    CAUSAL_POOL_WAITING,
    CAUSAL_PREFETCH_WAIT,
    CAUSAL_QUEUE_WAIT,
    CAUSAL_TASK_UNAWAITED,
    CAUSAL_THREADPOOL_WAIT,
    DB_NAMESPACE,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    MESSAGING_DESTINATION_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

__all__ = [
    "BEFORE_LABEL",
    "BELOW_LABEL",
    "CALLED",
    "INSIDE_KEYS",
    "KEYS",
    "LABEL_KEYS",
    "OTHERS",
    "Measure",
    "MeasureOfHour",
    "Measures",
    "measures_of",
]

OTHERS = "others"
"""The label of all that come after a file has as many as it can tell apart."""

BEFORE_LABEL = "before"
"""The label of waits for a thread that passed before their span began."""

BELOW_LABEL = "below"
"""The label of what spans below an entry told, see :mod:`.below`."""

CALLED = "called"
"""The key of the time that spans below an entry took to call something, less their parts; the label is its system."""

_MOST = 2000
"""Keys with their labels that a file tells apart."""
_LONGEST = 200

_TIMES = frozenset((*INSIDE, *BEFORE, CAUSAL_PREFETCH_WAIT, CAUSAL_CPU, CAUSAL_GC, CAUSAL_LOOP_READY_WAIT))
_COUNTS = frozenset((CAUSAL_POOL_SIZE, CAUSAL_POOL_WAITING))
_FLAGS = frozenset((CAUSAL_CANCELLED, CAUSAL_TASK_UNAWAITED))
_OF_POOLS = frozenset((CAUSAL_POOL_WAIT, CAUSAL_POOL_SIZE, CAUSAL_POOL_WAITING))
_OF_QUEUES = frozenset((CAUSAL_QUEUE_WAIT, CAUSAL_PREFETCH_WAIT))

INSIDE_KEYS = frozenset((*INSIDE,)) - {CAUSAL_LOOP_BLOCKED}
"""The parts of a span's own time. The loop's stalls are every span's that was open then."""

KEYS = frozenset((*_TIMES, *_COUNTS, *_FLAGS, CAUSAL_BLOCK_FRAME))
"""The attributes that are summed up; errors are besides, by :data:`~causal_otel.names.ERROR_TYPE`."""

LABEL_KEYS = frozenset(
    (DB_NAMESPACE, DB_SYSTEM_NAME, MESSAGING_DESTINATION_NAME, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE)
)
"""The attributes that labels are made of."""


class Measure(NamedTuple):
    """What a span tells.

    Attributes:
        key: the attribute that it is from.
        label: what tells it apart.
        value: nanoseconds, or a count; of frames and errors, how long the span was.
    """

    key: str
    label: str
    value: int


def measures_of(values: Mapping[str, Any], duration: int, *, thread_wait_inside: bool) -> list[Measure]:
    """What a span's attributes tell.

    Args:
        values: plain values of those that are in :data:`KEYS` or :data:`LABEL_KEYS`.
        duration: of the span.
        thread_wait_inside: see :func:`causal_otel.causality.spans.parts.thread_wait_is_inside`.
    """
    found = []
    for key in values.keys() & KEYS:
        value, label = values[key], ""
        if key in _TIMES:
            amount = nanoseconds(value)
        elif key in _COUNTS:
            amount = value if isinstance(value, int) and not isinstance(value, bool) else 0
        elif key in _FLAGS:
            amount = int(value is True)
        else:
            amount, label = duration, text(value)[:_LONGEST]
        if key in _OF_POOLS:
            label = _pool(values)
        elif key in _OF_QUEUES:
            label = text(values.get(MESSAGING_DESTINATION_NAME))[:_LONGEST]
        elif key == CAUSAL_THREADPOOL_WAIT and not thread_wait_inside:
            label = BEFORE_LABEL
        if amount > 0 or key == CAUSAL_POOL_WAITING:
            found.append(Measure(key, label, min(max(amount, 0), LARGEST)))
    return found


def _pool(values: Mapping[str, Any]) -> str:
    """``postgresql db.internal:5432/shop``."""
    address = text(values.get(SERVER_ADDRESS))
    if port := text(values.get(SERVER_PORT)):
        address += f":{port}"
    if namespace := text(values.get(DB_NAMESPACE)):
        address += f"/{namespace}"
    return f"{text(values.get(DB_SYSTEM_NAME))} {address}".strip()[:_LONGEST]


class MeasureOfHour:
    """How often something was told in an hour, how much it was in all and at the most, and in which trace that was."""

    __slots__ = ("largest", "spans", "total", "trace")

    def __init__(self, spans: int = 0, total: int = 0, largest: int = -1, trace: bytes = b"") -> None:
        self.spans = spans
        self.total = total
        self.largest = largest
        self.trace = trace

    def add(self, value: int, trace_id: bytes) -> None:
        """Count what a span of a trace tells."""
        self.spans += 1
        self.total += value
        if value > self.largest:
            self.largest = value
            self.trace = trace_id

    def merge(self, other: MeasureOfHour) -> None:
        """Count what another has counted."""
        self.spans += other.spans
        self.total += other.total
        if other.largest > self.largest:
            self.largest, self.trace = other.largest, other.trace

    def row(self) -> tuple[int, int, int, bytes]:
        """The columns."""
        return self.spans, min(self.total, LARGEST), self.largest, self.trace


class Measures(Tallies[MeasureOfHour]):
    """The measures of a file, by the series' id, the hour and the id of key and label.

    Args:
        connection: to the file.
    """

    VALUES = ("spans", "total", "largest", "trace")

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection, "measure", ("series", "hour", "measured"), self.VALUES, MeasureOfHour)
        self._ids: dict[tuple[str, str], int] = {}
        (self._count,) = connection.execute("SELECT count(*) FROM measured").fetchone()

    def add(self, series: int, hour: int, key: str, label: str, value: int, trace_id: bytes) -> None:
        """Count what a span of a series tells, see :class:`Measure`."""
        measured = self._ids.get((key, label)) or self._id(key, label)
        self.touch((series, hour, measured)).add(value, trace_id)

    def _id(self, key: str, label: str) -> int:
        execute = self._connection.execute
        for known in (label, OTHERS):
            row = execute("SELECT id FROM measured WHERE (key, label) = (?, ?)", (key, known)).fetchone()
            if row is None and (self._count < _MOST or known == OTHERS):
                row = execute("INSERT INTO measured (key, label) VALUES (?, ?) RETURNING id", (key, known)).fetchone()
                self._count += 1
            if row is not None:
                remember(self._ids, (key, label), row[0])
                return int(row[0])
        raise AssertionError("the label of all others is always there")
