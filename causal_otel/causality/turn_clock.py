"""For how long an event loop's present turn has been going on, asked by what runs in it.

A step that begins in a turn was ready when the turn began: it has waited for what ran before it in the turn. What it
waited in the turn before is not known, so this is the least that it can have been.

asyncio's loops do not say when a turn began, so their selector is asked to note it, for 0.2 µs a turn. uvloop's do, to
the millisecond.
"""

from __future__ import annotations

from threading import get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from causal_otel._internal import faults, process
from causal_otel.causality.turns import libuv_age

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

__all__ = ["LibuvClock", "SelectorClock", "TurnClock", "clock_here", "keep_clock", "note_turns"]


class TurnClock(Protocol):
    """Knows the turns of one loop."""

    def age(self) -> int:
        """For how many nanoseconds the present turn has been going on, at least."""


class SelectorClock:
    """That of a loop with a selector, as asyncio's have.

    Args:
        selector: the loop's. It notes when it has looked, until :meth:`remove`.

    Raises:
        AttributeError: it cannot be made to.
    """

    __slots__ = ("_began", "_select", "_selector")

    def __init__(self, selector: Any) -> None:
        self._selector = selector
        self._began = perf_counter_ns()
        select: Callable[[Any], Any] = selector.select

        def noting(timeout: Any = None) -> Any:
            events = select(timeout)
            self._began = perf_counter_ns()
            return events

        self._select = selector.select = noting

    def age(self) -> int:
        """See :class:`TurnClock`."""
        return perf_counter_ns() - self._began

    def remove(self) -> None:
        """Note nothing more, unless somebody else has put something around it."""
        if vars(self._selector).get("select") is self._select:
            del self._selector.select


class LibuvClock:
    """That of a loop of uvloop's.

    Args:
        age: tells for how many nanoseconds the present turn has been going on, at least.
    """

    __slots__ = ("age",)

    def __init__(self, age: Callable[[], int]) -> None:
        self.age = age


_clocks: dict[int, TurnClock] = {}
"""By the thread in which a loop runs."""


def clock_here() -> TurnClock | None:
    """That of the loop that runs in this thread, if it is known."""
    return _clocks.get(get_ident())


def keep_clock(clock: TurnClock) -> Callable[[], None]:
    """Let the loop that runs in this thread from now on have a clock, until what is returned is called there."""
    ident = get_ident()
    before = _clocks.get(ident)
    _clocks[ident] = clock

    def end() -> None:
        if _clocks.get(ident) is clock:
            if before is None:
                del _clocks[ident]
            else:
                _clocks[ident] = before

    return end


def note_turns(loop: AbstractEventLoop) -> Callable[[], None]:
    """Let ``loop``, which is about to run in this thread, have a clock if it can, until what is returned is called."""
    try:
        selector = getattr(loop, "_selector", None)
        if selector is not None:
            noting = SelectorClock(selector)
            forget = keep_clock(noting)

            def end() -> None:
                forget()
                noting.remove()

            return end
        age = libuv_age(loop)
        if age is not None:
            return keep_clock(LibuvClock(age))
    except Exception:
        faults.report("causality: the turns of a loop")
    return _nothing


def _nothing() -> None:
    """There is no clock."""


process.at_fork(in_child=_clocks.clear)
