"""Traces beside one: what may be looked for, and for how long."""

from __future__ import annotations

from causal_otel.collector.analysis import build
from causal_otel.collector.analysis.neighbours import traces_beside
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_causes import HOLDER, causes, holder


def _beside(**limits: float) -> list[str]:
    found = traces_beside(MemoryReader([causes(), holder()]), build(causes()), **limits)  # type: ignore[arg-type]
    return [each.trace_id for each in found]


def test_what_held_up_the_loop_is_found() -> None:
    """A trace of the same process with a stall in that time is beside it."""
    assert _beside() == [HOLDER]


def test_searches_end_when_their_time_is_over() -> None:
    """Once the time for all searches is over, no more is searched, and what is there has to do."""
    assert _beside(within=-1.0) == []


def test_no_more_spans_are_read_than_asked_for() -> None:
    """A trace that is larger than what may be read is left out."""
    assert _beside(most_spans=1) == []
