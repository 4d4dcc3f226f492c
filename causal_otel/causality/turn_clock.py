"""For how long an event loop's present turn has been going on, asked by what runs in it.

A step that begins in a turn was ready when the turn began: it has waited for what ran before it in the turn. What it
waited in the turn before is not known, so this is the least that it can have been.

asyncio's loops do not say when a turn began, so their selector is asked to note it, for 0.2 µs a turn. uvloop's do, to
the millisecond.
"""

from __future__ import annotations

import functools
import weakref
from asyncio import AbstractEventLoop
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from causal_otel._internal import faults
from causal_otel.causality.turns import libuv_age
from causal_otel.engine.asyncio_task import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LibuvClock", "SelectorClock", "TurnClock", "clock_here", "note_turns"]


class TurnClock(Protocol):
    """Knows the turns of one loop."""

    def age(self) -> int:
        """For how many nanoseconds the present turn has been going on, at least."""

    def remove(self) -> None:
        """Note nothing more, unless somebody else has put something around it."""


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
        """See :class:`TurnClock`."""
        if vars(self._selector).get("select") is self._select:
            del self._selector.select


class LibuvClock:
    """That of a loop of uvloop's.

    Args:
        age: tells in the loop's thread for how many nanoseconds the present turn has been going on, at least.
    """

    __slots__ = ("_age",)

    def __init__(self, age: Callable[[], int]) -> None:
        self._age = age

    def age(self) -> int:
        """See :class:`TurnClock`."""
        return self._age()

    def remove(self) -> None:
        """See :class:`TurnClock`. It notes nothing."""


_clocks: WeakKeyDictionary[AbstractEventLoop, TurnClock] = WeakKeyDictionary()


def clock_here() -> TurnClock | None:
    """That of the loop that runs in this thread, if it is known."""
    loop = running_loop()
    return None if loop is None else _clocks.get(loop)


def note_turns(loop: AbstractEventLoop) -> Callable[[], None]:
    """Let a loop that runs, or will, have a clock if it can, until what is returned is called. Never raises."""
    try:
        clock = None if loop in _clocks else _clock_of(loop)
        if clock is not None:
            _clocks[loop] = clock
            return functools.partial(_forget, weakref.ref(loop), clock)
    except Exception:
        faults.report("event_loop: the turns of a loop")
    return _nothing


def _clock_of(loop: AbstractEventLoop) -> TurnClock | None:
    selector = getattr(loop, "_selector", None)
    if selector is not None:
        return SelectorClock(selector)
    age = libuv_age(loop)
    return None if age is None else LibuvClock(age)


def _forget(loop: weakref.ref[AbstractEventLoop], clock: TurnClock) -> None:
    kept = loop()
    if kept is not None:
        _clocks.pop(kept, None)
    clock.remove()


def _nothing() -> None:
    """There is no clock."""
