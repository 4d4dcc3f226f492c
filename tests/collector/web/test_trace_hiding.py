"""Hiding a service, a kind, or short spans: what is below them moves up, and how many are hidden is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from causal_otel.collector.analysis import build
from causal_otel.collector.web.narrowing import Narrowing, narrowed
from causal_otel.collector.web.page_state import PageState
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import Builder, large, shop
from tests.collector.web.trace_site import FAILED, SHOP, application, parameter_of, visible

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


@pytest.fixture
def base(serve: Callable[[ASGIApp], str]) -> str:
    """Where a browser finds the page of the trace."""
    return serve(application(MemoryReader([shop()])))


@pytest.mark.parametrize(
    "narrowing",
    [
        Narrowing(services=("service-1", "service-2")),
        Narrowing(kinds=("client",)),
        Narrowing(shortest="40ms"),
        Narrowing(only=(("operation", "operation 7"), ("kind", "client"))),
        Narrowing(services=("service-0",), kinds=("server",), shortest="1ms"),
    ],
)
def test_what_is_hidden_takes_nothing_with_it(narrowing: Narrowing) -> None:
    """Every span that is not hidden is below the nearest one above it that is not, in the trace's order."""
    view = build(large(400))
    left = narrowed(view, narrowing, None)

    def hidden(index: int) -> bool:
        span = view.spans[index]
        return (
            span.service in narrowing.services
            or span.kind in narrowing.kinds
            or (bool(narrowing.shortest) and span.duration < int(narrowing.shortest[:-2]) * 1_000_000)
            or any({"operation": span.name, "kind": span.kind}[key] != value for key, value in narrowing.only)
        )

    assert left.hidden == sum(hidden(span.index) for span in view.spans)
    expected: dict[int, list[int]] = {}
    for span in view.spans:
        over = span.parent
        while over is not None and hidden(over.index):
            over = over.parent
        if not hidden(span.index):
            expected.setdefault(-1 if over is None else over.index, []).append(span.index)
    assert left.children == expected


def test_an_address_says_what_is_hidden() -> None:
    """Services are parameters of their own, since their names may have commas; what makes no sense is left out."""
    state = PageState(narrowing=Narrowing(("a,b", "c"), ("client",), "1.5ms", (("service", "x"), ("system", ""))))
    fields = list(state.fields())
    assert urlencode(fields).count("hide=") == 2

    class Parameters(dict[str, str]):
        def getlist(self, name: str) -> list[str]:
            return [value for key, value in fields if key == name]

    assert PageState.parse(Parameters(fields)) == state
    nonsense = PageState.parse({"hide-kind": "nothing,server", "shortest": "soon", "hide": "x"}).narrowing
    assert nonsense == Narrowing(kinds=("server",))


@pytest.mark.parametrize("javascript", [True, pytest.param(False, marks=pytest.mark.long)])
def test_services_kinds_and_short_spans_are_hidden(base: str, open_page: OpenPage, javascript: bool) -> None:
    """The menu's links hide and show, its form hides what is short; a line says how many are hidden, and shows all."""
    view = build(shop())
    page = open_page(f"{base}/trace/{SHOP}", javascript=javascript)
    page.click(".show summary")
    page.click(".show a.service:has-text('orders')")
    page.wait_for_selector(".narrowed")
    gone = sum(span.service == "orders" for span in view.spans)
    assert f"{gone} spans are hidden: orders." in page.inner_text(".narrowed")
    assert visible(page) == 23 - gone
    level = page.locator(f"#s-{FAILED}").get_attribute("aria-level")
    assert level == "4", "what was below the service's spans has moved up"
    page.click(".show summary")
    page.click(".show a:has-text('client')")
    page.wait_for_selector(".narrowed:has-text('client')")
    gone = sum(span.service == "orders" or span.kind == "client" for span in view.spans)
    assert visible(page) == 23 - gone
    page.click(".show summary")
    page.fill("#shortest [name=shortest]", "30ms")
    page.keyboard.press("Enter")
    page.wait_for_selector(".narrowed:has-text('shorter than 30ms')")
    short = sum(s.service == "orders" or s.kind == "client" or s.duration < 30_000_000 for s in view.spans)
    assert visible(page) == 23 - short
    assert parameter_of(page.url, "hide") == "orders"
    page.click(".show summary")
    page.click(".show a.off:has-text('orders')")
    page.wait_for_function("() => !new URL(location.href).searchParams.has('hide')")
    page.click(".narrowed >> text=Show all")
    page.wait_for_selector(".narrowed", state="detached")
    assert visible(page) == 23


def test_what_is_open_is_shown_in_any_case(base: str, open_page: OpenPage) -> None:
    """An error that is stepped to has its row though its service is hidden."""
    page = open_page(f"{base}/trace/{SHOP}?hide=payments")
    assert page.locator(f"#s-{FAILED}").count() == 0
    page.click("#error-next")
    page.wait_for_selector(f"#s-{FAILED} + .details")
    assert page.locator(".row").count() > 10


def test_nothing_may_be_left(base: str, open_page: OpenPage) -> None:
    """A page on which everything is hidden is a page, from which all is shown again."""
    page = open_page(f"{base}/trace/{SHOP}?shortest=1h")
    assert page.locator(".row").count() == 0
    for key in ("j", "k", "o", "h", "l", "n", "e", "w", "x"):
        page.keyboard.press(key)
    page.wait_for_selector(f"#s-{FAILED}", timeout=60_000)  # the key n
    page.click(".narrowed >> text=Show all")
    page.wait_for_selector(f"#s-{Builder.id(1)}")
