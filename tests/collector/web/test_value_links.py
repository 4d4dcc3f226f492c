"""Values of a span's details can be copied, searched for and excluded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from causal_otel.collector.expressions import Compare, Not
from causal_otel.collector.query_line import parse
from causal_otel.collector.web.value_links import value_links
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import ATTACK, attack, shop
from tests.collector.web.trace_site import ATTACKED, SELECT, SHOP, application

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


@given(st.text(min_size=1, max_size=20), st.text(max_size=40))
@example("user.id", "42")
@example("name", "or")
@example("q", 'say "hi" \\ bye*')
def test_the_links_are_read_as_what_they_say(key: str, value: str) -> None:
    """Whatever key and value are, the searches are for spans with this value, and for those without it."""
    is_it = Compare(key, "=", value)
    links = value_links(key, value)
    for link, wanted in ((links.search, is_it), (links.exclude, Not(is_it))):
        (query,) = parse_qs(urlsplit(link).query)["q"]
        assert parse(query).where == wanted


def test_long_values_cannot_be_searched_for() -> None:
    """They are in no index, and would make addresses that no server takes."""
    assert value_links("key", "x" * 1000) == ("", "")


def test_a_value_can_be_copied_searched_for_and_excluded(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """A menu beside each value has the three; without scripts it has the two links."""
    base = serve(application(MemoryReader([shop()])))
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    row = page.locator(".details tr:has(th:text-is('db.namespace'))")
    row.locator(".value-menu summary").click()
    row.locator("button.copy").click()
    page.wait_for_selector(".value-menu .copied")
    assert page.evaluate("navigator.clipboard.readText()") == "shop"
    links = row.locator(".value-menu a").evaluate_all("all => all.map((each) => each.getAttribute('href'))")
    assert links == ["/?q=db.namespace%3Dshop", "/?q=%21db.namespace%3Dshop"]
    plain = open_page(f"{base}/trace/{SHOP}?span={SELECT}", javascript=False)
    row = plain.locator(".details tr:has(th:text-is('db.namespace'))")
    row.locator(".value-menu summary").click()
    assert row.locator(".value-menu a:visible").count() == 2
    assert row.locator(".value-menu button:visible").count() == 0


def test_scripts_in_values_are_inert() -> None:
    """Keys and values in the menus, their buttons and their addresses are escaped."""
    text = TestClient(application(MemoryReader([attack()]))).get(f"/trace/{ATTACKED}?span={'0' * 15}2").text
    assert "value-menu" in text
    assert ATTACK not in text
    assert "<img" not in text
    assert 'href="javascript' not in text
