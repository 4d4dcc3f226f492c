"""What files say now: they are read again when they have changed, without a signal or a restart."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from causal_otel._internal.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Followed"]

_LOG = logger(__name__)
_LOOK_SECONDS = 1.0

_T = TypeVar("_T")
_State = tuple[tuple[int, int, int], ...]


class Followed(Generic[_T]):
    """Files that are read again when they change. While they are bad, what was read before counts. For all threads.

    Args:
        paths: the files. One that is replaced, also by way of a symbolic link to another, counts as changed.
        read: reads them; what it raises first, from the constructor, is passed on.
        explain: makes a sentence of what it raises later: an ``OSError``, or one of ``bad``.
        bad: what it raises if the files are read and are no good.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], _T],
        *,
        explain: Callable[[Exception], str],
        bad: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = paths
        self._read = read
        self._explain = explain
        self._bad = bad
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._seen: _State | None = self._state()
        self._value = read()
        self.error = ""
        """What is wrong with the files as they are now, for people; empty: nothing."""

    def current(self, *, at_once: bool = False) -> _T:
        """What they say, as of a second ago.

        Args:
            at_once: as of now.
        """
        with self._lock:
            now = self._clock()
            if at_once or now - self._looked >= _LOOK_SECONDS:
                self._looked = now
                self._look()
            return self._value

    def _look(self) -> None:
        error, state = "", None
        try:
            state = self._state()
            if state == self._seen:
                return
            self._value = self._read()
        except self._bad as found:
            error = self._explain(found)
        except OSError as found:
            error, state = self._explain(found), None  # to try again
        self._seen = state
        if error and error != self.error:
            _LOG.warning("%s", error)
        self.error = error

    def _state(self) -> _State:
        found = [path.stat() for path in self._paths]
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)
