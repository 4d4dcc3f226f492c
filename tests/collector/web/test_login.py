"""The login page in a browser: what it sends has to pass our own checks."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from causal_otel.collector.security import Access, Guard, login_routes
from causal_otel.collector.web.templating import STATIC
from tests.collector.web.browser import OpenPage

TOKEN = "a-long-and-random-token"


def test_login_in_a_browser(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Whoever opens a page is asked for the token, told if it is wrong, and led to the page if it is right."""

    def hello(request: Request) -> Response:
        return HTMLResponse('<!doctype html><link rel="icon" href="data:,"><h1>Traces</h1>')

    access = Access(TOKEN)
    static = Mount("/static", StaticFiles(directory=STATIC), name="static")
    url = serve(
        Guard(Starlette(routes=[*login_routes(access), static, Route("/trace/{id}", hello)]), access, pages=True)
    )
    page = open_page(f"{url}/trace/1?a=b", expected=("401", "favicon"))
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/trace/1?a=b")
    assert page.get_by_role("heading").inner_text() == "Traces"
    assert page.evaluate("document.cookie") == ""
    page.goto(f"{url}/trace/2")
    assert page.get_by_role("heading").inner_text() == "Traces"
