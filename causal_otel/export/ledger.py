"""What becomes of every span of a process: counted exactly, by reason, for the status and for flushes that wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REASONS", "Flush", "Ledger"]

REASONS: Mapping[str, str] = {
    "queue_full": "did not fit into the queue, which was full",
    "export_failed": "could not be delivered in time",
    "refused": "refused by the back end",
    "too_large": "a single one was more than the back end takes in a request",
    "rejected": "rejected by the back end (partial success)",
    "encoding": "could not be encoded",
    "shutdown": "not delivered before the end of the process, or ended after it",
    "spool_full": "dropped from the spool to make room",
}
"""Why spans are dropped, with an explanation for people."""


class Flush:
    """A flush that waits for all spans before ``target``, a position in the order in which they ended.

    Attributes:
        asked: when it was asked for, by ``monotonic()``.
        failed: some of them were not delivered.
        stuck: some of them wait for a setting to be mended, so that the flush gives up.
    """

    __slots__ = ("asked", "failed", "stuck", "target")

    def __init__(self, target: int) -> None:
        self.target = target
        self.asked = time.monotonic()
        self.failed = False
        self.stuck = False


class Ledger:
    """The counts of one process, and the lock under which they change.

    Spans leave the queue in the order in which they came, so a number is enough to name one: how many have left before
    it. ``first``, in the methods, is that of the first span spoken of.

    Attributes:
        lock: re-entrant, because a garbage collection inside it may end an abandoned span on the same thread.
        changed: told after each change that somebody may wait for.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.flushes: list[Flush] = []
        self.exported = 0
        self.spooled = 0
        self.recovered = 0
        self.in_flight = 0
        self.dropped = dict.fromkeys(REASONS, 0)
        self.last_success: float | None = None

    def deliver(self, spans: int, rejected: int, first: int | None = None) -> None:
        """The back end has taken ``spans``, but for ``rejected``; those from the spool have no ``first``."""
        with self.lock:
            self.last_success = time.time()
            accepted = spans - rejected
            if first is None:
                self.recovered += accepted
            else:
                self.exported += accepted
            if rejected:
                self.drop(rejected, "rejected", first)
            self.changed.notify_all()

    def drop(self, spans: int, reason: str, first: int | None = None) -> None:
        """``spans`` are lost."""
        with self.lock:
            self.dropped[reason] += spans
            self._fail_flushes(first)
            self.changed.notify_all()

    def spool(self, spans: int, first: int) -> None:
        """``spans`` are on disk: not lost, but not delivered."""
        with self.lock:
            self.spooled += spans
            self._fail_flushes(first)
            self.changed.notify_all()

    def stall(self, first: int, begun: float) -> None:
        """The spans from ``first`` on stay queued until a setting is mended: flushes that wait for them give up.

        Not so those that were asked for after the attempt had ``begun``: the setting may have been mended before.
        """
        with self.lock:
            for flush in self.flushes:
                flush.stuck |= first < flush.target and flush.asked <= begun
            self.changed.notify_all()

    def _fail_flushes(self, first: int | None) -> None:
        if first is not None:
            for flush in self.flushes:
                if first < flush.target:
                    flush.failed = True
