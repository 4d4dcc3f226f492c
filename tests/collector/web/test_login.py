"""The login page in a browser: what it sends has to pass our own checks."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from causal_otel.collector.failed_logins import FailedLogins
from causal_otel.collector.security import Access, Guard, login_routes
from causal_otel.collector.tokens import Tokens, cookie_of
from causal_otel.collector.web.templating import STATIC, page
from tests.collector.web.browser import OpenPage

TOKEN = "a-long-and-random-token"


def test_login_in_a_browser(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Whoever opens a page is asked for the token, told if it is wrong, and led to the page if it is right."""

    def hello(request: Request) -> Response:
        return page(request, "error.html", {"heading": "Traces", "message": ""})

    access = Access(Tokens(TOKEN), failed_logins=FailedLogins(first=0))
    static = Mount("/static", StaticFiles(directory=STATIC), name="static")
    url = serve(
        Guard(Starlette(routes=[*login_routes(access), static, Route("/trace/{id}", hello)]), access, pages=True)
    )
    browser = open_page(f"{url}/trace/1?a=b", expected=("401", "favicon"))
    assert browser.get_by_role("button", name="Log out").count() == 0
    browser.get_by_label("Token").fill("wrong")
    browser.get_by_role("button", name="Log in").click()
    browser.get_by_role("alert").wait_for()
    browser.get_by_label("Token").fill(TOKEN)
    browser.keyboard.press("Enter")
    browser.wait_for_url(f"{url}/trace/1?a=b")
    assert browser.get_by_role("heading", level=1).inner_text() == "Traces"
    assert browser.evaluate("document.cookie") == ""
    browser.goto(f"{url}/trace/2")
    assert browser.get_by_role("heading", level=1).inner_text() == "Traces"
    browser.get_by_role("button", name="Log out").click()
    browser.wait_for_url(f"{url}/login")
    browser.goto(f"{url}/trace/2")
    assert browser.url.startswith(f"{url}/login?next=")


def test_logout_is_for_our_own_pages_only() -> None:
    """A page of another site cannot log anybody out; the cookie that is taken back is the one that was given."""
    access = Access(Tokens(TOKEN))
    client = TestClient(Guard(Starlette(routes=login_routes(access)), access, pages=True), "http://127.0.0.1")
    client.cookies.set(*cookie_of(TOKEN))
    answer = client.post("/logout", headers={"origin": "http://evil.example"}, follow_redirects=False)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    answer = client.post("/logout", headers={"origin": "http://127.0.0.1"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert answer.headers["set-cookie"].startswith(f'{cookie_of(TOKEN).name}="";')
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_nobody_can_log_out_where_nobody_logs_in() -> None:
    """Without a token, or with one in a header, a page offers no way to log out."""

    def hello(request: Request) -> Response:
        return page(request, "error.html", {"heading": "Traces", "message": ""})

    for token, headers in (("", {}), (TOKEN, {"authorization": f"Bearer {TOKEN}"})):
        app = Guard(Starlette(routes=[Route("/", hello)]), Access(Tokens(token)), pages=True)
        answer = TestClient(app, "http://127.0.0.1").get("/", headers=headers)
        assert (answer.status_code, "Log out" in answer.text) == (200, False)
