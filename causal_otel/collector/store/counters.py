"""What a writer has done since it was started."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Counts, each since the start.

    Attributes:
        spans: kept.
        traces: that spans were kept of. One whose spans come far apart, with 20,000 others between them, counts again.
        logs: log records kept.
        logs_rejected: log records that were not kept, as they name no trace.
        rejected: spans that were not kept, as their ids are not valid.
        expired: of the spans kept, those that started before the days that are kept: their clock is wrong.
        future: of the spans kept, those that start more than an hour from now: likewise.
        requests: kept.
        resent: requests that had been kept before and were not kept twice.
        refused: requests that the disk did not take.
        commits: transactions of all days together.
        deleted_days: by retention.
        deleted_bytes: by retention.
        early_days: of the days deleted, those that the size's limit has cost before their time.
        lost_seconds: now, not since the start: of the days that would be kept, how much that limit has cost.
        compactions: days written anew.
        compacting: the day that is being written anew, as in ``2026-11-22``; empty: none.
        damaged_files: set aside.
        excess_bytes: by how much today's file alone is larger than the whole store may be.
        last_commit_time: when spans or log records were kept last, Unix time in seconds; 0: never.
        write_error: why spans cannot be kept, for people; empty: the last attempt to write has succeeded.
        last_error: what went wrong last, for people; empty: nothing.
        last_error_time: when, Unix time in seconds.
    """

    spans: int = 0
    traces: int = 0
    logs: int = 0
    logs_rejected: int = 0
    rejected: int = 0
    expired: int = 0
    future: int = 0
    requests: int = 0
    resent: int = 0
    refused: int = 0
    commits: int = 0
    deleted_days: int = 0
    deleted_bytes: int = 0
    early_days: int = 0
    lost_seconds: int = 0
    compactions: int = 0
    compacting: str = ""
    damaged_files: int = 0
    excess_bytes: int = 0
    last_commit_time: float = 0.0
    write_error: str = ""
    last_error: str = ""
    last_error_time: float = 0.0

    def failed(self, message: str, now: float) -> None:
        """Note an error."""
        self.last_error, self.last_error_time = message, now
