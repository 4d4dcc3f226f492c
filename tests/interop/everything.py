"""A program whose spans have everything that a span can have. It exports them as the environment says, and prints them.

One trace of an API's request with a query, a failed call and a message, and the task of that message. Beside it there
are a slow trace and as many health checks, ordinary and busy requests as are asked for.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import Link, SpanKind

import causal_otel

__all__ = ["ATTRIBUTES"]

ATTRIBUTES: dict[str, Any] = {
    "text": "plain",
    "unicode": "größer 漢字 🦊 \u202e",
    "empty": "",
    "yes": True,
    "no": False,
    "small": -1,
    "large": 2**53 + 1,
    "float": 0.1,
    "tiny": -1.5e-300,
    "texts": ("a", "ß"),
    "integers": (1, -2),
    "floats": (0.5, 2.25),
    "booleans": (True, False),
}


class _Recorder(SpanProcessor):
    """What has ended, as JSON can have it."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        assert context is not None
        self.spans.append(
            {
                "trace": f"{context.trace_id:032x}",
                "id": f"{context.span_id:016x}",
                "parent": f"{span.parent.span_id:016x}" if span.parent else "",
                "name": span.name,
                "kind": span.kind.name,
                "start": span.start_time,
                "end": span.end_time,
                "attributes": dict(span.attributes or {}),
                "events": [[event.name, event.timestamp, dict(event.attributes or {})] for event in span.events],
                "links": [
                    [f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes or {})]
                    for link in span.links
                ],
                "status": [span.status.status_code.name, span.status.description or ""],
            }
        )


def _work(number: int) -> None:
    tracer = trace.get_tracer("everything", "1.2.3")
    with tracer.start_as_current_span("GET /before", kind=SpanKind.SERVER) as before:
        earlier = before.get_span_context()
    given = {**ATTRIBUTES, "run": number, "http.route": "/orders"}
    links = [Link(earlier, {"why": "earlier", "times": 2})]
    with tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER, attributes=given, links=links) as request:
        request.add_event("cache.miss", {"key": "größe", "tries": 3, "ratio": 0.5})
        with tracer.start_as_current_span("SELECT orders", kind=SpanKind.CLIENT):
            time.sleep(0.02)
        try:
            with tracer.start_as_current_span("POST", kind=SpanKind.CLIENT):
                raise ValueError("kaputt 💥")
        except ValueError:
            pass
        with tracer.start_as_current_span("send charge", kind=SpanKind.PRODUCER) as message:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(message.get_span_context()))
    with tracer.start_as_current_span("process charge", parent, kind=SpanKind.CONSUMER) as task:
        task.set_attribute("user.id", f"user-{number}")


def _others(count: int) -> None:
    """Traces for the Collector to choose from: a slow one, ordinary ones, and health checks."""
    tracer = trace.get_tracer("everything")
    start = time.time_ns()
    slow = tracer.start_span("GET /slow", kind=SpanKind.SERVER, start_time=start - 3 * 10**9)
    slow.end(start)
    for path, route in (("/orders/1", "/orders/{id}"), ("/health", "/health"), ("/feed", "/feed")):
        for _ in range(count):
            attributes = {"url.path": path, "http.route": route}
            tracer.start_span(f"GET {route}", kind=SpanKind.SERVER, attributes=attributes).end()


def main() -> None:
    """Work, export, and print what there was."""
    recorder = _Recorder()
    installed = causal_otel.install(patches=[], sampler="always_on")
    trace.get_tracer_provider().add_span_processor(recorder)  # type: ignore[attr-defined]
    _work(int(sys.argv[1]))
    _others(int(sys.argv[2]))
    exported = installed.flush(float(sys.argv[3]))
    counts = causal_otel.status()
    installed.uninstall()
    print(json.dumps({"spans": recorder.spans, "exported": exported, "status": str(counts)}))


if __name__ == "__main__":
    main()
