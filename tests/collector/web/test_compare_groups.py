"""The page that compares two groups of traces."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from causal_otel.causality.explanation.groups import Group, compare_groups
from causal_otel.collector.analysis import build
from causal_otel.collector.units import format_duration
from causal_otel.collector.web import compare_groups as compare_groups_page
from causal_otel.collector.web.compare_groups import SAMPLED, address
from causal_otel.collector.web.forms import SearchForm
from tests.collector.oracle import MemoryReader
from tests.collector.spans import SECOND, span, traces
from tests.collector.web.browser import screenshot
from tests.collector.web.sample_traces import Builder
from tests.collector.web.trace_site import application, follow
from tests.collector.web.traffic import EVIL

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

NOW = time.time_ns()


def request(number: int, version: str, wait: int) -> TracesData:
    """An order, in which a query waits so many milliseconds for its connection."""
    made = Builder(f"{number:032x}", NOW - number * SECOND)
    made.add("shop", "GET /orders", None, 0, 40 + wait + number % 7, "server", service__version=version)
    made.add(
        "shop", "SELECT orders", 1, 5, 20 + wait, "client",
        db__system__name="postgresql", causal__pool__wait=wait / 1000, error="gone" if number % 5 == 0 else None,
    )  # fmt: skip
    return made.message


def old_and_new() -> tuple[list[TracesData], list[TracesData]]:
    """Two versions of a service: the new one waits for its pool."""
    return [request(n, "1.0", 2) for n in range(1, 13)], [request(n, "2.0", 30 + n) for n in range(21, 30)]


A, B = SearchForm(tags="service.version=1.0"), SearchForm(tags="service.version=2.0")


@pytest.fixture
def url(serve: Callable[[ASGIApp], str]) -> str:
    """The pages over both."""
    old, new = old_and_new()
    return serve(application(MemoryReader([*old, *new])))


def test_two_searches_are_compared(open_page: OpenPage, url: str) -> None:
    """Every figure is what looking at the traces themselves gives; the rows add up to the difference of the means."""
    page = open_page(url + address(A, B))
    groups = Group(), Group()
    for group, messages in zip(groups, old_and_new(), strict=True):
        for message in messages:
            group.add(build(message))
    expected = compare_groups(*groups)
    cells = page.locator(".diff [data-nanoseconds]").evaluate_all("all => all.map((each) => each.dataset.nanoseconds)")
    *rows, total = map(Fraction, cells)
    assert rows == [row.explains for row in expected.rows]
    assert sum(rows) == total == expected.difference
    assert page.inner_text(".verdict").startswith(f"A trace takes {format_duration(round(expected.difference))} (")
    assert page.locator(".side p").first.inner_text() == "12 traces, all that match"
    first = page.locator(".diff tbody tr").first
    assert "SELECT orders" in first.inner_text()
    assert "waiting for a PostgreSQL connection" in first.inner_text()
    assert first.locator("[data-label=Failing]").inner_text() == "17 % → 11 %"
    screenshot(page, "compare-groups")


def test_the_form_says_what_is_compared(open_page: OpenPage, url: str) -> None:
    """Searches are typed in, swapped, looked at in the search; every state is in the address."""
    page = open_page(f"{url}/compare")
    follow(page, "text=Compare groups of traces")
    page.fill("[name='a.tags']", A.tags)
    page.fill("[name='b.tags']", B.tags)
    follow(page, "button.primary")
    assert "longer in B" in page.inner_text(".verdict")
    follow(page, "text=Swap A and B")
    assert "less in B" in page.inner_text(".verdict")
    assert page.input_value("[name='a.tags']") == B.tags
    follow(page, "text=Show them in the search")
    assert page.locator("#traces .trace").count() == 9


def test_a_search_can_be_given_by_its_address() -> None:
    """Of the search page, as a whole; what the form has no field for is kept."""
    client = TestClient(application(MemoryReader([*old_and_new()[0], *old_and_new()[1]])))
    html = client.get(f"/compare?a={quote(A.address(kind='server'))}&b={quote(B.address())}").text
    assert "12 traces</b>, all that match" in html
    assert "9 traces</b>, all that match" in html
    assert '<input type="checkbox" name="a.kind" value="server" checked>' in html


def test_the_place_in_a_list_is_no_condition() -> None:
    """Whatever page of a search is taken over, all that it finds is compared; and what was left is not carried on."""
    client = TestClient(application(MemoryReader([*old_and_new()[0], *old_and_new()[1]])))
    page = {"after": f"5-0-{NOW - 6 * SECOND}-{6:032x}", "outer": "lookback=7d", "sort": "oldest", "limit": "5"}
    html = client.get("/compare", params={"a": A.address(**page), "b": B.address(**page)}).text
    assert "12 traces</b>, all that match" in html
    assert "9 traces</b>, all that match" in html
    named = {f"a.{name}": value for name, value in page.items()}
    html += client.get("/compare", params={"a.tags": A.tags, "b.tags": B.tags, **named}).text
    assert html.count("12 traces</b>, all that match") == 2
    for name in page:
        assert f"a.{name}" not in html
        assert f"{name}=" not in html


def test_operations_that_are_left_out_are_part_of_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows add up to the difference of the means, exactly, with those that there is no room for."""
    monkeypatch.setattr(compare_groups_page, "_ROWS", 1)
    old, new = old_and_new()
    html = TestClient(application(MemoryReader([*old, *new]))).get(address(A, B)).text
    assert "1 operation that add less, together" in html
    *rows, total = map(Fraction, re.findall(r'data-nanoseconds="([^"]*)"', html))
    means = [Fraction(sum(build(each).duration for each in some), len(some)) for some in (old, new)]
    assert len(rows) == 2
    assert sum(rows) == total == means[1] - means[0]


def test_operations_lead_to_their_pages() -> None:
    """In both comparisons, by name and system."""
    old, new = old_and_new()
    client = TestClient(application(MemoryReader([*old, *new])))
    for path in (address(A, B), f"/compare?a={1:032x}&b={21:032x}"):
        html = client.get(path).text
        for query in (
            "service=shop&amp;operation=SELECT+orders&amp;system=postgresql",
            "service=shop&amp;operation=GET+%2Forders&amp;system=none",
        ):
            assert f'href="/operation?{query}"' in html
            page = client.get(f"/operation?{query}".replace("&amp;", "&"))
            assert "It was not called" not in page.text
            assert page.status_code == 200


def test_one_search_is_compared_with_the_time_before_it() -> None:
    """If only A is filled in, as much time before its own is what it is measured against."""
    client = TestClient(application(MemoryReader([*old_and_new()[0], *old_and_new()[1]])))
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime((NOW - 15 * SECOND) // 10**9))
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW // 10**9))
    html = client.get("/compare", params={"a.service": "shop", "a.start": start, "a.end": end}).text
    counts = [int(each) for each in re.findall(r"<b>(\d+) traces?</b>", html)]
    assert counts[1] == 12
    assert 7 <= counts[0] <= 9  # those of the quarter of a minute before, which begins at a whole second


def test_a_search_is_put_beside_another_by_its_address() -> None:
    """It is compared with what is found, unless that is the same; one that is too long, or none, is not offered."""
    client = TestClient(application(MemoryReader([*old_and_new()[0], *old_and_new()[1]])))

    def offered(form: SearchForm) -> str:
        html = client.get(form.address()).text
        found = re.search(r'href="(/compare\?[^"]+)">Compare these with A<', html)
        return unescape(found[1]) if found else "chosen" if "Choose what to compare with" in html else ""

    other = replace(B, beside="tags=service.version%3D1.0")
    assert offered(other) == address(A, B)
    assert offered(replace(A, beside=other.beside)) == "chosen"
    assert offered(replace(B, beside=f"q={'x' * 2000}")) == offered(B) == ""
    (first,) = re.findall(r'href="([^"]+)"[^>]*>Compare with others<', client.get(A.address()).text)
    assert unescape(first) == replace(A, beside=other.beside).address()


def test_more_than_can_be_read_are_sampled_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred of each at the most; and when the time is over, how many the figures are of."""
    many = [traces(span("work", trace=n, start=NOW - n * SECOND, duration=n)) for n in range(1, SAMPLED + 60)]
    client = TestClient(application(MemoryReader(many)))
    html = client.get("/compare?a.operation=work&b.operation=work&b.lookback=24h").text
    assert html.count(f"<b>{SAMPLED} traces</b> of more") == 2
    assert "were read within" not in html
    monkeypatch.setattr(compare_groups_page, "_READ_SECONDS", -1.0)
    html = client.get("/compare?a.operation=work&b.operation=work&b.lookback=24h").text
    assert "Not all of the traces were read within -1 s: these figures are of 0 traces in A and 0 in B" in html


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("a.start=yesterday", 400, 'id="a-start-mistake"'),
        ("a.service=nobody&b.service=nobody&b.lookback=24h", 200, "Neither search finds"),
        ("groups=1", 200, "Two searches, side by side"),
        ("a.operation=%3Cscript%3E&b.operation=x", 200, "&lt;script&gt;"),
    ],
)
def test_what_cannot_be_compared_is_said(query: str, status: int, said: str) -> None:
    """A field that is not understood, a search that finds nothing, and nothing asked for."""
    answer = TestClient(application(MemoryReader(old_and_new()[0]))).get(f"/compare?{query}")
    assert answer.status_code == status
    assert said in answer.text


def test_whatever_spans_say_is_text(open_page: OpenPage, serve: Callable[[ASGIApp], str]) -> None:
    """Markup in names of services and operations is shown as it is."""
    made = Builder("ee" * 16, NOW)
    made.add(EVIL, EVIL, None, 0, 10, "server")
    page = open_page(serve(application(MemoryReader([made.message]))) + "/compare?a.lookback=1h&b.lookback=24h")
    assert EVIL in page.inner_text(".diff")
    assert page.evaluate("window.evil") is None
