"""The critical path of real canvases: to the end it leads through what the last task had to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chord

from causal_otel.causality.critical_path import critical_path
from tests.causality.traces import PlainLink, PlainSpan, plain_trace
from tests.patches.celery_app import app
from tests.patches.celery_canvases import told
from tests.patches.celery_worker import hexadecimal, running_worker
from tests.recording import recording

if TYPE_CHECKING:
    from pathlib import Path

    from causal_otel.causality.critical_path import Segment
    from tests.services.received import ReceivedSpans

LONG = 0.3
"""Seconds that the member of a chord's header takes which the other one is over before."""


def test_path_of_a_chord(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """Its body is sent by the member of its header that was the last, and leads there."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            occupy = app.signature("tests.occupy", (LONG,), immutable=True)
            chord([app.signature("tests.a"), occupy], occupy).apply_async()
        segments = _path(told(recorded, receiver, 3))
    names = _names(segments)
    assert names[-3:] == ["process tests.occupy", "send tests.occupy", "process tests.occupy"]
    assert "process tests.a" not in names
    assert _seconds(segments, "process tests.occupy") >= 2 * LONG


@pytest.mark.long
def test_path_of_a_chord_that_is_polled(broker: str, receiver: ReceivedSpans, tmp_path: Path) -> None:
    """Its body is sent by a task that has polled: by its links the path leads to the last member of the header."""
    local = Celery("local", broker=broker, backend=f"file://{tmp_path}", set_as_current=False)
    local.conf.update(task_default_queue="polled-path", result_chord_retry_interval=0.2)
    variables = {"CELERY_RESULT_BACKEND": f"file://{tmp_path}"}
    with running_worker(broker, receiver, "polled-path", variables=variables), recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            header = [local.signature("tests.a"), local.signature("tests.occupy", (LONG,))]
            chord(header, local.signature("tests.c"), app=local).apply_async()
        segments = _path(told(recorded, receiver, 3))
    names = _names(segments)
    if names[-1] == "send tests.c":  # the task was over before whoever had sent it had gone on
        names.pop()
    assert names[-4:] == ["process tests.occupy", "until send tests.c", "send tests.c", "process tests.c"]
    assert {each.via for each in segments if each.span.name == "process tests.occupy"} == {"link"}
    assert _seconds(segments, "process tests.occupy") >= LONG


def test_path_of_a_task_that_is_tried_again(broker: str, shared_worker: None, receiver: ReceivedSpans) -> None:
    """The last attempt waited for the one before it, not since it was sent."""
    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            result = app.send_task("tests.flaky", (2,))
        assert result.get(timeout=60) == 2
        sent = recorded.only("send tests.flaky")
        received = receiver.wait_for(
            lambda spans: sum(span["name"] == "process tests.flaky" for span in spans) == 3,
            trace_id=f"{sent.context.trace_id:032x}",
        )
        segments = _path([*recorded.spans, *received])
    attempts = sorted(
        (span for span in received if span["name"] == "process tests.flaky"), key=lambda span: span["start"]
    )
    found = [each for each in segments if each.span.name == "process tests.flaky" and not each.waiting]
    path = list(dict.fromkeys(each.span.span_id for each in found))
    assert path == [span["span_id"] for span in attempts][: len(path)]
    if max(attempts, key=lambda span: span["end"]) is attempts[-1]:  # none was slow to end after it had sent the next
        assert len(path) == 3
        assert found[0].via == "link"


def _path(spans: list[Any]) -> list[Segment[PlainSpan]]:
    """The path to the end of those spans, of this process and of others."""
    made: dict[str, PlainSpan] = {}
    parents: dict[str, str | None] = {}
    for span in spans:
        if isinstance(span, dict):
            found = PlainSpan(span["name"], span["start"], span["end"], service="worker", kind=span["kind"].lower())
            found.links += [PlainLink("t", each["span_id"], each["attributes"]) for each in span["links"]]
            found.id, parent = span["span_id"], span["parent_span_id"]
        else:
            found = PlainSpan(span.name, span.start_time, span.end_time, kind=span.kind.name.lower())
            found.id, parent = hexadecimal(span), None if span.parent is None else f"{span.parent.span_id:016x}"
        made[found.id], parents[found.id] = found, parent
    for key, parent in parents.items():
        made[key].parent = made.get(parent or "")
    return critical_path(plain_trace(made.values()), until="end")


def _names(segments: list[Segment[PlainSpan]]) -> list[str]:
    """What the path leads through, but for the way from sender to worker: the task may begin while it is being sent."""
    names = [f"until {each.span.name}" if each.waiting else each.span.name for each in segments]
    names = [name for name in names if not name.startswith("until process ")]
    return [name for name, before in zip(names, (None, *names), strict=False) if name != before]


def _seconds(segments: list[Segment[PlainSpan]], name: str) -> float:
    return sum(each.duration for each in segments if each.span.name == name and not each.waiting) / 1e9
