"""The page that imports traces from a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse
from starlette.routing import Route

from causal_otel.collector.reading import LARGE_DOCUMENT
from causal_otel.collector.web.imports import FILE_LIMIT, Refused, parse, trace_ids, uploaded
from causal_otel.collector.web.templating import HEADERS, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.reading import Reading

__all__ = ["Put", "routes"]

Put = Callable[[bytes], Future[Any] | Awaitable[Any]]
"""Keeps a serialized ``ExportTraceServiceRequest``; when what it returns is done, that can be read."""

_KEEPING_SECONDS = 30.0


def routes(reading: Reading, put: Put | None = None) -> list[Route]:
    """``/import``.

    Args:
        reading: where large files are read.
        put: keeps what is imported; None: nothing can be.
    """
    pages = _ImportPage(reading, put)
    return [
        Route("/import", pages.import_form, methods=["GET"]),
        Route("/import", pages.import_file, methods=["POST"]),
    ]


class _ImportPage:
    def __init__(self, reading: Reading, put: Put | None) -> None:
        self._reading = reading
        self._put = put

    def import_form(self, request: Request) -> Response:
        return self._import_page(request)

    async def import_file(self, request: Request) -> Response:
        put = self._put
        if put is None:
            return self._import_page(request, status=403)
        try:
            data = await uploaded(request)
            message = await self._reading.run(partial(parse, data), large=len(data) >= LARGE_DOCUMENT)
        except Refused as refused:
            return self._import_page(request, problem=str(refused), status=refused.status)
        try:
            keeping = put(message.SerializeToString())
            await asyncio.wait_for(
                asyncio.wrap_future(keeping) if isinstance(keeping, Future) else keeping, _KEEPING_SECONDS
            )
        except Exception as error:  # whatever the store says: full, closed, no space left
            problem = f"The traces could not be kept: {str(error) or type(error).__name__}. Try again in a moment."
            return self._import_page(request, problem=problem, status=503)
        imported = trace_ids(message)
        if len(imported) > 1:
            return self._import_page(request, imported=imported)
        return RedirectResponse(f"/trace/{imported[0]}", 303, headers=HEADERS)

    def _import_page(
        self, request: Request, problem: str = "", imported: list[str] | None = None, status: int = 200
    ) -> Response:
        context = {
            "problem": problem,
            "imported": imported,
            "writable": self._put is not None,
            "megabytes": FILE_LIMIT // 2**20,
        }
        return page(request, "import.html", context, status=status)
