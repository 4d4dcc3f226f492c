"""What the demo's services have logged in a trace: they log JSON, an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from causal_otel.testing.process import Process

__all__ = ["Line", "lines_of"]


class Line(NamedTuple):
    """A line of a service's log."""

    timestamp: str
    """ISO 8601, UTC."""
    service: str
    level: str
    message: str


def lines_of(trace_id: str, processes: Iterable[Process]) -> list[Line]:
    """What the processes have logged in a trace, by time."""
    found = []
    for process in processes:
        for text in process.output().splitlines():
            if trace_id in text and text.startswith("{") and text.endswith("}"):
                told: dict[str, Any] = json.loads(text)
                found.append(Line(told["timestamp"], told["service"], told["level"], told["message"]))
    return sorted(found)
