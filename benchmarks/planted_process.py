"""The slow demo's API or worker under somebody else's tracer, which writes each span that ends as a line of JSON.

    python -m benchmarks.planted_process contrib|logfire|ddtrace api PORT
    python -m benchmarks.planted_process contrib|logfire|ddtrace worker

The variable ``PLANTED_SPANS`` names the file. Each tracer is set up as its documentation says for FastAPI, asyncpg,
httpx, redis and Celery, with whatever it has for event loops and threads. ``TRACING_ENABLED=false`` keeps ours away.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from causal_otel.testing.process import LOOPBACK

__all__ = ["TRACERS"]


def _write(**span: Any) -> None:
    line = json.dumps(span, default=str) + "\n"
    with open(os.environ["PLANTED_SPANS"], "a", encoding="utf-8") as file:
        file.write(line)


class _Lines(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            context, parent = span.get_span_context(), span.parent
            _write(
                trace=context.trace_id if context else 0,
                id=context.span_id if context else 0,
                parent=parent.span_id if parent else 0,
                name=span.name,
                start=span.start_time,
                end=span.end_time,
                attributes=dict(span.attributes or {}),
            )
        return SpanExportResult.SUCCESS


def _contrib(app: Any) -> None:
    from opentelemetry import trace
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_Lines()))
    trace.set_tracer_provider(provider)
    instrumentors: list[Any] = [AsyncPGInstrumentor(), CeleryInstrumentor(), HTTPXClientInstrumentor()]
    for instrumentor in (*instrumentors, RedisInstrumentor(), ThreadingInstrumentor()):
        instrumentor.instrument()
    if app is not None:
        FastAPIInstrumentor.instrument_app(app)


def _logfire(app: Any) -> None:
    import logfire

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(_Lines())])
    logfire.instrument_asyncpg()
    logfire.instrument_celery()
    logfire.instrument_httpx()
    logfire.instrument_redis()
    if app is not None:
        logfire.log_slow_async_callbacks()
        logfire.instrument_fastapi(app)


def _ddtrace(app: Any) -> None:
    import ddtrace
    from ddtrace.internal.writer import TraceWriter
    from ddtrace.trace import tracer

    class Lines(TraceWriter):
        def recreate(self, appsec_enabled: bool | None = None, llmobs_enabled: bool | None = None) -> TraceWriter:
            return self

        def stop(self, timeout: float | None = None) -> None:
            pass

        def flush_queue(self) -> None:
            pass

        def write(self, spans: Any = None) -> None:
            for span in spans or ():
                _write(
                    trace=span.trace_id,
                    id=span.span_id,
                    parent=span.parent_id or 0,
                    name=f"{span.name} {span.resource}",
                    start=span.start_ns,
                    end=span.start_ns + span.duration_ns,
                    attributes={},
                )

    tracer._span_aggregator.writer = Lines()
    ddtrace.patch(asyncio=True, asyncpg=True, celery=True, fastapi=True, futures=True, httpx=True, redis=True)


TRACERS: dict[str, Callable[[Any], None]] = {"contrib": _contrib, "logfire": _logfire, "ddtrace": _ddtrace}
"""Sets a tracer up, for the application if there is one."""


def _serve(tracer: str, port: int) -> None:
    import uvicorn

    if tracer == "ddtrace":  # which patches classes, before they are used
        TRACERS[tracer](None)
    from causal_otel.cli.demo.slow.app import app

    if tracer != "ddtrace":
        TRACERS[tracer](app)
    uvicorn.run(app, host=LOOPBACK, port=port, loop="asyncio", log_level="warning")


def _work(tracer: str) -> None:
    if tracer == "ddtrace":
        TRACERS[tracer](None)
    from celery.signals import worker_process_init

    from causal_otel.cli.demo.slow.tasks import celery

    if tracer != "ddtrace":

        @worker_process_init.connect(weak=False)
        def set_up(**_: Any) -> None:
            TRACERS[tracer](None)

    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    celery.worker_main(["worker", "-P", "prefork", "-c", "1", "-l", "INFO", *quiet])


if __name__ == "__main__":
    if sys.argv[2] == "api":
        _serve(sys.argv[1], int(sys.argv[3]))
    else:
        _work(sys.argv[1])
