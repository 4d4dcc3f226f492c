"""What whoever looks at traces has to know of the collector: that spans are refused, or a clock is wrong."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from causal_otel.collector.status import Parts

__all__ = ["Trouble", "Troubles", "counts"]

_TOLD_SECONDS = 3600.0
"""For how long it is told that something has happened."""

_BETWEEN_SECONDS = 60.0
_ASKED_SECONDS = 5.0

_HAPPENED: dict[str, tuple[Literal["error", "warn"], str, str]] = {
    "refused": (
        "error",
        "1 request was refused: the disk did not take it",
        "{} requests were refused: the disk did not take them",
    ),
    "busy": (
        "warn",
        "1 request was turned away, because too much waits to be written; who sent it may try again",
        "{} requests were turned away, because too much waits to be written; who sent them may try again",
    ),
    "rejected": (
        "warn",
        "1 span was refused: its ids are not valid",
        "{} spans were refused: their ids are not valid",
    ),
    "expired": (
        "warn",
        "A clock is wrong: 1 span says that it started before the days that are kept",
        "A clock is wrong: {} spans say that they started before the days that are kept",
    ),
    "future": (
        "warn",
        "A clock is wrong: 1 span says that it starts over an hour from now",
        "A clock is wrong: {} spans say that they start over an hour from now",
    ),
}
"""What is counted: how bad it is, and what is said of one and of several."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong.

    Attributes:
        level: ``error`` if spans are lost, else ``warn``.
        text: what, for people.
        since: from when on, Unix time in seconds; None: it is so now.
    """

    level: Literal["error", "warn"]
    text: str
    since: float | None = None


class Troubles:
    """Remembers for an hour what was counted. Safe from several threads; it may write to the disk.

    Args:
        not_ready: why spans cannot be kept now, for people; empty: they can.
        counts: how often each of the things that are told has happened so far.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        not_ready: Callable[[], str],
        counts: Callable[[], Mapping[str, int]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._not_ready = not_ready
        self._counts = counts
        self._clock = clock
        self._seen = deque([(clock(), counts())])
        self._lock = threading.Lock()  # guards `_seen`
        self._asking = threading.Lock()
        self._asked_at = float("-inf")
        self._reason = ""

    def __call__(self) -> list[Trouble]:
        """What is wrong now, and what was counted in the last hour, or since somebody looked if that is longer ago."""
        found = [Trouble("error", f"Spans cannot be kept now: {reason}")] if (reason := self._ask()) else []
        now, counted = self._clock(), self._counts()
        with self._lock:
            while len(self._seen) > 1 and self._seen[1][0] <= now - _TOLD_SECONDS:
                self._seen.popleft()
            since, before = self._seen[0]
            if now - self._seen[-1][0] >= _BETWEEN_SECONDS:
                self._seen.append((now, counted))
        for name, (level, one, several) in _HAPPENED.items():
            count = counted.get(name, 0) - before.get(name, 0)
            if count > 0:
                found.append(Trouble(level, one if count == 1 else several.format(f"{count:,}"), since))
        return found

    def _ask(self) -> str:
        """Whether spans can be kept. A disk that does not answer keeps one page waiting, not all."""
        if self._asking.acquire(blocking=False):
            try:
                if time.monotonic() - self._asked_at >= _ASKED_SECONDS or self._reason:
                    self._reason = self._not_ready()
                    self._asked_at = time.monotonic()
            finally:
                self._asking.release()
        return self._reason


def counts(parts: Parts) -> dict[str, int]:
    """What a running collector has counted since its start."""
    writer = parts.writer.counters()
    return {
        **{name: int(writer[name]) for name in ("refused", "rejected", "expired", "future")},
        "busy": sum(count for (_, outcome), count in list(parts.intake.outcomes.items()) if outcome == "busy"),
    }
