"""The two applications: what people and programs ask (pages, query APIs, metrics), and what takes OTLP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from causal_otel.collector import health, metrics, remote_sampling
from causal_otel.collector.compression import Compression
from causal_otel.collector.heavy import HeavyReads
from causal_otel.collector.jaeger import legacy, openapi, unknown, v3
from causal_otel.collector.mcp import endpoint
from causal_otel.collector.reading import Reading
from causal_otel.collector.receive.otlp_http import otlp_app, refusal
from causal_otel.collector.security import Guard, login_routes
from causal_otel.collector.status import collect
from causal_otel.collector.troubles import Troubles, counts
from causal_otel.collector.web import pages
from causal_otel.collector.web.errors import EXCEPTION_HANDLERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from causal_otel.collector.heavy import Workers
    from causal_otel.collector.security import Access
    from causal_otel.collector.span_metrics import SpanMetrics
    from causal_otel.collector.status import Parts

__all__ = ["query_app", "reading_routes", "receiver_app"]


def reading_routes(
    reading: Reading, *, status: Callable[[], dict[str, Any]], put: Callable[[bytes], Future[Any]] | None
) -> list[BaseRoute]:
    """The APIs that read traces, and all pages; see :func:`causal_otel.collector.web.pages.routes`."""
    return [
        *legacy.routes(reading),
        *v3.routes(reading),
        *openapi.routes(),
        *unknown.routes(),
        *pages.routes(reading, status=status, put=put),
    ]


def query_app(parts: Parts, span_metrics: SpanMetrics, access: Access, workers: Workers) -> ASGIApp:
    """The application of the query port.

    Args:
        parts: what it shows, and who keeps what is imported.
        span_metrics: what ``/metrics`` shows besides.
        access: who may ask.
        workers: who answers what is heavy.
    """
    status, reading = partial(collect, parts), Reading(parts.reader)
    troubles = Troubles(parts.not_ready, partial(counts, parts))

    def status_json(_: Request) -> Response:
        return JSONResponse(status())

    app = Starlette(
        routes=[
            Route("/status.json", status_json, methods=["GET"]),
            *health.routes(parts),
            *metrics.routes(status, span_metrics),
            *remote_sampling.routes(parts.sampling),
            *login_routes(access),
            *endpoint.routes(reading),
            *reading_routes(reading, status=status, put=parts.writer.put),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.state.troubles = troubles
    apart = HeavyReads(Compression(app), workers, parts.reader, parts.addresses, troubles)
    return Guard(apart, access, pages=True, open_paths=health.PATHS)


def receiver_app(parts: Parts, access: Access) -> ASGIApp:
    """The application of the OTLP/HTTP port. It tells its health there too: load balancers probe where they send."""
    app = otlp_app(parts.intake, health.routes(parts))
    return Guard(app, access, open_paths=health.PATHS, refusal=refusal)
