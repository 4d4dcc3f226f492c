"""The help for the keyboard: one table, on each page and as a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from causal_otel.collector.web.keyboard import SECTIONS, keys_of
from tests.collector.web.every_page import PAGES, every_page

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_ALIASES = {"ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight", "Enter", " "}
"""What the help tells beside another key."""


def listed(page: Page) -> dict[str, str]:
    """What the open dialog says."""
    rows = page.locator("dialog[open] [data-key]:visible").all()
    return {row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in rows}


@pytest.mark.parametrize("name", ["search", "live", "trace", "operations", "compare", "map", "operation", "keys"])
@pytest.mark.long
def test_the_help_lists_the_keys_of_the_page(open_page: OpenPage, serve: Callable[[ASGIApp], str], name: str) -> None:
    """`?` opens it; it has every key that does something there, none that does not, in the words of the table."""
    page = open_page(serve(every_page()) + PAGES[name])
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    said = listed(page)
    bound = page.evaluate("import('/static/keys.js').then((keys) => keys.bound())")
    assert set(said) - _ALIASES == set(bound) - _ALIASES
    assert said == {key: does for key, does in keys_of(PAGES[name].partition("?")[0]) if key in said}
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    page.click("#help-open")
    page.wait_for_selector("dialog[open]")
    assert page.url.endswith(PAGES[name])


def test_the_help_has_the_keys_of_the_heat_map_where_there_is_one(
    open_page: OpenPage, serve: Callable[[ASGIApp], str]
) -> None:
    """All of its section on a search with matches; none on one without, or where nothing can be chosen."""
    (section,) = (each for each in SECTIONS if "heat map" in each.name)
    base = serve(every_page())
    for name, there in (("search", True), ("search-nothing", False), ("live", False)):
        page = open_page(base + PAGES[name])
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        said = listed(page)
        assert {key for key in section.keys if said.get(key.key) == key.does} == (set(section.keys) if there else set())


def test_without_scripts_the_help_is_a_page(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """Each page has a link to all keys, by the pages that they are for."""
    page = open_page(serve(every_page()) + PAGES["map"], javascript=False)
    with page.expect_navigation():
        page.click("#help-open")
    assert page.url.endswith("/keys")
    text = page.inner_text("main")
    assert all(section.name in text and all(key.does in text for key in section.keys) for section in SECTIONS)


def test_each_key_does_one_thing_on_a_page() -> None:
    """No page has two meanings for one key."""
    for path in ("/", "/live", "/trace/1", "/operations", "/map"):
        keys = [each.key for each in keys_of(path)]
        assert len(keys) == len(set(keys))
