"""What both API families share: routes that answer every method, refusals, and traces read within bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
    from starlette.requests import Request

    from causal_otel.collector.query import TraceReader

__all__ = ["MAX_SPANS", "MAX_TRACES", "TOO_MUCH", "Refused", "endpoint", "json_answer", "load"]

MAX_TRACES = 1500
"""Whole traces in one answer, the most that Jaeger's own page asks for."""

MAX_SPANS = 100_000
"""Spans in one answer; it ends with the trace that reaches them."""

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


TOO_MUCH = "there was no time to count all of this: ask for a shorter lookback, or for fewer services"
"""Why figures are not answered at all: Jaeger's answers cannot tell that they are incomplete."""


class Refused(Exception):
    """The request is answered with an error: ``status`` is the HTTP status, the text says what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def json_answer(document: Any, *, status: int = 200, indent: int | None = None) -> Response:
    """``document`` as a JSON response, in lines if ``indent`` says by how many spaces."""
    separators = (",", ":") if indent is None else (",", ": ")
    body = json.dumps(document, ensure_ascii=False, separators=separators, indent=indent).encode()
    return Response(body, status_code=status, media_type="application/json")


def endpoint(
    path: str,
    answer: Callable[[Request], Awaitable[Response]],
    failure: Callable[[int, str], dict[str, Any]],
    *,
    method: str | None = "GET",
) -> Route:
    """A route whose every error is JSON.

    Args:
        path: as Starlette writes it.
        answer: makes the response; it may raise :class:`Refused`.
        failure: makes the error's document of a status and a message.
        method: the one it takes, besides ``OPTIONS`` and, for ``GET``, ``HEAD``; None: any.
    """
    allowed = {"GET": ("GET", "HEAD", "OPTIONS"), None: _METHODS}.get(method, (str(method), "OPTIONS"))

    async def handle(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers={"Allow": ", ".join(allowed)})
        try:
            if request.method not in allowed:
                raise Refused(405, f"{request.url.path} takes {' or '.join(allowed)}, not {request.method}")
            response = await answer(request)
        except Refused as refused:
            response = json_answer(failure(refused.status, str(refused)), status=refused.status)
            if refused.status == 405:
                response.headers["Allow"] = ", ".join(allowed)
        if request.method == "HEAD":
            response.body = b""  # Content-Length stays that of the body
        return response

    return Route(path, handle, methods=list(_METHODS))


def load(reader: TraceReader, trace_ids: Iterable[bytes]) -> tuple[list[TracesData], bool]:
    """Read traces until there are :data:`MAX_TRACES` of them or :data:`MAX_SPANS` spans.

    Returns:
        Those that are there, in the order asked for, and whether none was left out.
    """
    traces: list[TracesData] = []
    spans = 0
    for trace_id in trace_ids:
        if len(traces) == MAX_TRACES or spans >= MAX_SPANS:
            return traces, False
        trace = reader.trace(trace_id)
        if trace is not None:
            traces.append(trace)
            spans += sum(len(scoped.spans) for group in trace.resource_spans for scoped in group.scope_spans)
    return traces, True
