"""One SERVER span a request, with the router's route, whatever the application is built of and whatever is around."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

import causal_otel
from causal_otel.patches.asgi import TracingMiddleware
from tests.patches.asgi_app import Own
from tests.patches.asgi_requests import fetch, server, servers
from tests.patches.http_server import serve
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes
from tests.waiting import wait_until

PATCHES = ["asgi"]


async def work(_: Request) -> Response:
    with causal_otel.span("work"):
        return PlainTextResponse("done")


def _included() -> FastAPI:
    """Routers in routers, one of them twice."""
    leaf, branch = APIRouter(prefix="/leaf"), APIRouter()

    @leaf.get("/{number}")
    async def found(number: int) -> str:
        with causal_otel.span("work"):
            return "done"

    branch.include_router(leaf, prefix="/left")
    branch.include_router(leaf, prefix="/right")
    app = FastAPI()
    app.include_router(branch, prefix="/tree")
    return app


def _mounted(inner: Any) -> Starlette:
    return Starlette(routes=[Mount("/in", inner)])


def _below(app: FastAPI, path: str, inner: Any) -> FastAPI:
    app.mount(path, inner)
    return app


ROUTES: list[BaseRoute] = [Route("/x/{a}", work)]


def _with_root() -> FastAPI:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newest deprecate it
        return FastAPI(routes=ROUTES, root_path="/gate")


APPLICATIONS: dict[str, tuple[Any, str, str]] = {
    "routes": (Starlette(routes=ROUTES), "/x/1", "/x/{a}"),
    "routers in routers": (_included(), "/tree/left/leaf/1", "/tree/left/leaf/{number}"),
    "a router twice": (_included(), "/tree/right/leaf/1", "/tree/right/leaf/{number}"),
    "mounted routes": (Starlette(routes=[Mount("/in", routes=ROUTES)]), "/in/x/1", "/in/x/{a}"),
    "mounted at the root": (Starlette(routes=[Mount("", Starlette(routes=ROUTES))]), "/x/1", "/x/{a}"),
    "a mounted router": (_mounted(Router(ROUTES)), "/in/x/1", "/in/x/{a}"),
    "FastAPI in Starlette": (_mounted(_included()), "/in/tree/left/leaf/1", "/in/tree/left/leaf/{number}"),
    "Starlette in FastAPI": (_below(FastAPI(), "/in", Starlette(routes=ROUTES)), "/in/x/1", "/in/x/{a}"),
    "FastAPI in FastAPI": (
        _below(FastAPI(), "/in", _included()),
        "/in/tree/left/leaf/1",
        "/in/tree/left/leaf/{number}",
    ),
    "three deep": (_below(Own(), "/{a}", _mounted(_mounted(Router(ROUTES)))), "/1/in/in/x/2", "/{a}/in/in/x/{a}"),
    "a host": (Starlette(routes=[Host("api.example", Router(ROUTES))]), "/x/1", "/x/{a}"),
    "a host's application": (
        Starlette(routes=[Host("{tenant}.example", _mounted(Router(ROUTES)))]),
        "/in/x/1",
        "/in/x/{a}",
    ),
    "a subclass": (Own(routes=ROUTES), "/x/1", "/x/{a}"),
    "the application's own root": (_with_root(), "/x/1", "/gate/x/{a}"),
}

PRE: Any = Middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
AROUND: dict[str, list[Middleware]] = {
    "nothing": [],
    "base": [PRE],
    "many": [
        PRE,
        Middleware(GZipMiddleware, minimum_size=1),
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(TrustedHostMiddleware, allowed_hosts=["*"]),
        PRE,
    ],
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.asyncio
async def test_one_span_with_the_route(recorded: Recording, name: str, around: str) -> None:
    """The span is one, named by the whole route, and the parent of what the endpoint does."""
    app, path, route = APPLICATIONS[name]
    for middleware in reversed(AROUND[around]):
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    response = await fetch(path, of=TracingMiddleware(app) if around != "nothing" else app)
    assert response.status_code == 200
    span = server(recorded)
    assert (span.name, attributes(span)["http.route"]) == (f"GET {route}", route)
    assert_span(recorded.only("work"), span)


@pytest.mark.parametrize(
    ("middleware", "method", "headers", "status"),
    [
        pytest.param(
            Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["POST"]),
            "OPTIONS",
            {"Origin": "http://shop.example", "Access-Control-Request-Method": "POST"},
            200,
            id="preflight",
        ),
        pytest.param(Middleware(TrustedHostMiddleware, allowed_hosts=["other.example"]), "GET", {}, 400, id="host"),
        pytest.param(Middleware(HTTPSRedirectMiddleware), "GET", {}, 307, id="redirect"),
        pytest.param(
            Middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: _refuse()), "GET", {}, 401, id="own"
        ),
    ],
)
@pytest.mark.asyncio
async def test_a_middleware_that_answers_itself(
    recorded: Recording, middleware: Middleware, method: str, headers: dict[str, str], status: int
) -> None:
    """What never comes to the router is one span without a route."""
    response = await fetch("/x/1", method, of=Starlette(routes=ROUTES, middleware=[middleware]), headers=headers)
    assert response.status_code == status
    span = server(recorded)
    assert span.name == method
    assert "http.route" not in attributes(span)


async def _refuse() -> Response:
    return PlainTextResponse("who are you?", 401)


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/static/page.txt", 200, "/static/{path}"),
        ("/static/none.txt", 404, "/static/{path}"),
        ("/x/1", 405, "/x/{a}"),
        ("/nowhere", 404, None),
    ],
)
@pytest.mark.asyncio
async def test_files_and_misses(recorded: Recording, tmp_path: Path, path: str, status: int, route: str | None) -> None:
    """The route is what the router has chosen: a mount for files, a route also for a method that it does not have."""
    (tmp_path / "page.txt").write_text("page")
    app = Starlette(routes=[Route("/x/{a}", work, methods=["POST"]), Mount("/static", StaticFiles(directory=tmp_path))])
    assert (await fetch(path, of=app)).status_code == status
    span = server(recorded)
    assert span.name == ("GET" if route is None else f"GET {route}")
    assert attributes(span).get("http.route") == route


@pytest.mark.asyncio
async def test_several_applications(recorded: Recording) -> None:
    """Applications beside each other in a process know nothing of each other."""
    for name, (app, path, _) in APPLICATIONS.items():
        assert (await fetch(path, of=app)).status_code == 200, name
    assert [span.name for span in servers(recorded)] == [f"GET {route}" for _, _, route in APPLICATIONS.values()]


@pytest.mark.parametrize("kind", [Starlette, FastAPI, Own])
def test_uvicorn_s_root_path(kind: Any) -> None:
    """Behind ``--root-path`` the route begins with it, as the path does."""
    with recording(PATCHES) as recorded:
        with serve(kind(routes=[*ROUTES, Mount("/in", kind(routes=ROUTES))]), root_path="/gate") as url:
            httpx.get(f"{url}/in/x/1")
            httpx.get(f"{url}/x/1")
            wait_until(lambda: len(servers(recorded)) == 2)
        for span, route in zip(servers(recorded), ("/gate/in/x/{a}", "/gate/x/{a}"), strict=True):
            assert_span(span, None)
            assert (span.name, attributes(span)["http.route"]) == (f"GET {route}", route)
