"""Retries are siblings, each linked to the attempt before, and a task that sends itself begins a linked trace."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from celery import chord

from tests.patches import celery_app
from tests.patches.celery_app import app
from tests.patches.celery_canvases import links_of
from tests.patches.celery_worker import executions
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.services.received import ReceivedSpan, ReceivedSpans


def attempts(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    """The attempts at a task, in their order."""
    found = [span for span in spans if span["name"] == f"process tests.{name}"]
    return sorted(found, key=lambda span: span["attributes"].get("celery.task.retries", 0))


def assert_siblings(spans: list[ReceivedSpan], tried: list[ReceivedSpan], send: ReadableSpan | ReceivedSpan) -> None:
    """Assert that all attempts have one parent, each but the first a link to the one before, which has sent it."""
    resends = [span for span in spans if span["name"] == tried[0]["name"].replace("process", "send")]
    for span in tried:
        assert_span(span, send)
    for before, after in pairwise(tried):
        assert ("retry", before["span_id"]) in links_of(after)
        [resend] = [span for span in resends if span["parent_span_id"] == before["span_id"]]
        assert_span(resend, before)


@pytest.mark.parametrize(
    ("name", "args", "retries"),
    [("flaky", (2,), 2), ("autoretried", (2,), 2)],
    ids=["retry()", "autoretry_for"],
)
def test_retries_are_siblings(
    broker: str, shared_worker: None, receiver: ReceivedSpans, name: str, args: tuple[Any, ...], retries: int
) -> None:
    """All attempts have the parent of the first one; each is linked to the attempt before, which sends it."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            result = app.send_task(f"tests.{name}", args)
        assert result.get(timeout=60) == retries
        send = recorded.only(f"send tests.{name}")
        assert_span(send, recorded.only("request"))
    spans = executions(receiver, send, 2 * retries + 1)
    tried = attempts(spans, name)
    assert len(tried) == retries + 1
    assert_siblings(spans, tried, send)
    assert [links_of(span) for span in tried] == [
        [],
        *([("retry", before["span_id"])] for before in tried[:-1]),
    ]
    assert [span["attributes"]["celery.task.state"] for span in tried] == ["RETRY"] * retries + ["SUCCESS"]


def test_retries_of_a_member_and_of_a_body(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Every attempt keeps the links of the first: a member's to the group, a body's to all members of the header."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request") as request:
            header = [celery_app.flaky.s(1), app.signature("tests.a")]
            chord(header, app.signature("tests.persistent")).apply_async()
        [send] = [span for span in recorded.spans if span.name == "send tests.flaky"]
    spans = executions(receiver, send, 8)
    members, bodies = attempts(spans, "flaky"), attempts(spans, "persistent")
    [other] = attempts(spans, "a")
    group = ("group", f"{request.get_span_context().span_id:016x}")
    assert_siblings(spans, members, send)
    assert [links_of(span) for span in members] == [[group], sorted([group, ("retry", members[0]["span_id"])])]
    [first_send] = [
        span
        for span in spans
        if span["name"] == "send tests.persistent" and span["span_id"] == bodies[0]["parent_span_id"]
    ]
    assert first_send["parent_span_id"] in (members[1]["span_id"], other["span_id"])
    assert_siblings(spans, bodies, first_send)
    header_links = [("chord-header", members[0]["span_id"]), ("chord-header", other["span_id"])]
    assert [links_of(span) for span in bodies] == [
        sorted(header_links),
        sorted([*header_links, ("retry", bodies[0]["span_id"])]),
    ]


def test_retry_whose_first_attempt_has_no_parent(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Attempts at a task that an untraced program has sent are one trace: the retries are below the first attempt."""
    result = app.send_task("tests.flaky", (2,))
    assert result.get(timeout=60) == 2
    spans = receiver.wait_for(lambda spans: len([s for s in spans if _is_of(s, result.id)]) >= 5)
    spans = [span for span in spans if _is_of(span, result.id)]
    first, *others = attempts(spans, "flaky")
    assert_span(first, None)
    [resend] = [span for span in spans if span["parent_span_id"] == first["span_id"]]
    assert_span(resend, first)
    assert_siblings(spans, others, resend)
    assert links_of(others[0]) == [("retry", first["span_id"])]


def _is_of(span: ReceivedSpan, task_id: str) -> bool:
    return span["attributes"].get("messaging.message.id") == task_id


def test_task_that_sends_itself_begins_a_trace(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Each time it begins a trace, which is linked to the span that has sent it, in the trace before."""
    with recording(["celery"]) as recorded:
        app.send_task("tests.again", (2,))
        send = recorded.only("send tests.again")
    [executed, resend] = executions(receiver, send, 2)
    if executed["name"].startswith("send"):
        executed, resend = resend, executed
    assert_span(executed, send)
    assert executed["links"] == []
    for last in (False, True):
        assert_span(resend, executed)
        before = resend["trace_id"], resend["span_id"]
        spans = receiver.wait_for(lambda spans, before=before: bool(_linked(spans, before)))  # type: ignore[misc]
        [executed] = _linked(spans, before)
        assert_span(executed, None)
        assert links_of(executed) == [("reschedule", before[1])]
        assert executed["trace_id"] != before[0]
        if not last:
            spans = receiver.wait_for(lambda spans: len(spans) == 2, trace_id=executed["trace_id"])
            [resend] = [span for span in spans if span is not executed and span["name"] == "send tests.again"]


def _linked(spans: list[ReceivedSpan], to: tuple[str, str]) -> list[ReceivedSpan]:
    """Those that are linked to the span with that trace id and that id."""
    return [span for span in spans if any((link["trace_id"], link["span_id"]) == to for link in span["links"])]
