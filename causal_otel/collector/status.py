"""How the collector is doing, as one document: what ``/status.json`` answers, and pages and metrics are made from."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from causal_otel._version import __version__
from causal_otel.collector.store.days import midnight

if TYPE_CHECKING:
    from causal_otel.collector.certificates import Certificate
    from causal_otel.collector.config import CollectorSettings
    from causal_otel.collector.forward.forwarder import Forwarder
    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.receive.intake import Intake
    from causal_otel.collector.remote_sampling import ServedStrategies
    from causal_otel.collector.security import Access
    from causal_otel.collector.store.writer import Writer

__all__ = ["Parts", "collect"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A running collector's parts that have something to say.

    Attributes:
        certificate: what TLS is served with; None: no TLS.
        forwarder: sends on what comes; None: nobody does.
        addresses: where it listens: ``pages``, ``otlp_http`` and, if there is gRPC, ``otlp_grpc``.
        started: Unix time in seconds.
    """

    settings: CollectorSettings
    writer: Writer
    reader: TraceReader
    intake: Intake
    sampling: ServedStrategies
    access: Access
    certificate: Certificate | None
    forwarder: Forwarder | None
    addresses: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    def not_ready(self) -> str:
        """Why requests cannot be acknowledged now; empty: they can. It writes to the disk: call it from a thread."""
        return self.writer.not_ready() or (self.forwarder.not_ready() if self.forwarder is not None else "")


def collect(parts: Parts) -> dict[str, Any]:
    """Ask all parts. It reads from the disk: call it from a thread.

    Returns:
        What :func:`json.dumps` takes. Sizes are in bytes, times Unix times in seconds, durations in seconds; days are
        as in ``2026-11-22``, oldest first. ``not_ready`` is what ``/ready`` says, empty while the collector is ready;
        ``requests`` is by transport and outcome, see :class:`~causal_otel.collector.receive.intake.Intake`;
        ``writer`` is what :meth:`~causal_otel.collector.store.writer.Writer.counters` says.
    """
    settings, volume, now = parts.settings, parts.reader.volume(), time.time()
    oldest = volume.days[0].day if volume.days else None
    requests: dict[str, dict[str, int]] = {}
    for (transport, outcome), count in sorted(parts.intake.outcomes.items()):
        requests.setdefault(transport, {})[outcome] = count
    return {
        "version": __version__,
        "started": parts.started,
        "uptime": now - parts.started,
        "addresses": parts.addresses,
        "requests": requests,
        "not_ready": parts.not_ready(),
        "writer": parts.writer.counters(),
        "store": {
            "directory": settings.data_dir,
            "retention_days": settings.retention,
            "max_bytes": settings.max_size,
            "bytes": sum(day.bytes for day in volume.days),
            "free_bytes": _free_bytes(settings.data_dir),
            "spans": sum(day.spans for day in volume.days),
            "traces": sum(day.traces for day in volume.days),
            "oldest_day": oldest,
            "oldest_age": now - midnight(oldest) if oldest is not None else None,
            "days": [
                {
                    "day": day.day,
                    "spans": day.spans,
                    "traces": day.traces,
                    "logs": day.logs,
                    "bytes": day.bytes,
                    "closed": day.closed,
                }
                for day in volume.days
            ],
            "damaged": [{"file": file, "reason": reason} for file, reason in volume.damaged],
        },
        "forward": parts.forwarder.status() if parts.forwarder is not None else None,
        "sampling": parts.sampling.status(),
        "tokens": parts.access.tokens.status(),
        "tls": {
            "certificate": settings.tls_cert,
            "error": parts.certificate.error if parts.certificate is not None else "",
        },
        "process": {"pid": os.getpid(), "resident_bytes": _resident_bytes(), "cpu_seconds": time.process_time()},
    }


def _free_bytes(directory: str) -> int | None:
    """What the disk has left for us; None: nobody knows."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def _resident_bytes() -> int:
    import resource  # the collector runs on POSIX systems only, but everybody may import this

    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # no Linux: the most it ever was, in bytes on macOS and in KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
