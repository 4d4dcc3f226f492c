"""The pages as an application over any reader, for tests."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from causal_otel.collector import web
from causal_otel.collector.reading import Reading
from causal_otel.collector.store.counters import Counters

if TYPE_CHECKING:
    from causal_otel.collector.query import TraceReader

__all__ = ["site", "status_document"]


def site(reader: TraceReader, *, status: dict[str, Any] | None = None) -> Starlette:
    """The pages over ``reader``, with the status document ``status``; nothing can be imported."""
    return Starlette(
        routes=web.routes(Reading(reader), status=lambda: status or status_document(), put=None),
        exception_handlers=web.EXCEPTION_HANDLERS,
    )


def status_document(*, days: int = 24, **changes: Any) -> dict[str, Any]:
    """A document as the collector's, of one that has run for some days."""
    kept = [
        {
            "day": f"2026-11-{day + 1:02}",
            "spans": 40_000 + day * day * 900 * (1 if day % 7 < 5 else 0),
            "traces": 3_000 + day * 60,
            "bytes": 11_000_000 + day * 200_000,
            "closed": day < days - 1,
        }
        for day in range(days)
        if day != 9
    ]
    return {
        "version": "0.4.0",
        "started": time.time() - 90_000,
        "uptime": 90_000.0,
        "addresses": {"pages": "http://127.0.0.1:16686", "otlp_http": "http://127.0.0.1:4318"},
        "requests": {"http": {"accepted": 81_220, "partial": 3, "busy": 12}, "grpc": {"accepted": 512}},
        "not_ready": "",
        "forward": None,
        "tokens": {"file": "", "tokens": 0, "error": ""},
        "tls": {"certificate": "", "error": ""},
        "writer": {
            **asdict(
                Counters(
                    spans=4_911_020, rejected=96, expired=31, future=17, requests=81_732, resent=14, commits=40_110
                )
            ),
            "queue_requests": 2,
            "queue_bytes": 18_300,
            "queue_limit_bytes": 64 * 2**20,
        },
        "store": {
            "directory": "/var/lib/causal-otel/traces",
            "retention_days": 30,
            "max_bytes": 5_000_000_000,
            "bytes": sum(day["bytes"] for day in kept),
            "spans": sum(day["spans"] for day in kept),
            "oldest_day": kept[0]["day"] if kept else None,
            "days": kept,
            "damaged": [],
        },
        "sampling": {"file": "/etc/causal-otel/sampling.json", "error": "", "warnings": []},
        "process": {"pid": 4711, "resident_bytes": 84_000_000, "cpu_seconds": 812.5},
        **changes,
    }
