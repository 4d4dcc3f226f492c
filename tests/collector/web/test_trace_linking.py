"""Links are followed both ways: to what a span names, and to the spans of other traces that name it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.testclient import TestClient

from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_traces import ATTACK, Builder, pairs
from tests.collector.web.trace_site import SHOP, application

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage


def _request() -> TracesData:
    b = Builder(SHOP)
    b.add("web", "POST /reports", None, 0, 100, "server")
    b.add("web", "send report", 1, 10, 5, "producer")
    return b.message


def _task(number: int, role: str = "sender", name: str = "process report") -> TracesData:
    b = Builder(f"{number:032x}")
    span = b.add("worker", name, None, 1000 * number, 50, "consumer")
    span.links.add(
        trace_id=bytes.fromhex(SHOP), span_id=bytes.fromhex(Builder.id(2)), attributes=pairs({"causal.link": role})
    )
    return b.message


def test_tasks_lead_to_their_sender_and_it_leads_to_them(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """Twelve tasks that were scheduled in a trace are counted at the span that sent them, and are a click away."""
    base = serve(application(MemoryReader([_request(), *(_task(number) for number in range(1, 13))])))
    page = open_page(f"{base}/trace/{SHOP}")
    mark = page.locator(f"#s-{Builder.id(2)} .linking")
    assert mark.inner_text() == "12 tasks linked here"
    mark.click()
    page.wait_for_selector(f"#s-{Builder.id(2)} + .details .relations")
    details = page.locator(".details")
    assert details.locator("li:has-text('scheduled worker process report')").count() == 12
    details.locator("li a:has-text('process report')").nth(3).click()
    page.wait_for_selector(".details .relations")
    assert "scheduled by" in page.inner_text(".details")
    page.click(".details .relations a")
    page.wait_for_url(f"**/trace/{SHOP}?span={Builder.id(2)}*")


def test_many_are_told_by_number() -> None:
    """Of very many links the first are listed, and how many there are is said; a page does not wait for all."""
    reader = MemoryReader([_request(), *(_task(number, "") for number in range(1, 251))])
    client = TestClient(application(reader))
    assert "200+ linked here" in client.get(f"/trace/{SHOP}").text
    text = client.get(f"/trace/{SHOP}/span/{Builder.id(2)}").text
    assert text.count("<li>linked from ") == 20
    assert "20 links, the first 20 of 200 from other traces" in text


def test_one_task_and_what_is_none_are_told_apart() -> None:
    """A mark speaks of tasks only where all that link to the span are some."""
    one = TestClient(application(MemoryReader([_request(), _task(1, "retry")]))).get(f"/trace/{SHOP}").text
    assert ">1 task linked here<" in one
    both = [_request(), _task(1), _task(2, "detached")]
    assert ">2 linked here<" in TestClient(application(MemoryReader(both))).get(f"/trace/{SHOP}").text


def test_scripts_in_names_of_other_traces_are_inert() -> None:
    """What another trace says of itself is text."""
    client = TestClient(application(MemoryReader([_request(), _task(1, ATTACK, ATTACK)])))
    text = client.get(f"/trace/{SHOP}?span={Builder.id(2)}").text
    assert "linked from" in text
    assert "<img" not in text
    assert "<script>window" not in text
