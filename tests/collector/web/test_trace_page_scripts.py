"""What scripts add to the page of a trace: keys, clicks, finding while typing, menus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_causes import CAUSES, causes
from tests.collector.web.sample_traces import Builder
from tests.collector.web.trace_site import (
    FAILED,
    SELECT,
    SHOP,
    application,
    current,
    follow,
    parameter,
    parameter_of,
    visible,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


def test_clicking_opens_and_closes_details(base: str, open_page: OpenPage) -> None:
    """Details are fetched into the page by a click on the name or the bar, and the address says so."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.click(f"#s-{SELECT} .op")
    page.wait_for_selector(f"#s-{SELECT} + .details .pairs")
    assert parameter(page, "span") == SELECT
    details = page.locator(".details")
    assert "postgresql" in details.inner_text()
    details.locator(".long summary").click()
    assert details.locator(".long[open] pre").count() == 1
    page.click(f"#s-{FAILED} .time")
    page.wait_for_selector(f"#s-{FAILED} + .details .events")
    assert "TimeoutError" in page.inner_text(f"#s-{FAILED} + .details")
    assert parameter(page, "span") == f"{SELECT},{FAILED}"
    page.click(f"#s-{SELECT} .op")
    assert parameter(page, "span") == FAILED
    page.reload()
    assert page.locator(".details").count() == 1
    assert current(page) == FAILED


def test_a_click_anywhere_on_a_finding_leads_to_its_span(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """A finding is one chip: its text leads where its first link does, and each other link to its own span."""
    page = open_page(f"{serve(application(MemoryReader([causes()])))}/trace/{CAUSES}")
    finding = page.locator("#why .findings li").first
    span_id = finding.locator("a[data-span]").first.get_attribute("data-span")
    finding.click(position={"x": 12, "y": 8})
    page.wait_for_selector(f"#s-{span_id} + .details")
    assert parameter(page, "span") == span_id


def test_keys_move_open_and_collapse(base: str, open_page: OpenPage) -> None:
    """The waterfall can be used by the keyboard alone."""
    page = open_page(f"{base}/trace/{SHOP}")
    press = page.keyboard.press
    press("j")
    assert current(page) == Builder.id(2)
    press("ArrowDown")
    press("k")
    press("ArrowUp")
    assert current(page) == Builder.id(1)
    press("j")
    press("ArrowLeft")
    assert parameter(page, "collapsed") == Builder.id(2)
    assert visible(page) == 21
    press("j")
    assert current(page) == Builder.id(5)
    press("k")
    press("ArrowRight")
    assert parameter(page, "collapsed") is None
    press("l")
    assert current(page) == Builder.id(3)
    press("h")
    assert current(page) == Builder.id(2)
    for key in ("Enter", "Space", "o"):
        press(key)
        page.wait_for_selector(f"#s-{Builder.id(2)} + .details .facts")
        press(key)
        page.wait_for_selector(".details", state="detached")
    press("w")
    assert visible(page) == 2
    press("e")
    assert visible(page) == 23
    press("x")
    assert parameter(page, "critical") == "answer"
    press("?")
    assert page.locator("#help .keys dt").count() > 12
    assert "Next error" in page.inner_text("#help")


def test_the_focused_row_is_the_only_stop_and_is_seen(base: str, open_page: OpenPage) -> None:
    """Tab enters the waterfall once, at the current row, which has an outline."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.keyboard.press("j")
    assert page.locator(".row [tabindex='0']").count() == 1
    assert page.evaluate("getComputedStyle(document.querySelector('.row.current')).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.row') === null")


def test_error_keys_go_round_and_expand(base: str, open_page: OpenPage) -> None:
    """The keys n and p go to the next and previous failed span, though it is in a collapsed one."""
    page = open_page(f"{base}/trace/{SHOP}?collapsed=all")
    assert visible(page) == 2
    page.keyboard.press("n")
    assert current(page) == FAILED
    assert page.locator(f"#s-{FAILED}:visible").count() == 1
    page.keyboard.press("Home")
    page.keyboard.press("p")
    assert current(page) == FAILED
    page.click("#error-next")
    page.click("#error-previous")
    assert current(page) == FAILED


def test_find_counts_and_steps_while_typing(base: str, open_page: OpenPage) -> None:
    """What is found is counted and marked as it is typed; Enter and the arrows go through it; the address has it."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.keyboard.press("f")
    page.keyboard.type("update stock")
    # "update sto" is found as often: the last letters may still be on their way.
    page.wait_for_function("() => new URL(location.href).searchParams.get('find') === 'update stock'")
    page.wait_for_function("() => document.getElementById('find-count').textContent === '4 found'")
    assert page.locator(".row.hit").count() == 4
    page.keyboard.press("Enter")
    assert page.inner_text("#find-count") == "1 of 4"
    page.keyboard.press("Shift+Enter")
    assert page.inner_text("#find-count") == "4 of 4"
    page.click("#find-next")
    assert page.inner_text("#find-count") == "1 of 4"
    page.click("#find-previous")
    assert current(page) == Builder.id(12)
    page.reload()
    assert page.locator(".row.hit").count() == 4
    page.keyboard.press("/")
    page.keyboard.press("Control+A")
    page.keyboard.type("nothing has this")
    page.wait_for_function("() => document.getElementById('find-count').textContent === 'none'")
    assert page.locator(".row.hit").count() == 0


@pytest.mark.parametrize("javascript", [True, False])
def test_the_critical_path_leads_to_the_answer_or_to_the_end(
    serve: Callable[[ASGIApp], str], open_page: OpenPage, javascript: bool
) -> None:
    """A switch tells the answer from the end of all work where that is later, and keeps what it says."""
    trace = Builder(SHOP)
    trace.add("web", "GET /", None, 0, 10, "server")
    trace.add("web", "task", 1, 5, 45)
    page = open_page(f"{serve(application(MemoryReader([trace.message])))}/trace/{SHOP}", javascript=javascript)
    assert page.locator(".path:visible").count() == 0
    assert page.locator("#until:visible").count() == 0
    page.click("#critical")
    page.wait_for_selector("#until:visible")
    assert (parameter_of(page.url, "critical"), page.locator(".on-path").count()) == ("answer", 1)
    follow(page, "#until >> text=to the end")
    assert (parameter_of(page.url, "critical"), page.locator(".on-path").count()) == ("end", 2)
    assert page.inner_text("#until [aria-current]") == "to the end"
    assert page.locator(".path:visible").count() == 2
    if javascript:
        page.keyboard.press("x")
        assert (parameter(page, "critical"), page.locator(".path:visible").count()) == (None, 0)
        page.keyboard.press("x")
        assert (parameter(page, "critical"), page.locator(".path:visible").count()) == ("end", 2)


def test_buttons_and_menus_act(base: str, open_page: OpenPage) -> None:
    """Collapse, expand, critical path, legend and minimap do what they say."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.click("#collapse-all")
    assert (visible(page), parameter(page, "collapsed")) == (2, "all")
    page.click(f"#s-{Builder.id(22)} .fold")
    assert (visible(page), parameter(page, "collapsed")) == (3, f"all,-{Builder.id(22)}")
    page.reload()
    assert visible(page) == 3
    page.click("#expand-all")
    assert (visible(page), parameter(page, "collapsed")) == (23, None)
    page.click("#critical")
    assert page.get_attribute("#critical", "aria-pressed") == "true"
    assert page.locator(".path:visible").count() > 10
    page.click(".legend summary")
    assert "waiting for a connection" in page.inner_text(".legend")
    page.click(".legend summary")
    page.click("#minimap", position={"x": 200, "y": 3})
    assert current(page) == Builder.id(1)
    page.click("#minimap", position={"x": 200, "y": 52})
    assert int(current(page), 16) > 19


def test_the_id_is_copied(base: str, open_page: OpenPage) -> None:
    """The key c and the buttons put ids on the clipboard."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("c")
    page.wait_for_selector("#copy-trace.copied")
    assert page.evaluate("navigator.clipboard.readText()") == SHOP
    page.click(f".details .copy[data-copy='{SELECT}']")
    page.wait_for_selector(".details .copied")
    assert page.evaluate("navigator.clipboard.readText()") == SELECT


def test_links_lead_to_spans_here_and_elsewhere(base: str, open_page: OpenPage) -> None:
    """A detached span and its origin link to each other, a link to another trace opens that."""
    page = open_page(f"{base}/trace/{SHOP}?span={Builder.id(22)}", expected=("404",))
    page.click(".details >> text=gateway POST /checkout")
    page.wait_for_selector(f"#s-{Builder.id(1)} + .details .relations")
    assert current(page) == Builder.id(1)
    page.click(f"#s-{Builder.id(1)} + .details a:has-text('warm the cache')")
    assert current(page) == Builder.id(22)
    page.click(f"#s-{Builder.id(22)} + .details a:has-text('abab')")
    page.wait_for_url(f"**/trace/{'ab' * 16}?span={'cd' * 8}*")
    assert "No spans of this trace" in page.inner_text("main")


def test_a_parent_is_a_link(base: str, open_page: OpenPage) -> None:
    """The details of a span lead to its parent's."""
    page = open_page(f"{base}/trace/{SHOP}?span={SELECT}")
    page.click(f".details a[data-span='{Builder.id(6)}']")
    page.wait_for_selector(f"#s-{Builder.id(6)} + .details .facts")
    assert current(page) == Builder.id(6)
