"""Requests to a collector that sends everything on, and what it says of that."""

from __future__ import annotations

from tests.collector.running import Running, one_span
from tests.services.received import ReceivedSpans

__all__ = ["forward", "names", "send", "settled"]


def names(far: ReceivedSpans) -> list[str]:
    """The names of the spans that have arrived, in order, those that came again left out."""
    return list(dict.fromkeys(each["name"] for each in far.spans()))


def send(collector: Running, *numbers: int) -> list[str]:
    """Send a request for each number; returns the names of their spans, all acknowledged."""
    for number in numbers:
        response = collector.post(one_span(number, f"span {number}"))
        assert response.status_code == 200, response.text
    return [f"span {number}" for number in numbers]


def forward(collector: Running) -> dict[str, object]:
    """What the status says of sending on."""
    found: dict[str, object] = collector.get("/status.json").json()["forward"]
    return found


def settled(collector: Running) -> bool:
    return forward(collector)["queue_spans"] == 0
