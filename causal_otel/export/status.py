"""What the export says of itself, for :func:`causal_otel.status`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from causal_otel.export.ledger import REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExportStatus"]


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
    """Lost, by reason: see :data:`~.ledger.REASONS`."""
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
    problem: str = ""
    """Why nothing can be delivered now, and what to do about it; empty: the last attempt went well."""

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
        if self.problem:
            parts.append(f"cannot be delivered now: {self.problem}")
        return ", ".join(parts)
