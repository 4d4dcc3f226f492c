"""The steps of one coroutine: how much they computed, and how long it was ready to go on before it did.

A coroutine runs in steps, from one suspension to the next. Whoever drives it sees each of them begin and end, on every
event loop and Python, and nothing but its own. Tasks that it starts, and threads, have steps of their own, which are
not told.
"""

from __future__ import annotations

from time import thread_time_ns
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from causal_otel.causality.turn_clock import clock_here

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["OwnSteps"]

T = TypeVar("T")


class OwnSteps(Generic[T]):
    """Awaited in place of a coroutine, whose steps it measures. What is sent, thrown, returned and raised is the same.

    Args:
        coroutine: is awaited once, where this was made.

    Attributes:
        waited: for how many nanoseconds it was ready to go on, at least, before it did; 0 where that is not known.
    """

    __slots__ = ("_began", "_clock", "_computed", "_coroutine", "_resumes", "waited")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._computed = 0
        self._began = 0  # of the step under way; 0: none is
        self._clock = clock_here()
        self._resumes = False  # the first step goes on where the caller was
        self.waited = 0

    def computed(self) -> int:
        """Nanoseconds that its thread has computed in its steps; asked in one of them, until now."""
        return self._computed + (thread_time_ns() - self._began if self._began else 0)

    def _step(self, go_on: Callable[..., Any], *values: Any) -> Any:
        if self._resumes:
            if self._clock is not None:
                self.waited += self._clock.age()
        else:
            self._resumes = True
        self._began = thread_time_ns()
        try:
            return go_on(*values)
        finally:
            self._computed += thread_time_ns() - self._began
            self._began = 0

    def __await__(self) -> OwnSteps[T]:
        return self

    def __iter__(self) -> OwnSteps[T]:
        return self

    def __next__(self) -> Any:
        return self._step(self._coroutine.send, None)

    def send(self, value: Any) -> Any:
        """Go on with a value, as trio does."""
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception, such as a cancellation."""
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        """End it."""
        self._coroutine.close()

    @property
    def cr_await(self) -> Any:
        """What the coroutine waits for: tools that show where a task is follow the attributes of this name."""
        return self._coroutine
