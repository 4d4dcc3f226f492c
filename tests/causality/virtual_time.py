"""An event loop whose clock jumps to the next timer: programs that sleep for hours are over at once, by known times."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["VirtualLoop", "run"]

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """One that waits for nothing but adds up how long it was asked to."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "the program waits for something that never comes"
        self.waited += timeout
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, by virtual time. Nothing else than timers can be waited for."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-7  # so much may be lost where times are added

    def time(self) -> float:
        return self._virtual.waited


def run(program: Coroutine[Any, Any, T]) -> T:
    """What the program returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(program)
