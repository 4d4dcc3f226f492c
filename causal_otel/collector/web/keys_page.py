"""The page of all keys, for whoever has no scripts, and to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from causal_otel.collector.web.keyboard import SECTIONS
from causal_otel.collector.web.templating import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["routes"]


def routes() -> list[Route]:
    """``/keys``."""

    def keys(request: Request) -> Response:  # not async: pages are made in threads
        return page(request, "keys.html", {"sections": SECTIONS})

    return [Route("/keys", keys)]
