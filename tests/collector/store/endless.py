"""A day whose figures take for ever to read."""

from __future__ import annotations

from typing import Any

import pytest

from causal_otel.collector.store import sums
from causal_otel.collector.store.day_reading import DayReading

__all__ = ["plant_endless_day"]

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
