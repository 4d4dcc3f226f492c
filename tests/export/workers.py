"""A worker whose transport does as it is told, and what its tests ask of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from causal_otel.engine.context import current, is_suppressed
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.worker import Worker
from causal_otel.transports.transport import Outcome, Verdict

__all__ = ["BUSY", "DELIVERED", "REFUSED", "UNREACHABLE", "MakeWorker", "ScriptedTransport", "end", "lost"]

DELIVERED = Outcome(Verdict.DELIVERED)
REFUSED = Outcome(Verdict.REFUSED, "400", "no")
BUSY = Outcome(Verdict.BUSY, "503", "later", 0.01)
UNREACHABLE = Outcome(Verdict.UNREACHABLE, "ConnectionError", "Connection refused")

MakeWorker = Callable[..., tuple[Worker, TracerProvider]]
"""Makes a worker with options of its own, and a provider whose spans it exports."""


class ScriptedTransport:
    """A transport that keeps the names of the spans it was given; waits at a gate, and answers as told."""

    def __init__(self) -> None:
        self.attempts: list[list[str]] = []
        self.sizes: list[int] = []
        self.delivered: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.outcomes: list[Outcome | Exception] = [DELIVERED]
        """One an attempt; the last one for ever."""
        self.suppressed: list[bool] = []
        self.closed = False

    def send(self, payload: bytes, deadline: float) -> Outcome:
        message = ExportTraceServiceRequest.FromString(payload)
        spans = [span for group in message.resource_spans for scoped in group.scope_spans for span in scoped.spans]
        self.attempts.append([span.name for span in spans])
        self.sizes.append(len(payload))
        assert self.gate.wait(30)
        self.suppressed.append(is_suppressed(current()))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.verdict is Verdict.DELIVERED:
            self.delivered += self.attempts[-1]
        return outcome

    def close(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        raise AssertionError("no fork here")


def end(provider: Any, *names: str) -> None:
    """End spans with these names."""
    for name in names:
        provider.get_tracer("t").start_span(name).end()


def lost(worker: Worker) -> dict[str, int]:
    """How many spans a worker has dropped, by reason."""
    return {reason: count for reason, count in worker.status().dropped.items() if count}
