"""The sizing table of docs/how-to/production.md is made of what a span takes in a real store: measured here again."""

from __future__ import annotations

import json

import pytest

from benchmarks.collector.bytes_a_span import MEASURED, demo_traces, measure

_SPANS = 60_000


@pytest.mark.long
def test_a_span_takes_about_what_the_table_says() -> None:
    """Spans of the demo take about as many bytes as when the table was made, both before and after closing."""
    said = json.loads(MEASURED.read_text(encoding="utf-8"))
    found = measure(demo_traces(), _SPANS)
    assert found.spans >= _SPANS
    # A smaller store has less to share between its spans, and the demo's traces are never quite the same.
    assert 0.7 < found.written_to / said["written_to"] < 1.5
    assert 0.7 < found.closed / said["closed"] < 1.5
    assert 0.7 < found.document / said["document"] < 1.5
    assert found.closed < found.written_to < said["badger"]
