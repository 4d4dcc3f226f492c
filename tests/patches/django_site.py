"""A Django with a view of each kind. It is set up once in a process: ``make_site()`` does that, and gives handlers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import causal_otel
from tests.waiting import pause

__all__ = ["WAIT", "Site", "make_site", "work"]

WAIT = 0.02


class Site(NamedTuple):
    """What servers call."""

    asgi: Callable[..., Any]
    wsgi: Callable[..., Any]


def work() -> str:
    """A wait inside a span; gives the id of the trace."""
    with causal_otel.span("work"):
        pause(WAIT)
    return causal_otel.current_trace_id() or ""


@functools.cache
def make_site() -> Site:
    """Set Django up."""
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.core.exceptions import PermissionDenied
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import include, path, re_path

    def order(request: Any, number: int) -> HttpResponse:
        return HttpResponse(work())

    async def later(request: Any, number: int) -> HttpResponse:
        with causal_otel.span("work"):
            await asyncio.sleep(WAIT)
        return HttpResponse(causal_otel.current_trace_id() or "")

    def broken(request: Any) -> HttpResponse:
        raise KeyError("no such order")

    def denied(request: Any) -> HttpResponse:
        raise PermissionDenied

    def stream(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(work() for _ in range(2))

    class Urls:
        urlpatterns = (
            path("orders/<int:number>", order),
            path("later/<int:number>", later),
            path("broken", broken),
            path("denied", denied),
            path("stream", stream),
            path("shop/", include([re_path(r"^items/(?P<number>[0-9]+)$", order)])),
        )

    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=Urls, MIDDLEWARE=[], LOGGING_CONFIG=None, USE_TZ=True)
    return Site(get_asgi_application(), get_wsgi_application())
