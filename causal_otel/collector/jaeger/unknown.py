"""JSON for what is under ``/api`` and is no API. Its route comes last in an application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.jaeger.answers import Refused, endpoint
from causal_otel.collector.jaeger.legacy_requests import failure as legacy_failure
from causal_otel.collector.jaeger.v3 import failure as v3_failure

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

__all__ = ["routes"]


def routes() -> list[BaseRoute]:
    """What answers every path under ``/api`` that no earlier route has taken."""
    return [
        endpoint("/api/v3/{rest:path}", _unknown, v3_failure, method=None),
        endpoint("/api/{rest:path}", _unknown, legacy_failure, method=None),
    ]


async def _unknown(request: Request) -> Response:
    raise Refused(404, f"there is no {request.url.path}; /openapi.json lists what there is")
