"""What becomes of every span of a process: counted exactly, by reason, and told to those who wait for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REASONS", "ExportStatus", "Flush", "Ledger"]

REASONS: Mapping[str, str] = {
    "queue_full": "ended faster than they could be sent",
    "export_failed": "could not be delivered in time",
    "refused": "refused by the back end",
    "rejected": "rejected by the back end (partial success)",
    "encoding": "could not be encoded",
    "shutdown": "not delivered before the end of the process, or ended after it",
    "spool_full": "dropped from the spool to make room",
}
"""Why spans are dropped, with an explanation for people."""


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """What has become of this process's spans so far. ``str()`` is a line for people.

    Every span that has ended is in exactly one of ``queued``, ``exported``, ``spooled`` and ``dropped``; but one that
    was dropped from the spool is in ``spooled`` as well.
    """

    queued: int = 0
    """Waiting, or being sent right now."""
    capacity: int = 0
    """How many may wait to be encoded."""
    in_flight: int = 0
    """Those being sent right now."""
    exported: int = 0
    """Accepted by the back end."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Lost, by reason: see :data:`REASONS`."""
    spooled: int = 0
    """Put on disk because the back end could not be reached."""
    recovered: int = 0
    """Sent from the spool: by this process, whoever had put them there."""
    spooled_bytes: int = 0
    """What is in the spool directory now, of all processes."""
    damaged: Mapping[str, int] = field(default_factory=dict)
    """Batches in the spool, not spans, that this process has found unfit to be sent: ``corrupted``, or ``torn``
    because whoever wrote them was killed."""
    last_success: float | None = None
    """When the back end last accepted something, in Unix time."""

    @property
    def lost(self) -> int:
        """All that were dropped."""
        return sum(self.dropped.values())

    def __str__(self) -> str:
        parts = [f"{self.exported} exported", f"{self.queued} waiting"]
        if self.spooled or self.spooled_bytes:
            parts.append(
                f"{self.spooled} put into the spool ({self.spooled_bytes:,} bytes), {self.recovered} sent from it"
            )
        if any(self.damaged.values()):
            found = ", ".join(f"{count} {reason}" for reason, count in self.damaged.items() if count)
            parts.append(f"damaged batches in the spool: {found}")
        reasons = ", ".join(f"{count} {REASONS.get(reason, reason)}" for reason, count in self.dropped.items() if count)
        parts.append(f"{self.lost} lost" + (f" ({reasons})" if reasons else ""))
        if self.last_success is not None:
            parts.append(f"last delivery {max(0.0, time.time() - self.last_success):.0f} s ago")
        return ", ".join(parts)


class Flush:
    """Somebody waits for all spans before ``target``, a position in the order in which they ended."""

    __slots__ = ("failed", "target")

    def __init__(self, target: int) -> None:
        self.target = target
        self.failed = False


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
            self._disappoint(first)
            self.changed.notify_all()

    def spool(self, spans: int, first: int) -> None:
        """``spans`` are on disk: not lost, but not delivered."""
        with self.lock:
            self.spooled += spans
            self._disappoint(first)
            self.changed.notify_all()

    def _disappoint(self, first: int | None) -> None:
        if first is not None:
            for flush in self.flushes:
                if first < flush.target:
                    flush.failed = True
