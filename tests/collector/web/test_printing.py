"""Every page on paper: its content alone, dark on light, within the sheet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.collector.web.browser import screenshot
from tests.collector.web.every_page import PAGES, every_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

pytestmark = pytest.mark.long

_SHEET = 718
"""The width of A4 without its margins, in CSS pixels."""

_OUTSIDE = """() => [...document.querySelectorAll("main *")]
  .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => `${each.tagName}.${each.className?.baseVal ?? each.className}`)"""
_LIGHT_TEXT = """() => [...document.querySelectorAll("main *")].filter((each) => {
  const says = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (!each.checkVisibility() || !says) return false;
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = getComputedStyle(each).color;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
  return 0.3 * red + 0.6 * green + 0.1 * blue > 150 && !each.closest(".primary, button, option, select");
}).map((each) => each.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith("trace")])
def test_a_page_can_be_printed(open_page: OpenPage, serve: Callable[[ASGIApp], str], name: str) -> None:
    """Also of somebody who looks at it in the dark: light paper, no navigation and forms, nothing beyond the edge."""
    page = open_page(serve(every_page()) + PAGES[name], theme="dark", width=_SHEET, expected=("404", "400"))
    page.emulate_media(media="print")
    screenshot(page, f"print-{name}")
    assert page.is_hidden(".top")
    assert page.is_visible("main")
    assert page.evaluate(_LIGHT_TEXT) == []
    assert page.evaluate(_OUTSIDE) == []
