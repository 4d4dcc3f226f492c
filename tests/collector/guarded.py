"""A small application behind the collector's guard, for tests of who may ask."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from causal_otel.collector.security import Access, Guard, login_routes

__all__ = ["TOKEN", "guarded_app"]

TOKEN = "a-long-and-random-token"


def guarded_app(access: Access) -> Guard:
    """It greets at every path, and counts the bytes that are posted to ``/post``."""

    def hello(request: Request) -> Response:
        return PlainTextResponse("hello " + request.url.path)

    async def post(request: Request) -> Response:
        return PlainTextResponse(f"{len(await request.body())} bytes")

    routes = [*login_routes(access), Route("/post", post, methods=["POST"]), Route("/{rest:path}", hello)]
    return Guard(Starlette(routes=routes), access, pages=True)
