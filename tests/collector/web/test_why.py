"""What the page of a trace says above its waterfall: the sentence, the bar of all shares, and the findings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from causal_otel.collector.analysis import Explained, build
from causal_otel.collector.web.why import Text, why
from tests.collector.oracle import MemoryReader
from tests.collector.web.sample_causes import CAUSES, HOLDER, causes, holder
from tests.collector.web.sample_traces import ATTACK, Builder, shop
from tests.collector.web.trace_site import ATTACKED, SHOP, application, current

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from tests.collector.web.browser import OpenPage

_ANSWER = (
    "800 ms: 30 % nothing traced: waiting, 23 % PostgreSQL, 19 % loop blocked 150 ms by slow.py:7 render() "
    f"(a blocking call) in GET /slow, trace {HOLDER}, "
)


@pytest.fixture
def text() -> str:
    """The page of the trace with many causes."""
    client = TestClient(application(MemoryReader([causes(), holder()])))
    return client.get(f"/trace/{CAUSES}").text


def test_the_sentence_is_that_of_the_explanation(text: str) -> None:
    """It says what ``causal-otel why`` says, with a link to the trace that held up the loop."""
    said = build(causes())
    explanation = Explained(said, lambda: [build(holder())]).explanation
    assert explanation.sentence.startswith(_ANSWER)
    (sentence,) = re.findall(r'<p class="sentence">(.*)</p>', text)
    assert re.sub(r"<[^>]*>", "", sentence) == explanation.sentence
    assert f'<a href="/trace/{HOLDER}">trace {HOLDER}</a>' in sentence


def test_the_bar_says_its_shares_to_those_who_cannot_see_it(text: str) -> None:
    """Each time of the trace has one picture that is labelled, can be reached by keys, and is told in words below."""
    labels = re.findall(r'<svg class="shares" role="img" tabindex="0" aria-label="([^"]*)"', text)
    assert [label.partition(":")[0] for label in labels] == [
        "800 ms to the answer",
        "530 ms then, to the end of all work",
    ]
    assert "30 % nothing traced: waiting, 23 % PostgreSQL" in labels[0]
    assert labels[1].endswith(": 70 % waiting in the queue archive, 30 % own code (archive)")
    for share in ("<b>23 %</b> PostgreSQL", "<b>70 %</b> waiting in the queue archive"):
        assert share in text


@pytest.mark.parametrize("message", [causes(), shop(), holder()])
def test_shares_fill_the_bar(message: object) -> None:
    """Side by side they are as wide as the bar, what is not named included."""
    for bar in why(Explained(build(message))).bars:  # type: ignore[arg-type]
        widths = [share.width for share in bar.shares]
        assert sum(widths) == pytest.approx(100, abs=2)
        assert [share.x for share in bar.shares] == sorted(share.x for share in bar.shares)


def test_no_two_shares_look_the_same() -> None:
    """Those of one kind differ by their shade; a kind that is not known looks like the rest."""
    (first, *_) = why(Explained(build(shop()))).bars
    looks = [(share.colour, share.pattern, share.again) for share in first.shares]
    assert len(set(looks)) == len(looks)


def test_findings_lead_to_their_spans(text: str) -> None:
    """Each has a link to the first of its spans, and to some of the others."""
    findings = re.findall(
        r"<li id=\"finding-\d+\">(.*?)</li>", text[text.index('<ul class="findings">') : text.index("</section>")]
    )
    queued = next(each for each in findings if "waited 400 ms in the queue archive" in each)
    assert f'href="/trace/{CAUSES}?span={Builder.id(8)}#s-{Builder.id(8)}" data-span="{Builder.id(8)}"' in queued
    assert any("prices.py:12 parse() (computing) blocked the event loop for 60 ms" in each for each in findings)
    assert any("nobody awaited send the letter in the task letter" in each for each in findings)


def test_a_finding_of_many_spans_says_how_many() -> None:
    """Of an N+1 five are linked, and the others are counted."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 100, "server")
    for number in range(40):
        b.add("web", "SELECT items", 1, 2 * number, 2, "client", db__system__name="postgresql",
              db__query__text="SELECT * FROM items WHERE id = $1")  # fmt: skip
    (finding,) = why(Explained(build(b.message))).findings
    assert "N+1" in finding.text[0].text
    assert (len(finding.span_ids), finding.more) == (5, 35)


def test_a_trace_without_work_after_its_answer_has_one_bar() -> None:
    """There is no second one, and no title that tells them apart."""
    client = TestClient(application(MemoryReader([holder()])))
    text = client.get(f"/trace/{HOLDER}").text
    assert text.count('<svg class="shares"') == 1
    assert "to the answer</p>" not in text


def test_a_trace_without_a_time_is_shown() -> None:
    """Where nothing took any time there is a sentence, and no bar."""
    b = Builder(SHOP)
    b.add("web", "GET /", None, 0, 0, "server")
    answer = TestClient(application(MemoryReader([b.message]))).get(f"/trace/{SHOP}")
    assert answer.status_code == 200
    assert "nothing took any time" in answer.text
    assert '<svg class="shares"' not in answer.text


def test_what_a_sender_writes_is_text() -> None:
    """Names of tasks, frames, queues and hosts are escaped wherever the explanation has them."""
    b = Builder(ATTACKED)
    b.add(ATTACK, ATTACK, None, 0, 500, "server", causal__loop__blocked=0.1)
    b.add(ATTACK, "loop blocked", 1, 10, 100, causal__block__frame=ATTACK, causal__block__cpu=0.1)
    b.add(ATTACK, ATTACK, 1, 150, 300, causal__task=2, causal__task__name=ATTACK, causal__task__unawaited=True)
    b.add("queue", ATTACK, 1, 600, 200, "consumer", causal__queue__wait=0.3, messaging__destination__name=ATTACK)
    text = TestClient(application(MemoryReader([b.message]))).get(f"/trace/{ATTACKED}?span={b.id(3)}").text
    for tag in ("<img", "<script>window", "</noscript><svg onload"):
        assert tag not in text
    assert "&lt;img src=x onerror=" in text


def test_only_ids_of_traces_become_links() -> None:
    """A name that looks like one is none."""
    b = Builder(SHOP)
    b.add("web", "trace " + "ab" * 15, None, 0, 100, "server", error="failed")
    (finding,) = why(Explained(build(b.message))).findings
    assert all(isinstance(piece, Text) and not piece.trace_id for piece in finding.text)


def test_a_finding_opens_its_span(serve: Callable[[ASGIApp], str], open_page: OpenPage) -> None:
    """A click goes to the span, even if it is collapsed away; keys reach the bar and then the findings."""
    page = open_page(f"{serve(application(MemoryReader([causes(), holder()])))}/trace/{CAUSES}?collapsed=all")
    page.locator("svg.shares").first.focus()
    assert page.evaluate("document.activeElement.getAttribute('role')") == "img"
    page.click("li:has-text('waited 400 ms in the queue') >> text=show")
    page.wait_for_selector(f"#s-{Builder.id(8)} + .details .facts")
    assert current(page) == Builder.id(8)
