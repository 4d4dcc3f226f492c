"""Whom the pages keep out: axe-core looks at every page, in both themes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.collector.web.every_page import PAGES, SHOP, every_page
from tests.collector.web.sample_traces import Builder

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

pytestmark = pytest.mark.long

FAULTS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, help, nodes }) => nodes.slice(0, 5).map(({ html, any }) =>
      `${id}: ${help}: ${html.slice(0, 160)} ${any.map(({ message }) => message).join("; ")}`));
}"""
"""What is serious or critical of what axe finds, with where it is."""


@pytest.fixture(scope="module")
def axe() -> str:
    """What `make test-long` has unpacked from npm; only CI insists on it."""
    script = Path(sys.prefix) / "axe-core" / "axe.min.js"
    if not script.exists():
        reason = "no test of whom the pages keep out: there is no axe-core (make test-long gets it where npm is)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return script.read_text()


def faults(page: Page, axe: str) -> list[str]:
    """What axe finds on the page as it is now."""
    # Not a script of the page: its policy allows none but its own.
    page.evaluate(axe)
    found: list[str] = page.evaluate(FAULTS)
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_nobody_out(
    open_page: OpenPage, serve: Callable[[ASGIApp], str], axe: str, name: str, theme: Literal["light", "dark"]
) -> None:
    """Nothing serious or critical is found: contrasts, names of controls, headings, tables, landmarks."""
    page = open_page(serve(every_page()) + PAGES[name], theme=theme, expected=("404", "400"))
    assert faults(page, axe) == []


@pytest.mark.parametrize("name", ["search", "live", "operations", "map", "compare-choose"])
def test_an_empty_page_keeps_nobody_out(
    open_page: OpenPage, serve: Callable[[ASGIApp], str], axe: str, name: str
) -> None:
    """Likewise while nothing has been received."""
    page = open_page(serve(every_page(empty=True)) + PAGES[name].partition("?")[0])
    assert faults(page, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_opens_keeps_nobody_out(
    open_page: OpenPage, serve: Callable[[ASGIApp], str], axe: str, theme: Literal["light", "dark"]
) -> None:
    """Likewise the help for the keyboard, what is said of the collector, and a page as narrow as a phone."""
    url = serve(every_page(troubled=True))
    page = open_page(f"{url}/trace/{SHOP}?span={Builder.id(7)}", theme=theme, width=390)
    assert page.is_visible(".troubles")
    assert faults(page, axe) == []
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    assert faults(page, axe) == []


def test_axe_finds_faults(open_page: OpenPage, serve: Callable[[ASGIApp], str], axe: str) -> None:
    """A field without a name is found: the other tests can fail."""
    page = open_page(serve(every_page()) + "/status")
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert [each.partition(":")[0] for each in faults(page, axe)] == ["label"]
