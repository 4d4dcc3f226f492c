"""Values of a span's details can be copied, searched for and excluded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from causal_otel.collector.web.value_links import condition, value_links
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import ATTACK, attack, shop
from tests.collector.web.trace_site import ATTACKED, SELECT, SHOP, application

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        ("user.id", "42", "user.id=42"),
        ("http.route", "/orders/{id}", 'http.route="/orders/{id}"'),
        ("a b", "c", '"a b"=c'),
        ("q", 'say "hi" \\ bye', 'q="say \\"hi\\" \\\\ bye"'),
        ("q", "", 'q=""'),
        ("q", "*", 'q="*"'),
        ("q", "or", 'q="or"'),
        ("q", ">5", 'q=">5"'),
    ],
)
def test_a_condition_is_written_as_it_is_read(key: str, value: str, written: str) -> None:
    """What is no plain word is in quotes, within which quotes and backslashes are escaped."""
    assert condition(key, value) == written
    assert condition(key, value, unlike=True) == written.replace("=", "!=", 1)


@given(st.text(min_size=1, max_size=20), st.text(max_size=40))
def test_what_is_quoted_can_be_read_back(key: str, value: str) -> None:
    """Of a quoted text nothing is lost, whatever is in it."""

    def read(text: str) -> tuple[str, str]:
        if not text.startswith('"'):
            end = next((at for at, letter in enumerate(text) if letter in "!="), len(text))
            return text[:end], text[end:]
        found, at = "", 1
        while text[at] != '"':
            at += text[at] == "\\"
            found += text[at]
            at += 1
        return found, text[at + 1 :]

    first, rest = read(condition(key, value))
    assert (first, rest[:1]) == (key, "=")
    assert value == (read(rest[1:])[0] if rest[1:].startswith('"') else rest[1:])
    (query,) = parse_qs(urlsplit(value_links(key, value).search).query)["q"]
    assert query == condition(key, value)


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
    assert links == ["/?q=db.namespace%3Dshop", "/?q=db.namespace%21%3Dshop"]
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
