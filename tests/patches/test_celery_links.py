"""Which attempts begin a trace of their own that is linked to who sent them: the option ``link``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery, chord
from opentelemetry.trace import TraceFlags

from causal_otel.patches.celery import CeleryOptions, LinkWhen
from tests.patches.celery_app import app
from tests.patches.celery_canvases import SENT, assert_story, links_of, told
from tests.patches.celery_local import STALE, execute, received_headers
from tests.patches.celery_worker import running_beat, running_worker
from tests.recording import recording
from tests.span_relations import assert_span, traceparent

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

RETRY = f"retry={STALE.replace('b7ad', 'a7ad')}"


@pytest.mark.parametrize(
    ("link", "headers", "linked"),
    [
        (True, {}, True),
        (False, {}, False),
        (LinkWhen(), {}, False),
        (LinkWhen(tasks=("Local.*",)), {}, True),
        (LinkWhen(tasks=("other.*",)), {}, False),
        (LinkWhen(older=60), {"causal-published": 61}, True),
        (LinkWhen(older=60), {"causal-published": 30}, False),
        (LinkWhen(older=60), {}, False),
        (LinkWhen(older=60), {"headers": {"causal-published": 61}}, True),
        (LinkWhen(beat=True), {"causal-beat": True}, True),
        (LinkWhen(beat=True), {"celery_beat_task": True}, True),
        (LinkWhen(beat=True), {}, False),
        (True, {"chord": {"task": "local.sum"}}, False),
        (True, {"causal-chord-size": "2"}, False),
        (True, {"causal-links": RETRY, "retries": 1}, False),
        (True, {"traceparent": None}, False),
    ],
)
def test_attempt_is_linked_instead(local: Celery, link: bool | LinkWhen, headers: dict[str, Any], linked: bool) -> None:
    """It begins a trace if one of the conditions holds, has a link to the sender then, and keeps the baggage."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    def aged(headers: dict[str, Any]) -> dict[str, Any]:
        nested = {"headers": aged(headers["headers"])} if "headers" in headers else {}
        sent = {"causal-published": time.time() - headers["causal-published"]} if "causal-published" in headers else {}
        return {**headers, **nested, **sent}

    with recording({"celery": CeleryOptions(link=link)}) as recorded:
        execute(work, **{"traceparent": STALE, **aged(headers)})
        executed = recorded.only()
    found = [(dict(link.attributes or {}), f"{link.context.span_id:016x}") for link in executed.links]
    if linked:
        assert_span(executed, None)
        assert executed.context.trace_id != int(STALE[3:35], 16)
        assert found == [({"causal.link": "sender"}, STALE[36:52])]
        return
    assert_span(executed, executed.parent)
    assert (executed.parent is None) is ("traceparent" in headers)
    assert found == ([({"causal.link": "retry"}, RETRY[42:58])] if "causal-links" in headers else [])


def test_links_of_no_known_role(local: Celery) -> None:
    """A message that says what no sender of ours would say brings neither links nor text of its own into the trace."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    sent = ",".join(f"{role}={STALE}" for role in ("chain", "secret", "redelivery", "sender", ""))
    with recording(["celery"]) as recorded:
        execute(work, traceparent=STALE, **{"causal-links": f"{sent},chain=00-nothing,{STALE}"})
        executed = recorded.only()
    assert_span(executed, executed.parent)
    assert [link.attributes for link in executed.links] == [{"causal.link": "chain"}]


def test_unsampled_parent(local: Celery) -> None:
    """An attempt in a trace that is not sampled is not recorded; one that begins a trace is sampled by itself."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    unsampled = f"{STALE[:-2]}00"
    with recording(["celery"]) as recorded:
        execute(work, traceparent=unsampled, **{"causal-links": f"chain={unsampled}"})
        assert recorded.spans == []
        execute(work, traceparent=unsampled, **{"causal-links": f"reschedule={unsampled}"})
        executed = recorded.only()
    assert_span(executed, None)
    assert [link.attributes for link in executed.links] == [{"causal.link": "reschedule"}]


@pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "not sampled"])
@pytest.mark.parametrize(
    ("link", "marked"),
    [(LinkWhen(), True), (LinkWhen(older=3600), True), (LinkWhen(rescheduled=False), False), (False, False)],
)
def test_task_that_sends_itself(local: Celery, broker: str, link: bool | LinkWhen, marked: bool, sampled: bool) -> None:
    """Its message says that it is to begin a trace, sampled or not, unless the option forbids it."""
    local.conf.update(broker_url=broker, task_default_queue=uuid4().hex)

    @local.task(shared=False, name="local.again", bind=True)
    def again(self: Any) -> None:
        self.delay()

    with recording({"celery": CeleryOptions(link=link)}) as recorded:
        execute(again, traceparent=STALE if sampled else f"{STALE[:-2]}00")
        headers = received_headers(local, local.conf.task_default_queue)
        assert len(recorded.spans) == (2 if sampled else 0)
        if sampled:
            assert_span(recorded.only("send local.again"), recorded.only("process local.again"))
            assert headers["traceparent"] == traceparent(recorded.only("send local.again"))
    assert bool(int(headers["traceparent"][-2:], 16) & TraceFlags.SAMPLED) is sampled
    assert headers.get("causal-links") == (f"reschedule={headers['traceparent']}" if marked else None)


@pytest.mark.long
def test_worker_with_the_option(broker: str, receiver: ReceivedSpans) -> None:
    """A task by its name, in a real worker: what it sends goes on in its own trace."""
    variables = {"TESTS_LINK": json.dumps({"tasks": ["tests.relay"]})}
    with (
        running_worker(broker, receiver, "linking", variables=variables),
        recording(["celery"]) as recorded,
        recorded.tracer.start_as_current_span("request"),
    ):
        app.send_task("tests.relay", queue="linking")
        send = recorded.only("send tests.relay")
        spans = receiver.wait_for(lambda spans: any(span["name"] == "process tests.relay" for span in spans))
    [executed] = [span for span in spans if span["name"] == "process tests.relay" and span["service"] == "linking"]
    assert_span(executed, None)
    assert links_of(executed) == [("sender", f"{send.context.span_id:016x}")]
    own = receiver.wait_for(lambda spans: len(spans) == 4, trace_id=executed["trace_id"])
    by_name = {span["name"]: span for span in own}
    assert_span(by_name["send tests.add"], by_name["work"])
    assert_span(by_name["process tests.add"], by_name["send tests.add"])


@pytest.mark.long
def test_members_of_a_chord_stay(broker: str, receiver: ReceivedSpans) -> None:
    """The members of a chord's header go on in its trace, also where the option names them."""
    variables = {"TESTS_LINK": json.dumps({"tasks": ["tests.a", "tests.b"]})}
    with running_worker(broker, receiver, "chords", variables=variables), recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            a, b, c = (app.signature(f"tests.{name}").set(queue="chords") for name in "abc")
            chord([a, b], c).apply_async()
        expected = {"a": SENT, "b": SENT, "c": ("a|b", "chord-header:a chord-header:b")}
        assert_story(told(recorded, receiver, 3), expected)


@pytest.mark.long
def test_what_beat_sends(broker: str, receiver: ReceivedSpans) -> None:
    """With ``beat=True`` what beat has sent begins a trace in the worker, linked to the span of beat's sending."""
    variables = {"TESTS_LINK": json.dumps({"beat": True})}
    with running_worker(broker, receiver, "due", variables=variables), running_beat(broker, receiver, "due"):
        spans = receiver.wait_for(lambda spans: any(span["name"] == "process tests.tick" for span in spans))
    executed = next(span for span in spans if span["name"] == "process tests.tick")
    assert_span(executed, None)
    [(role, sender)] = links_of(executed)
    assert role == "sender"
    spans = receiver.wait_for(lambda spans: any(span["span_id"] == sender for span in spans))
    [send] = [span for span in spans if span["span_id"] == sender]
    assert send["name"] == "send tests.tick"
    assert_span(send, None)


def test_redelivery_is_linked_to_the_first_delivery(local: Celery) -> None:
    """An attempt at a message that is delivered again has the first one's parent, and a link to the first one."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    message = {"traceparent": STALE, "causal-published": time.time()}
    again = {"exchange": "", "routing_key": "celery", "redelivered": True}
    with recording(["celery"]) as recorded:
        execute(work, **message)
        for _ in range(2):
            execute(work, **message, delivery_info=again)
        execute(work, traceparent=STALE, delivery_info=again)
        first, second, third, unknown = recorded.spans
    for span in recorded.spans:
        assert span.parent is not None
        assert_span(span, span.parent)
        assert traceparent(span)[3:35] == STALE[3:35]
        assert f"{span.parent.span_id:016x}" == STALE[36:52]
    assert len({span.context.span_id for span in recorded.spans}) == 4
    for span in (second, third):
        [link] = span.links
        assert link.attributes == {"causal.link": "redelivery"}
        assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)
    assert (list(first.links), list(unknown.links)) == ([], [])
