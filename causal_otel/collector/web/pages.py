"""All pages in one: search, live tail, operations, status, traces, comparison, map, and the static files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from causal_otel.collector.web import (
    compare_page,
    different_page,
    error_pages,
    figures_json,
    import_page,
    keys_page,
    live,
    map_page,
    operation_page,
    operations,
    runtime_page,
    search,
    service_page,
    status_page,
    trace_page,
)
from causal_otel.collector.web.templating import STATIC

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from concurrent.futures import Future

    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import Scope

    from causal_otel.collector.reading import Reading

__all__ = ["routes"]

_FOR_GOOD = "public, max-age=31536000, immutable"


def routes(
    reading: Reading,
    *,
    status: Callable[[], dict[str, Any]],
    put: Callable[[bytes], Future[Any]] | None,
) -> list[BaseRoute]:
    """All pages and what they load.

    Args:
        reading: what reads what they show.
        status: what the status page shows, see :mod:`causal_otel.collector.status`; it is called from threads.
        put: keeps a serialized ``ExportTraceServiceRequest``, for the import of traces; None: there is no import.
    """
    return [
        *search.routes(reading, status),
        *different_page.routes(reading),
        *live.routes(reading, status),
        *operations.routes(reading.reader, status),
        *operation_page.routes(reading),
        *service_page.routes(reading.reader),
        *error_pages.routes(reading.reader, status),
        *runtime_page.routes(reading.reader, status),
        *figures_json.routes(reading.reader),
        *status_page.routes(status),
        *trace_page.routes(reading),
        *compare_page.routes(reading),
        *map_page.routes(reading.reader),
        *import_page.routes(reading, put),
        *keys_page.routes(),
        Mount("/static", _Static(directory=STATIC), name="static"),
    ]


class _Static(StaticFiles):
    """Files that a browser keeps for good when it asks with a version, and else asks about each time."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        versioned = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = _FOR_GOOD if versioned else "no-cache"
        return response
