"""The path of random programs of asyncio, which is known from what they have written down themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, assume, given, note, settings

from causal_otel.causality.critical_path import critical_path
from tests.causality.programs import PROGRAMS, carried_out

if TYPE_CHECKING:
    from causal_otel.causality.critical_path import Segment
    from tests.causality.traces import PlainSpan


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS)
def test_path_of_a_program_is_what_it_waited_for(program: list[Any]) -> None:
    """Wherever nothing was guessed, the path to the answer and that to the end are the true ones."""
    trace, ledger = carried_out(program)
    note(repr(trace))
    assert trace.root is not None
    to_the_answer, to_the_end = critical_path(trace), critical_path(trace, until="end")
    guessed = _guessed(to_the_answer), _guessed(to_the_end)
    assume(not all(guessed))
    if not guessed[0]:
        assert _told(to_the_answer) == ledger.path(trace.root)
    if not guessed[1]:
        assert _told(to_the_end) == ledger.path(max(trace.spans, key=lambda span: span.end))


def _guessed(segments: list[Segment[PlainSpan]]) -> bool:
    return any(each.via == "heuristic" for each in segments)


def _told(segments: list[Segment[PlainSpan]]) -> list[tuple[str, int, int]]:
    """Names and times; what a span was waited for is one with it."""
    found: list[tuple[str, int, int]] = []
    for each in segments:
        start = found.pop()[1] if found and found[-1][0] == each.span.name else each.start
        found.append((each.span.name, start, each.end))
    return found
