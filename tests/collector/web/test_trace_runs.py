"""Runs on the page of a trace: opened by links or in place, found in, and what makes 50,000 spans a short page."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.web.layout import PAGE
from tests.collector.oracle import MemoryReader
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import ATTACK, Builder, loops
from tests.collector.web.trace_site import ATTACKED, SHOP, application, current, parameter, parameter_of
from tests.slow_machine import assert_below

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_COUNT = 700
_FAILED = 600


def _many(count: int = _COUNT) -> Builder:
    """A request that issues one statement again and again, and a run of jobs that have things below them."""
    b = Builder(SHOP)
    b.add("web", "GET /orders", None, 0, 3 * count + 400, "server")
    for number in range(count):
        b.add("web", "SELECT items", 1, 3 * number, 2, "client", db__system__name="postgresql",
              db__query__text="SELECT * FROM items WHERE id = $1", row=f"n{number}",
              error="gone" if number + 2 == _FAILED else None)  # fmt: skip
    for number in range(6):
        b.add("web", "job", 1, 3 * count + 50 * number, 40)
        b.add("web", "step", b.count, 3 * count + 50 * number, 20, error="late" if number == 4 else None)
    return b


@pytest.fixture(scope="module")
def app() -> ASGIApp:
    """The pages over that trace."""
    return application(MemoryReader([_many().message]))


def test_the_row_says_what_the_members_were(base: str, open_page: OpenPage) -> None:
    """Count, total, median, longest, errors, N+1 and the critical path are in the row, with links to the spans."""
    page = open_page(f"{base}/trace/{SHOP}")
    assert page.locator(".row.run").count() == 2
    row = page.locator(".row.run").first
    said = row.inner_text()
    assert f"{_COUNT}×" in said
    assert "postgresql:" in said
    assert "SELECT items" in said
    assert "p50 2 ms, max 2 ms" in said
    assert row.locator(".took").inner_text() == "1.4 s"
    assert row.locator(".flag.error").inner_text() == "1 error"
    assert "1 below" in page.locator(".row.run").nth(1).inner_text()
    assert page.locator(".row").count() < 15
    finding = str(row.locator(".n-plus-one").get_attribute("href"))
    assert "N+1" in page.inner_text(finding)
    page.evaluate("() => { window.before = document.getElementById('waterfall'); }")
    row.locator(".n-plus-one").click()
    assert page.evaluate("[location.hash, window.before.isConnected]") == [finding, True]
    page.go_back()
    assert page.evaluate("[location.hash, window.before.isConnected]") == ["", True]
    screenshot(page, "trace-runs")


@pytest.mark.parametrize("javascript", [True, False])
def test_it_opens_page_by_page_and_closes(base: str, open_page: OpenPage, javascript: bool) -> None:
    """A click shows the first members, links the others, another click closes it; the address has it all."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=javascript)
    run = f"#r-{Builder.id(2)}"
    page.click(f"{run} .fold")
    page.wait_for_selector(f"{run}[aria-expanded=true]")
    assert parameter_of(page.url, "runs") == Builder.id(2)
    assert page.locator(f"#s-{Builder.id(3)}").count() == 1
    page.reload()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")  # it becomes an element when it is near
    page.click(f".more:has-text('{_COUNT - PAGE} more') .op")
    page.wait_for_selector(f".more:has-text('{PAGE} before')")
    assert page.locator(f"#s-{Builder.id(3)}").count() == 0
    page.click(f"{run} .fold")
    page.wait_for_selector(f"{run}[aria-expanded=false]")
    assert parameter_of(page.url, "runs") is None
    page.go_back()
    page.wait_for_selector(f"{run}[aria-expanded=true]")
    assert page.locator(f".more:has-text('{PAGE} before')").count() == 1


@pytest.mark.parametrize("javascript", [True, False])
def test_errors_inside_are_reached(base: str, open_page: OpenPage, javascript: bool) -> None:
    """The step to the next error opens the run that it is in, at its page, and what is below a member of another."""
    page = open_page(f"{base}/trace/{SHOP}", javascript=javascript)
    page.click("#error-next")
    page.wait_for_selector(f"#s-{Builder.id(_FAILED)} + .details")
    assert "gone" in page.inner_text(".details")
    page.click("#error-next")
    page.wait_for_selector(".details:has-text('late')")
    assert parameter_of(page.url, "span") is not None
    page.click(".row.run .flag.error >> text='1 error'")
    page.wait_for_selector(f"#s-{Builder.id(_FAILED)} + .details")


def test_what_is_found_inside_is_reached(base: str, open_page: OpenPage) -> None:
    """A run with hits is marked; Enter opens it at the hit, and goes on from there."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.fill("#find input[name=find]", "row=n69")
    page.wait_for_function("() => document.getElementById('find-count').textContent === '11 found'")
    assert page.locator(f"#r-{Builder.id(2)}.hit").count() == 1
    page.focus("#find input[name=find]")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#s-{Builder.id(71)}.hit")
    assert current(page) == Builder.id(71)
    page.click("#find-next")
    page.wait_for_selector(f"#s-{Builder.id(692)}.hit")
    assert page.inner_text("#find-count") == "2 of 11"
    page.click("#find-next")
    assert current(page) == Builder.id(693)
    assert page.inner_text("#find-count") == "3 of 11"


def test_keys_open_and_close_runs(base: str, open_page: OpenPage) -> None:
    """A run is a row to the arrow keys: right opens it, left closes it, and so does Enter."""
    page = open_page(f"{base}/trace/{SHOP}")
    run = f"#r-{Builder.id(2)}"
    page.keyboard.press("j")
    page.wait_for_selector(f"{run}.current")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f"{run}.current[aria-expanded=true]")
    page.keyboard.press("ArrowRight")
    assert current(page) == Builder.id(2)
    page.keyboard.press("o")
    page.wait_for_selector(f"#s-{Builder.id(2)} + .details .facts")
    page.keyboard.press("h")
    page.wait_for_selector(f"{run}.current")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(f"{run}.current[aria-expanded=false]")
    assert parameter(page, "span") is None, "the details of its members are closed with it"
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{run}.current[aria-expanded=true]")


def test_a_link_keeps_what_was_changed_since(base: str, open_page: OpenPage) -> None:
    """What scripts have opened and marked is still there when a run is opened in place."""
    page = open_page(f"{base}/trace/{SHOP}")
    page.keyboard.press("x")
    page.keyboard.press("o")
    page.wait_for_selector(f"#s-{Builder.id(1)} + .details .facts")
    page.click(f"#r-{Builder.id(2)} .op")
    page.wait_for_selector(f"#r-{Builder.id(2)}[aria-expanded=true]")
    assert page.locator(f"#s-{Builder.id(1)} + .details").count() == 1
    assert (parameter(page, "critical"), parameter(page, "span")) == ("answer", Builder.id(1))


def test_scripts_in_runs_are_inert(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Names in the rows of runs, and in the links of theirs, are text."""
    b = Builder(ATTACKED)
    b.add(ATTACK, ATTACK, None, 0, 100, "server")
    for number in range(8):
        b.add(ATTACK, ATTACK, 1, number, 1, "client", error=ATTACK, db__system__name=ATTACK)
    page = open_page(f"{serve(application(MemoryReader([b.message])))}/trace/{ATTACKED}")
    page.click(".row.run .fold")
    page.wait_for_selector(".row.run[aria-expanded=true]")
    assert page.locator(".row b").first.inner_text() == ATTACK
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('main img, main [onload]').length") == 0
    assert page.evaluate("[...document.links].every(link => link.href.startsWith(location.origin + '/'))")


def test_a_large_trace_is_a_short_page(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """A row stands for a thousand spans: the page is small, can be used at once, and is explained a little later."""
    app = application(MemoryReader([loops(6000)]))
    text = TestClient(app).get(f"/trace/{SHOP}").text
    assert len(gzip.compress(text.encode())) < 50_000
    assert len(re.findall(r'role="row" aria-level', text)) < 30
    assert 'id="explain"' in text
    page = open_page(f"{serve(app)}/trace/{SHOP}")
    page.wait_for_selector("#why .sentence")
    assert page.locator("#explain").count() == 0
    assert page.locator(".n-plus-one").count() >= 1
    plain = open_page(f"{serve(app)}/trace/{SHOP}", javascript=False)
    plain.click("#explain")
    plain.wait_for_selector("#why .sentence")


@pytest.mark.long
def test_50_000_spans_are_a_small_page_before_they_are_explained() -> None:
    """The page of a trace of 50,000 spans in runs is small, and takes less than half of what its explanation takes."""
    client = TestClient(application(MemoryReader([loops(50_000)])))

    def asked(query: str) -> tuple[bytes, float]:
        began = time.process_time()
        content = client.get(f"/trace/{SHOP}{query}").content
        return content, time.process_time() - began

    at_once, soon = asked("")
    explained, later = asked("?why=1")
    assert b'id="explain"' in at_once
    assert b'class="sentence"' in explained
    assert_below(later / 2, soon)
    for content in (at_once, explained):
        assert len(gzip.compress(content)) < 100_000
        assert content.count(b'role="row" aria-level') < 200
