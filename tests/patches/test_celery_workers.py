"""Workers of every pool: no span is lost when they or their processes end, and they make none of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.patches import celery_app
from tests.patches.celery_app import app
from tests.patches.celery_greenlets import GREENLETS, python_of
from tests.patches.celery_worker import hexadecimal, of_service, running_worker
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans


@pytest.mark.long
@pytest.mark.parametrize("pool", ["solo", "threads", *GREENLETS])
def test_other_pools(broker: str, receiver: ReceivedSpans, pool: str, request: pytest.FixtureRequest) -> None:
    """Without child processes parents are right as well, and a warm shutdown loses nothing."""
    with recording(["celery"]) as recorded:
        python = python_of(pool, request)
        with running_worker(broker, receiver, pool, pool=pool, schedule_delay=60, python=python) as worker:
            results = [celery_app.relay.apply_async(queue=pool) for _ in range(5)]
            for result in results:
                app.AsyncResult(result.get(timeout=60)).get(timeout=60)
            worker.stop()
        sent = recorded.spans
    spans = of_service(receiver.spans(), pool)
    assert len(spans) == 4 * len(results)
    by_id = {span["span_id"]: span for span in spans}
    by_sender = {hexadecimal(each): each for each in sent}
    for span in spans:
        parent = by_id.get(span["parent_span_id"] or "")
        if span["name"] == "process tests.relay":
            assert_span(span, by_sender[span["parent_span_id"] or ""])
        else:
            assert parent is not None
            assert_span(span, parent)


def test_forgotten_detach_in_a_solo_worker(broker: str, receiver: ReceivedSpans) -> None:
    """Where all tasks run in one context, one that leaves something attached spoils no later task's trace."""
    tasks = [celery_app.careless, celery_app.careless, celery_app.tick]
    with recording(["celery"]) as recorded:
        with running_worker(broker, receiver, "careless", pool="solo", schedule_delay=60) as worker:
            for task in tasks:
                task.apply_async(queue="careless").get(timeout=60)
            worker.stop()
        sent = recorded.spans
    spans = of_service(receiver.spans(), "careless")
    assert len({each.context.trace_id for each in sent}) == len(sent) == len(tasks)
    for task, each, inside in zip(tasks, sent, ("work", "work", "tock"), strict=True):
        executed, worked = sorted(
            (span for span in spans if span["trace_id"] == f"{each.context.trace_id:032x}"),
            key=lambda span: span["name"] == inside,
        )
        assert executed["name"] == f"process {task.name}"
        assert_span(executed, each)
        assert worked["name"] == inside
        assert_span(worked, executed)
    assert len(spans) == 2 * len(tasks)


def test_warm_shutdown_loses_nothing(broker: str, receiver: ReceivedSpans) -> None:
    """Ten tasks and then SIGTERM: ten spans, though the next export was a minute away."""
    stopping = running_worker(broker, receiver, "stopping", schedule_delay=60)
    with recording(["celery"]) as recorded, stopping as worker:
        for result in [celery_app.add.apply_async((n, n), queue="stopping") for n in range(10)]:
            result.get(timeout=60)
        worker.stop()
        by_sender = {hexadecimal(each): each for each in recorded.spans}
    spans = of_service(receiver.spans(), "stopping")
    assert [span["name"] for span in spans] == ["process tests.add"] * 10
    for span in spans:
        assert_span(span, by_sender.pop(span["parent_span_id"] or ""))


@pytest.mark.long
def test_recycled_children_lose_nothing(broker: str, receiver: ReceivedSpans) -> None:
    """A child that leaves after its number of tasks has exported their spans, though the worker runs on."""
    recycling = running_worker(broker, receiver, "recycling", "--max-tasks-per-child", "1", schedule_delay=60)
    with recording(["celery"]) as recorded, recycling:
        results = [celery_app.inside.apply_async(queue="recycling") for _ in range(4)]
        assert len({result.get(timeout=60)["pid"] for result in results}) == 4
        spans = receiver.wait_for(lambda spans: len(of_service(spans, "recycling")) == 4)
        by_sender = {hexadecimal(each): each for each in recorded.spans}
    for span in of_service(spans, "recycling"):
        assert_span(span, by_sender.pop(span["parent_span_id"] or ""))


def test_worker_makes_no_spans_of_its_own(broker: str, receiver: ReceivedSpans) -> None:
    """Starting, waiting, fetching, acknowledging and stopping are no spans, with the broker's own client traced."""
    with recording(["celery"]) as recorded:
        with running_worker(broker, receiver, "quiet", patches="celery,redis", pool="solo") as worker:
            celery_app.add.apply_async((1, 2), queue="quiet").get(timeout=60)
            assert app.control.ping(["quiet@tests"], timeout=10, limit=1) == [{"quiet@tests": {"ok": "pong"}}]
            worker.stop()
        send = recorded.only()
    [executed] = of_service(receiver.spans(), "quiet")
    assert executed["name"] == "process tests.add"
    assert_span(executed, send)
