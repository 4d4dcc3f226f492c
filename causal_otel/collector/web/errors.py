"""What is answered when a request fails: a page for people, a line of text for programs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from causal_otel.collector.web.templating import page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["EXCEPTION_HANDLERS", "error_page"]

_EXPLANATIONS = {
    404: "There is nothing at this address. It may have been mistyped.",
    405: "This address takes no such request.",
    500: "The collector could not answer because of a fault of its own; its log says which. Receiving is not affected.",
}


def error_page(
    request: Request, status: int, message: str = "", *, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with ``status`` and what to do about it: HTML if the client takes it, else plain text."""
    phrase = HTTPStatus(status).phrase
    if message in ("", phrase):
        message = _EXPLANATIONS.get(status, phrase)
    if "text/html" in request.headers.get("accept", ""):
        response = page(request, "error.html", {"status": status, "heading": phrase, "message": message}, status=status)
    else:
        response = PlainTextResponse(f"{message}\n", status_code=status)
    response.headers.update(headers or {})
    return response


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_page(request, error.status_code, error.detail, headers=error.headers)


def _fault(request: Request, _: Exception) -> Response:
    return error_page(request, 500)


EXCEPTION_HANDLERS = {HTTPException: _http_exception, 500: _fault}
"""For a Starlette application."""
