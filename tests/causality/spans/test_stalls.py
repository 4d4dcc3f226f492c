"""Stalls of an event loop, looked up by time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from causal_otel.causality.spans.stalls import STALL, Stall, Stalls, is_stall
from tests.causality.explanation.made import request, stall, view
from tests.collector.analysis.making import span

_TIME = st.integers(0, 30)


@given(st.lists(st.tuples(_TIME, _TIME), max_size=6), _TIME, _TIME)
def test_time_between_is_that_of_the_stretches(times: list[tuple[int, int]], one: int, other: int) -> None:
    """What is added up beforehand is what the stretches are together, wherever stalls overlap."""
    made = view(request(100), stall("s", 0, 1))
    stalls = Stalls(Stall(min(each), max(each), made.spans[1], made) for each in times)
    start, end = min(one, other), max(one, other)
    stretches = [range(first, last) for first, last, _ in stalls.within(start, end)]
    assert stalls.between(start, end) == sum(map(len, stretches))
    assert {at for stretch in stretches for at in stretch} == {
        at for at in range(start, end) if any(min(each) <= at < max(each) for each in times)
    }


def test_record_that_tells_nothing_is_a_stall() -> None:
    """What our patch has recorded is a stall, whatever it tells; a user's span of that name is none."""
    made = view(request(100), span("own", "root", 0, 1, operation=STALL), span("ours", "root", 2, 3, operation=STALL))
    own, ours = made.spans[1:]
    ours.scope.name = "causal_otel.event_loop"
    assert (is_stall(own), is_stall(ours)) == (False, True)
