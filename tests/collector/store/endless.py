"""A day whose figures take for ever to read, a reader that soon gives up, and a store for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from causal_otel.collector.figures import FIGURES_SECONDS
from causal_otel.collector.store import sums
from causal_otel.collector.store.day_reading import DayReading
from causal_otel.collector.store.days import DAY
from causal_otel.collector.store.reader import BoundedReader, Reader
from causal_otel.collector.store.writer import Writer
from tests.collector.spans import request, span, traces

__all__ = ["Hurried", "keep_failures", "plant_endless_day"]

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def plant_endless_day(monkeypatch: pytest.MonkeyPatch, slow: int) -> list[int]:
    """Have SQLite count without an end when figures of the day ``slow`` are read; returns the days that are asked."""
    rows, asked = sums._Query._rows, list[int]()

    def planted(self: Any, day: int, db: DayReading, *arguments: Any) -> Any:
        asked.append(day)
        if day == slow:
            db.execute(_ENDLESS).fetchone()
        return rows(self, day, db, *arguments)

    monkeypatch.setattr(sums._Query, "_rows", planted)
    return asked


class Hurried(Reader):
    """A reader whose pages have little time."""

    def bounded(self, *, seconds: float = FIGURES_SECONDS) -> BoundedReader:
        return super().bounded(seconds=min(seconds, 1.0))


def keep_failures(directory: Path, today: int) -> Path:
    """Write a failed request at noon of each of the last days, that of ``today`` just now; returns the directory."""
    writer = Writer(directory)
    writer.start()
    for back in range(4):
        begin = (today - back) * DAY + DAY // 2 if back else time.time_ns() - 10**9
        failure = span("ask", trace=back + 1, id=1, start=begin, kind=2, error=True, tags={"error.type": "ValueError"})
        writer.put(request(traces(failure, service="shop"))).result(30)
    writer.close(30)
    return directory
