"""A worker with a true transport, and spans for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.resources import Resource

from causal_otel.engine.provider import TracerProvider
from causal_otel.export.otlp_grpc import GrpcTransport
from causal_otel.export.otlp_http import HttpTransport
from causal_otel.export.worker import Worker

__all__ = ["Exporting", "exporting", "lost", "until"]


class Exporting:
    """A worker that sends to ``url``: by HTTP if it has a path, by gRPC if not."""

    def __init__(self, url: str, **options: Any) -> None:
        def make() -> HttpTransport | GrpcTransport:
            return HttpTransport(url) if url.endswith("/v1/traces") else GrpcTransport(url, insecure=True)

        self.worker = Worker(make, **{"schedule_delay": 60.0, "destination": url, **options})
        self.provider = TracerProvider(resource=Resource({}))
        self.provider.add_span_processor(self.worker)

    def end(self, *names: str, size: int = 0) -> None:
        """End spans, each with so much text."""
        for name in names:
            self.provider.get_tracer("t").start_span(name, attributes={"text": "x" * size}).end()

    def flush(self) -> bool:
        """With all the time that it may want."""
        return self.worker.force_flush(60_000)


@contextmanager
def exporting(url: str, **options: Any) -> Iterator[Exporting]:
    """One for as long as the block lasts."""
    made = Exporting(url, **options)
    try:
        yield made
    finally:
        made.provider.shutdown()


def lost(made: Exporting) -> dict[str, int]:
    """What was dropped, by reason."""
    return {reason: count for reason, count in made.worker.status().dropped.items() if count}


def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.005)
