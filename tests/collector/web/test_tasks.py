"""Asyncio tasks on the page of a trace: which span ran in which, who started it, and who waited for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.analysis import Explained, build
from causal_otel.collector.web.bars import Axis
from causal_otel.collector.web.task_lines import task_lines
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_causes import CAUSES, causes
from tests.collector.web.sample_traces import Builder, pairs, shop
from tests.collector.web.trace_site import SHOP, application

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData


def _lines(builder: Builder, *on_path: int) -> dict[int, list[str]]:
    """What each row draws, with the classes of each thing and where it is."""
    explained = Explained(build(builder.message))
    view = explained.view
    rows = {span.index: span.index for span in view.spans}
    found = task_lines(explained.tasks, rows, on_path, Axis(view.start, view.duration))
    return {
        row: [" ".join(part) for each in drawn for part in re.findall(r'<(\w+) class="edge (.*?)" c?x="(.*?)%"', each)]
        for row, drawn in sorted(found.items())
    }


@pytest.fixture
def text() -> str:
    """The page of a trace with tasks."""
    return TestClient(application(MemoryReader([causes()]))).get(f"/trace/{CAUSES}").text


def test_a_task_is_named_where_it_differs_from_that_above(text: str) -> None:
    """Its number and name stand behind the names of its outermost spans only."""
    rows = {each[0]: each[1] for each in re.findall(r'id="s-([0-9a-f]*)"(.*?)</div>', text, re.DOTALL)}
    flags = {int(span, 16): re.findall(r'class="flag task" title="[^"]*">([^<]*)<', row) for span, row in rows.items()}
    assert {span: said for span, said in flags.items() if said} == {
        2: ["#2 load orders"],
        3: ["#2 load orders"],
        4: ["#3 load prices"],
        6: ["#4 letter"],
    }


def test_a_task_nobody_awaits_is_marked(text: str) -> None:
    """Behind its last span stands that nobody waited for it."""
    assert text.count(">not awaited</span>") == 1
    assert ">not awaited</span>" in text[text.index(f'id="s-{Builder.id(6)}"') :]


def test_a_trace_without_tasks_shows_nothing_of_them() -> None:
    """No mark, line or legend takes room."""
    text = TestClient(application(MemoryReader([shop()]))).get(f"/trace/{SHOP}").text
    assert 'class="flag task"' not in text
    assert 'class="edge ' not in text
    assert "task started" not in text


def test_lines_lead_from_where_a_task_is_started_and_to_where_it_is_awaited() -> None:
    """They begin at the bar of the one span, go through the rows between, and end at that of the other."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 100, "server")
    b.add("web", "a", 1, 10, 60, causal__task=2, causal__task__waiter=1)
    b.add("web", "b", 1, 20, 60, causal__task=3, causal__task__waiter=1)
    assert _lines(b) == {
        0: [
            "rect start bottom 10.0", "circle start bottom 10.0", "rect join bottom 70.0", "circle join bottom 70.0",
            "rect start bottom 20.0", "circle start bottom 20.0", "rect join bottom 80.0", "circle join bottom 80.0",
        ],
        1: ["rect start top 10.0", "rect join top 70.0", "rect start through 20.0", "rect join through 80.0"],
        2: ["rect start top 20.0", "rect join top 80.0"],
    }  # fmt: skip


def test_a_task_may_be_awaited_further_below() -> None:
    """The line to a span in a later row leaves its bar downwards."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 100, "server")
    b.add("web", "a", 1, 10, 40, causal__task=2, causal__task__waiter=3)
    b.add("web", "b", 1, 20, 60, causal__task=3, causal__task__waiter=1)
    lines = _lines(b)
    assert "rect join bottom 50.0" in lines[1]
    assert [each for each in lines[2] if "50.0" in each] == ["rect join top 50.0", "circle join top 50.0"]


def test_lines_from_one_place_are_drawn_once() -> None:
    """Of tasks that are started at once, each row has one line; the end of each task has its own."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 100, "server")
    for number in range(5):
        b.add("web", f"t{number}", 1, 10, 60, causal__task=number + 2)
    lines = _lines(b)
    assert lines[0] == ["rect start bottom 10.0", "circle start bottom 10.0"]
    assert lines[2] == ["rect start top 10.0", "rect start through 10.0"]


def test_many_lines_are_thinned_out() -> None:
    """No row is crossed by more than a few lines, and far rows are not connected; the critical path's come first."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 3000, "server")
    for number in range(2000):
        b.add("web", "t", 1, number, 900, causal__task=number + 2, causal__task__waiter=1)
    lines = _lines(b)
    assert max(sum("through" in each for each in drawn) for drawn in lines.values()) <= 6
    assert all(any("start top" in each for each in lines[row]) for row in range(1, 2001)), "ends are there"
    far = next(f"rect join through {x}" for x in [round(100 * 949 / 3000, 1)])
    assert far not in lines[10]
    assert far in _lines(b, 50)[10], "the task in row 50 is on the path: its line comes first"


def test_details_tell_of_tasks() -> None:
    """What ran in a task says who started and awaited it; what started it, or waited, says that as well."""
    client = TestClient(application(MemoryReader([causes()])))

    def told(span: int) -> str:
        text = client.get(f"/trace/{CAUSES}/span/{Builder.id(span)}").text
        tasks = text[text.index("<h3>Tasks</h3>") : text.index('<div class="columns">')]
        return " ".join(re.sub(r"<[^>]*>", "", tasks).split())

    assert told(3) == (
        "Tasks Ran in task 2 load orders, which was started in reports POST /report "
        "Task 1 waited for it in reports POST /report until 550 ms"
    )
    assert "Nobody waited for that task." in told(6)
    assert told(1).startswith("Tasks Ran in task 1. Started task 2 load orders: reports SELECT orders from 20 ms on")
    assert "Waited for task 2 load orders: reports SELECT customers until 550 ms" in told(1)


_TOGETHER = "7d" * 16


def _together() -> TracesData:
    """Two spans at the same time, of which nobody says who waited for them."""
    b = Builder(_TOGETHER)
    b.add("web", "GET /", None, 0, 100, "server")
    b.add("web", "one", 1, 0, 60)
    b.add("web", "other", 1, 10, 80)
    return b.message


def test_details_tell_how_the_critical_path_is_known() -> None:
    """Each part of it says how much it is, and whether it is known, guessed, or told by a link."""
    client = TestClient(application(MemoryReader([causes(), _together(), shop()])))

    def told(trace: str, span: int) -> list[str]:
        text = client.get(f"/trace/{trace}/span/{Builder.id(span)}").text
        return re.findall(r"<li>(To the .*?)</li>", text)

    assert told(CAUSES, 3) == [
        "To the answer: 95 ms, 12 % of it, from 455 ms on; known: it was waited for.",
        "To the end of all work: 95 ms, 7 % of it, from 455 ms on; known: it was waited for.",
    ]
    assert "To the end of all work: 402 ms, 30 % of it, from 768 ms on; it had not started." in told(CAUSES, 8)
    (alone, _) = told(SHOP, 7)
    assert alone.endswith("; known: nothing else that could have been waited for ran meanwhile.")
    (guessed,) = told(_TOGETHER, 3)
    assert guessed.endswith("; a guess: of the spans below another it ended last.")
    assert told(CAUSES, 4) == []


def test_the_path_is_drawn_by_how_it_is_known() -> None:
    """Known parts, guesses and waits look different, and the legend tells which is which."""
    client = TestClient(application(MemoryReader([causes(), _together()])))
    causes_page = client.get(f"/trace/{CAUSES}?critical=end").text
    page = client.get(f"/trace/{_TOGETHER}").text
    assert {*re.findall(r'rect class="(path[^"]*)"', causes_page)} == {"path", "path waiting"}
    assert {*re.findall(r'rect class="(path[^"]*)"', page)} == {"path", "path guess"}
    assert "<b>critical path, a guess</b>" in page
    assert "<b>critical path, a guess</b>" not in causes_page


def test_details_of_a_wait_name_the_holder() -> None:
    """Who held a lock is a link that says so."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 100, "server")
    b.add("web", "refresh", 1, 0, 90, causal__task=2, causal__task__waiter=1)
    wait = b.add("web", "wait Lock", 1, 5, 80, causal__lock__kind="asyncio.Lock", causal__lock__wait=0.08)
    wait.links.add(trace_id=b.trace_id, span_id=bytes.fromhex(b.id(2)), attributes=pairs({"causal.link": "holder"}))
    text = TestClient(application(MemoryReader([b.message]))).get(f"/trace/{SHOP}/span/{b.id(3)}").text
    assert re.search(r"<li>waited for what was held by <a [^>]*>web refresh", text)


def test_links_are_followed() -> None:
    """A span that waited for another of the same trace, as its link says, continues the path there."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 10, "server")
    b.add("worker", "member", 1, 20, 100, "consumer")
    body = b.add("worker", "body", 1, 150, 50, "consumer")
    body.links.add(
        trace_id=b.trace_id, span_id=bytes.fromhex(b.id(2)), attributes=pairs({"causal.link": "chord-header"})
    )  # fmt: skip
    text = TestClient(application(MemoryReader([b.message]))).get(f"/trace/{SHOP}?critical=end&span={b.id(2)}").text
    assert 'class="path link"' in text
    assert "by a link: what follows had to wait for it" in text
