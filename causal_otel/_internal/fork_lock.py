"""Locks for which a fork waits."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from causal_otel._internal import process

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ForkLock"]


class ForkLock:
    """Guards what a thread of ours does that no forked child may inherit half done, such as an import.

    ``os.fork()`` waits until nobody holds it. The child has a new one.

    Args:
        seconds: how long a fork waits at the most.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._held_for_fork = False
        self.renew()
        process.at_fork(before=self._before, in_parent=self._in_parent, in_child=self.renew)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it in a block."""
        with self._lock:
            yield

    def renew(self) -> None:
        """Begin anew: in a forked child, also in one whose fork has run no hooks."""
        self._lock = threading.Lock()

    def _before(self) -> None:
        self._held_for_fork = self._lock.acquire(timeout=self._seconds)

    def _in_parent(self) -> None:
        if self._held_for_fork:
            self._lock.release()
