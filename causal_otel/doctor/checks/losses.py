"""What a running process has lost, and what has failed in it."""

from __future__ import annotations

from collections.abc import Iterator

from causal_otel.doctor.facts import Facts
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.export.ledger import REASONS
from causal_otel.export.status import ExportStatus

__all__ = ["KINDS", "check"]

_STUCK = Kind(
    "delivery-fails",
    Severity.ERROR,
    "A running process cannot deliver its spans now.",
    "They wait, and are lost when the room for them is full or the process ends.",
)
_GONE = Kind(
    "process-ended",
    Severity.ERROR,
    "The status file is of a process that has ended without removing it.",
    "A process that is killed exports nothing of what it still had.",
)
_DROPPED = Kind(
    "spans-dropped",
    Severity.WARNING,
    "A running process has lost spans or log records.",
    "Traces have holes that no sampler has made.",
)
_FAULTS = Kind(
    "faults",
    Severity.WARNING,
    "Tracing has failed in a running process, or code of the user's that it calls has.",
    "The application was not affected, but what was to be recorded there is missing.",
)
_EVICTED = Kind(
    "buffer-full",
    Severity.WARNING,
    "The buffer of traces that wait for a failure was too small.",
    "Of traces that failed later, spans are missing, or all of them.",
)

KINDS = (_STUCK, _GONE, _DROPPED, _FAULTS, _EVICTED)

_FIXES = {
    "queue_full": "export OTEL_BSP_MAX_QUEUE_SIZE=32768    # and find out why the collector is slow",
    "export_failed": "export TRACING_SPOOL_DIRECTORY=/var/spool/causal-otel",
    "spool_full": "export TRACING_SPOOL_MAX_BYTES=1073741824",
    "too_large": "export OTEL_BSP_MAX_EXPORT_BATCH_SIZE=512    # or raise the collector's limit of a request",
    "shutdown": "export TRACING_EXIT_TIMEOUT=20    # and TRACING_SPOOL_DIRECTORY",
}
_SEE_LOG = "causal-otel doctor    # asks the collector; the process's log has its reason"


def check(facts: Facts) -> Iterator[Finding]:
    """Look at the counts of the process."""
    if facts.observed is None:
        return
    status = facts.observed.status
    if facts.left_behind:
        yield _GONE(f"{facts.left_behind[0].upper()}{facts.left_behind[1:]}.", f"rm {facts.observed.pid}.json")
    for noun, export in (("spans", status.export), ("log records", status.logs)):
        if export is not None:
            yield from _lost(noun, export)
    for site, count in status.faults.items():
        yield _FAULTS(f"{site} has failed {count} times.", 'grep -A 30 "tracing failed in" LOGFILE')
    for limit, count in ({} if status.buffer is None else status.buffer.evicted).items():
        if count:
            yield _EVICTED(
                f"{count} over the limit of {limit}.",
                f"export TRACING_KEEP_MAX_{_LIMITS.get(limit, 'BYTES')}=...    # more than now",
            )


_LIMITS = {"traces": "TRACES", "spans": "SPANS", "size": "BYTES", "age": "AGE"}


def _lost(noun: str, export: ExportStatus) -> Iterator[Finding]:
    if export.problem:
        yield _STUCK(f"{export.queued} {noun} wait: {export.problem}.", "causal-otel doctor    # asks the collector")
    for reason, count in sorted(export.dropped.items(), key=lambda each: -each[1]):
        if count:
            yield _DROPPED(
                f"{count} of {export.exported + export.lost} {noun} are lost: {REASONS.get(reason, reason)}.",
                _FIXES.get(reason, _SEE_LOG),
            )
