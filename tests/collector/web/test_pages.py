from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from html import unescape
from itertools import product
from typing import TYPE_CHECKING, Literal

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from causal_otel.collector import web
from causal_otel.collector.web.templating import STATIC, age, colours, page, share, size, static, utc
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, NOON, SECOND, span, trace_id, traces
from tests.collector.web.browser import screenshot
from tests.collector.web.sites import site, status_document
from tests.collector.web.traffic import shop

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

PATHS = {
    "search": "/?limit=60",
    "search-mistakes": "/?tags=%22open&start=x&limit=0",
    "search-nothing": "/?service=gateway&operation=none&shortest=1h",
    "live": "/live",
    "operations": "/operations",
    "status": "/status",
    "error": "/nowhere",
    "login": "/login",
}


@pytest.fixture(scope="module")
def app() -> Starlette:
    """All pages over a shop's traffic, and the login page."""

    def login(request: Request) -> Response:
        return page(request, "login.html", {"next": "/", "failed": True})

    app = site(shop())
    app.router.routes.append(Route("/login", login))
    return app


@pytest.fixture
def client(app: Starlette) -> TestClient:
    """Asks as a browser does, without one."""
    return TestClient(app, headers={"accept": "text/html"})


# -- all pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_pages_need_nothing_that_their_policy_forbids(client: TestClient, path: str) -> None:
    """No page has a style or script in it or asks another host, and its headers forbid all that."""
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    tags = re.findall(r"<[a-z][^>]*>", answer.text)
    assert not [tag for tag in tags if re.search(r"\s(style|on[a-z]+)=|https?://|javascript:", tag)]
    assert re.findall(r"<script[^>]*>(.*?)</script>", answer.text, re.DOTALL) == [""] * answer.text.count("<script")
    assert "<style" not in answer.text


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_every_field_has_a_label(client: TestClient, path: str) -> None:
    """Each field can be named by a screen reader, ids are unique, and there is one main heading."""
    html = client.get(path).text
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert html.count("<h1") == 1
    for field in re.findall(r"<(?:input|select|textarea)\b[^>]*>", html):
        labelled = (match := re.search(r'\sid="([^"]+)"', field)) and f'for="{match[1]}"' in html
        assert labelled or "aria-label=" in field or 'type="hidden"' in field or 'type="checkbox"' in field, field


@pytest.mark.long
@pytest.mark.parametrize(("name", "theme"), list(product(PATHS, ("light", "dark"))))
def test_pages_look_right(
    app: Starlette,
    serve: Callable[[ASGIApp], str],
    open_page: OpenPage,
    name: str,
    theme: Literal["light", "dark"],
) -> None:
    """In both themes, wide and narrow, a page loads without complaint and nothing sticks out of it."""
    url = serve(app)
    expected = ("status of 404", "status of 400")
    for width in (1280, 800):
        page = open_page(url + PATHS[name], theme=theme, width=width, expected=expected)
        screenshot(page, f"{name}-{theme}-{width}", full=name == "status")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = (
            "all => all.filter(each => each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML)"
        )
        assert page.eval_on_selector_all("main, header, .card, .trace > *, input, button", outside) == []


def test_the_first_steps_look_right(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """The page before the first trace loads without complaint."""
    screenshot(open_page(serve(site(MemoryReader()))), "first-steps-light-1280", full=False)


# -- static files -------------------------------------------------------------------------------------------------


def test_static_files_are_kept_as_long_as_they_are_the_same(client: TestClient) -> None:
    """A browser keeps a file that it asked for with a version for good, and asks about any other again."""
    versioned = client.get(static("base.css"))
    assert versioned.status_code == 200
    assert versioned.headers["content-type"].startswith("text/css")
    assert "immutable" in versioned.headers["cache-control"]
    plain = client.get("/static/keys.js")
    assert plain.headers["cache-control"] == "no-cache"
    again = client.get("/static/keys.js", headers={"if-none-match": plain.headers["etag"]})
    assert again.status_code == 304
    assert client.get("/static/../templating.py").status_code == 404


def test_modules_are_loaded_once() -> None:
    """No script imports a module that a page loads by a versioned address: it would run twice."""
    templates = STATIC.parent / "templates"
    loaded = {
        name for file in templates.glob("*.html") for name in re.findall(r"static\('([^']+\.js)'\)", file.read_text())
    }
    imported = {name for file in STATIC.glob("*.js") for name in re.findall(r'from "\./([^"]+)"', file.read_text())}
    assert loaded.isdisjoint(imported)
    assert all((STATIC / name).is_file() for name in loaded | imported)


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing() -> TestClient:
    """Asks an application of which one page fails."""

    def fail(_: Request) -> Response:
        raise ValueError("a secret of the inside")

    app = Starlette(
        routes=[Route("/fault", fail), Route("/get", fail, methods=["GET"])], exception_handlers=web.EXCEPTION_HANDLERS
    )
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/none", 404), ("POST", "/get", 405), ("GET", "/fault", 500)]
)
def test_an_error_is_a_page_for_people_and_text_for_programs(
    failing: TestClient, method: str, path: str, status: int
) -> None:
    """Browsers get a page that says what to do, other clients a line of text, and nobody what went wrong inside."""
    html = failing.request(method, path, headers={"accept": "text/html,*/*;q=0.8"})
    text = failing.request(method, path)
    assert html.status_code == text.status_code == status
    assert "<h1>" in html.text
    assert text.headers["content-type"].startswith("text/plain")
    assert "secret" not in html.text + text.text
    assert text.text.strip() in unescape(html.text)
    if status == 405:
        assert text.headers["allow"] == html.headers["allow"]


# -- operations ---------------------------------------------------------------------------------------------------


def _operations(html: str) -> list[str]:
    return [
        f"{service} {name}"
        for name, service in re.findall(
            r'class="name"[^>]*>([^<]+)</a>\s*<small class="service"><a[^>]*>([^<]+)</a>', html
        )
    ]


def _column(html: str, place: int) -> list[int]:
    body = html.partition("<tbody>")[2].partition("</tbody>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in body.split("<tr")[1:]]
    return [int(re.sub(r"<[^>]+>|\s", "", row[place])) for row in cells]


def test_operations_of_one_name_are_told_apart_by_system() -> None:
    """Redis' GET has a row beside HTTP's to each host; the row's page and search are of its spans only."""
    hosts = ("a.example", "b.example")
    tags = [
        {},
        {"db.system.name": "redis"},
        *({"http.request.method": "GET", "server.address": host} for host in hosts),
    ]
    start = time.time_ns() - 2 * SECOND
    spans = [
        span("GET", trace=number, start=start, kind=Span.SPAN_KIND_CLIENT, tags=each)
        for number, each in enumerate(tags, 1)
    ]
    client = TestClient(site(MemoryReader([traces(*spans)])))
    html = client.get("/operations").text
    rows = html.partition("<tbody>")[2].split("<tr")[1:]
    systems = ["none", "redis", "http a.example", "http b.example"]
    shown = []
    for row in rows:
        (system,) = re.findall(r'<span class="system">([^<]+)<', row) or ["none"]
        shown.append(system)
        own, address = re.search(r'class="name" href="([^"]+)"', row), re.search(r'href="(/\?[^"]+)"', row)
        assert own
        assert address
        page = client.get(unescape(own[1])).text
        assert re.search(r"<dt>Calls</dt><dd>1 ", page)
        found = client.get(unescape(address[1])).text
        number = systems.index(system) + 1
        assert re.findall(r'<li class="trace[^"]*" id="t([0-9a-f]{32})"', found) == [trace_id(number).hex()]
        assert f'name="system" value="{system}"' in found
    assert sorted(shown) == sorted(systems)


def test_operations_are_sorted_by_link(client: TestClient) -> None:
    """A column's link sorts by it, largest first; the same link again turns the order round."""
    html = client.get("/operations").text
    assert len(_operations(html)) > 8
    link = re.search(r'href="(/operations\?[^"]*sort=calls[^"]*)"', html)
    assert link
    down = client.get(unescape(link[1])).text
    assert _column(down, 1) == sorted(_column(html, 1), reverse=True)
    assert 'aria-sort="descending"' in down
    link = re.search(r'href="(/operations\?[^"]*sort=calls[^"]*)"', down)
    assert link
    up = client.get(unescape(link[1])).text
    assert _column(up, 1) == sorted(_column(html, 1))
    assert 'aria-sort="ascending"' in up


def test_an_operation_leads_to_its_traces(client: TestClient) -> None:
    """The calls link to a search for the operation, the errors to one for those that failed, the name to its page."""
    html = client.get("/operations?service=payments&lookback=24h").text
    assert _operations(html) == ["payments charge"]
    for extra, number in (("", _column(html, 1)[0]), ("&amp;errors=1", _column(html, 2)[0])):
        address = f"/?service=payments&amp;operation=%22charge%22&amp;kind=consumer&amp;lookback=24h{extra}"
        assert f'href="{address}"' in html
        found = client.get(f"{unescape(address)}&limit=100").text
        assert found.count('<li class="trace') == number > 0
    address = "/operation?service=payments&amp;operation=charge&amp;kind=consumer&amp;system=none&amp;lookback=24h"
    assert f'href="{address}"' in html
    assert f"<dt>Calls</dt><dd>{_column(html, 1)[0]} " in client.get(unescape(address)).text


@pytest.mark.parametrize("query", ["?sort=nothing", "?order=odd", "?lookback=3y", "?service=nobody", "?sort=__class__"])
def test_an_odd_address_still_shows_operations(client: TestClient, query: str) -> None:
    """What an address says that does not exist is no reason to fail."""
    assert client.get(f"/operations{query}").status_code == 200


# -- status -------------------------------------------------------------------------------------------------------


def test_the_status_tells_what_is_kept_and_what_was_lost(client: TestClient) -> None:
    """Volume, disk, oldest day, retention, requests, queue, losses and wrong clocks are on the page."""
    html = client.get("/status").text
    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))
    for part in (
        "2026-11-01",
        "kept for 30 days",
        "of 5.0 GB",
        "http busy 12",
        "Size of what waits 18 kB",
        "not valid 96",
        "before the days that are kept: a wrong clock 31",
        "over an hour from now: a wrong clock 17",
    ):
        assert part in text
    assert html.count('class="bar"') == 23
    assert [int(each) for each in re.findall(r'<td class="number error-text">(\d+)</td>', html)] == [96, 31, 17]
    assert 'role="alert"' not in html


def test_the_status_tells_what_is_wrong() -> None:
    """Damaged files and a sampling file that cannot be used come first, markup in them as text."""
    document = status_document(days=0, sampling={"file": "s.json", "error": "line 3: <b>", "warnings": ["line 4: odd"]})
    document["store"].update(damaged=[{"file": "traces-20261101.db", "reason": "<script>"}], max_bytes=None, bytes=0)
    document["writer"].update(last_error="no space <b>", last_error_time=NOON / 1e9, excess_bytes=5 * 10**6)
    document["not_ready"] = "the disk is <full>"
    html = TestClient(site(MemoryReader(), status=document)).get("/status").text
    assert html.count('role="alert"') == 5
    for part in (
        "1 damaged file",
        "traces-20261101.db",
        "&lt;script&gt;",
        "line 3: &lt;b&gt;",
        "line 4: odd",
        "no space &lt;b&gt;",
        "2026-11-22 12:00:00",
        "5.0 MB",
        "the disk is &lt;full&gt;",
    ):
        assert part in html
    assert "without a limit" in html
    assert "Nothing was received yet" in html


def test_the_status_tells_what_the_size_has_cost() -> None:
    """Days that the size's limit has cost before their time are told with what to do."""
    document = status_document()
    document["writer"].update(lost_seconds=3 * 86400, early_days=3)
    html = TestClient(site(MemoryReader(), status=document)).get("/status").text
    assert "the limit of 5.0 GB has cost 3 days before their time" in html
    assert '<td class="number error-text">3</td>' in html


# -- how things are written ---------------------------------------------------------------------------------------


def test_services_keep_their_colour() -> None:
    """A service has the same colour whatever others there are; many share all that there are evenly."""
    names = [f"service-{number}" for number in range(400)]
    alone = {name: colours([name])[name] for name in names}
    assert colours(names) == colours(reversed(names)) == alone
    assert set(alone.values()) == set(range(32))
    assert max(Counter(alone.values()).values()) <= 3 * len(names) / 32


def test_each_colour_of_services_has_its_class() -> None:
    """What the number of a service names is in the style sheet, and no two are the same."""
    css = (STATIC / "base.css").read_text()
    values = [re.search(rf"--s{number}: (.+);", css) for number in range(32)]
    assert len({value[1] for value in values if value}) == 32
    assert all(f".s{number} {{ --service: var(--s{number}); }}" in css for number in range(32))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (utc(NOON), "2026-11-22 12:00:00"),
        (utc(2**64 - 1, "%Y"), "2554"),
        (age(NOON - 5 * SECOND, NOON), "5 s ago"),
        (age(NOON - 90 * SECOND, NOON), "1 min ago"),
        (age(NOON - 50 * HOUR, NOON), "2 d ago"),
        (age(NOON, NOON), "just now"),
        (age(NOON + SECOND, NOON), "in the future"),
        (share(0.0), "0 %"),
        (share(0.0002), "< 0.1 %"),
        (share(0.0123), "1.2 %"),
        (share(0.5), "50 %"),
        (size(999), "999 B"),
        (size(1500), "1.5 kB"),
        (size(84_000_000), "84 MB"),
        (size(3e15), "3000.0 TB"),
    ],
)
def test_quantities_are_written_for_people(written: str, expected: str) -> None:
    """Times, ages, shares and sizes have a unit and few digits."""
    assert written == expected


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_what_is_behind_them(theme: int) -> None:
    """Text has the contrast that WCAG 2.2 AA asks of text (4.5), services that of graphics (3), in both themes."""
    css = (STATIC / "base.css").read_text()
    found = re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", css)
    token = {name: themes[theme] for name, *themes in found}
    grounds = [token[name] for name in ("bg", "surface", "surface-2")]
    for name in ("text", "muted", "accent", "error", "warn", "ok"):
        assert min(_contrast(token[name], ground) for ground in grounds) >= 4.5, name
    assert _contrast(token["accent-text"], token["accent"]) >= 4.5
    for name in (*(f"s{number}" for number in range(32)), "focus"):
        assert min(_contrast(token[name], ground) for ground in grounds) >= 3, name
