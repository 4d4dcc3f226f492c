"""Where a task waited: in the broker, or in a worker that had received it and was busy."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.worker.request import Request
from kombu.message import Message

from tests.patches import celery_app
from tests.patches.celery_local import execute
from tests.patches.celery_worker import executions, running_worker
from tests.recording import recording
from tests.slow_machine import assert_at_least, assert_below
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from celery import Celery

    from tests.services.received import ReceivedSpans

BUSY = 0.6
"""How long a worker is kept busy, in seconds."""


@pytest.fixture(
    scope="module", params=["prefork", *(pytest.param(pool, marks=pytest.mark.long) for pool in ("threads", "solo"))]
)
def busy_queue(request: pytest.FixtureRequest, broker: str, receiver_process: ReceivedSpans) -> Iterator[str]:
    """The queue of a worker that executes one task at a time."""
    name = f"waits-{request.param}"
    with running_worker(broker, receiver_process, name, "-c", "1", pool=request.param):
        yield name


def parts(attributes: Any) -> tuple[float, float]:
    """How long a task has waited in the broker and in the worker, in seconds."""
    held = attributes["causal.prefetch.wait"]
    return attributes["causal.queue.wait"] - held, held


def test_task_behind_a_long_one(busy_queue: str, receiver: ReceivedSpans) -> None:
    """A task that a busy worker has received waits there; the solo pool receives nothing while it is busy."""
    with recording(["celery"]) as recorded:
        celery_app.occupy.apply_async((BUSY,), queue=busy_queue)
        result = celery_app.add.apply_async((1, 2), queue=busy_queue)
        assert result.get(timeout=60) == 3
        send = recorded.only("send tests.add")
    [executed] = executions(receiver, send, 1)
    in_broker, in_worker = parts(assert_span(executed, send))
    if busy_queue == "waits-solo":
        in_broker, in_worker = in_worker, in_broker
    assert_at_least(0.8 * BUSY, in_worker)  # less where it came only when that was almost over
    assert_below(in_worker / 3, in_broker)


@pytest.mark.parametrize("skew", [60, -60], ids=["fast", "slow"])
def test_clock_of_the_sender_is_wrong(busy_queue: str, receiver: ReceivedSpans, skew: float) -> None:
    """The wait in the worker is right whatever the sender's clock says, and the whole is never less than that."""
    trace_id = secrets.token_hex(16)
    sent: dict[str, Any] = {"traceparent": f"00-{trace_id}-{1:016x}-01", "causal-published": time.time() + skew}
    celery_app.occupy.apply_async((BUSY,), queue=busy_queue)
    assert celery_app.add.apply_async((1, 2), queue=busy_queue, headers=sent).get(timeout=60) == 3
    [executed] = receiver.wait_for(bool, trace_id=trace_id)
    in_broker, in_worker = parts(executed["attributes"])
    if busy_queue != "waits-solo":
        assert_at_least(0.8 * BUSY, in_worker)  # less where it came only when that was almost over
    assert in_broker == pytest.approx(0, abs=1e-6) if skew > 0 else in_broker >= -skew


def test_nobody_is_there_to_execute_it(broker: str, receiver: ReceivedSpans) -> None:
    """A task that was sent before its worker has started waited in the broker."""
    with recording(["celery"]) as recorded:
        result = celery_app.add.apply_async((1, 2), queue="waits-nobody")
        send = recorded.only()
    time.sleep(0.3)  # what it waits at the least
    with running_worker(broker, receiver, "waits-nobody", pool="solo"):
        assert result.get(timeout=60) == 3
        [executed] = executions(receiver, send, 1)
    in_broker, in_worker = parts(assert_span(executed, send))
    assert in_broker >= 0.3
    assert_below(in_broker / 3, in_worker)


def test_countdown_is_no_wait(busy_queue: str, receiver: ReceivedSpans) -> None:
    """A worker that holds a task until it is due, and is busy then, has held it back since it was due."""
    with recording(["celery"]) as recorded:
        result = celery_app.add.apply_async((1, 2), queue=busy_queue, countdown=1)
        assert result.get(timeout=60) == 3
        send = recorded.only()
    [executed] = executions(receiver, send, 1)
    found = assert_span(executed, send)
    due = datetime.fromisoformat(found["celery.task.eta"]).timestamp()
    in_broker, in_worker = parts(found)
    assert send.start_time
    assert executed["start"] - send.start_time >= 0.9e9
    assert in_broker == pytest.approx(0, abs=1e-6)
    assert_below(0.1, abs(in_worker - max(0.0, executed["start"] / 1e9 - due)))


def test_queue_wait_of_a_naive_eta_and_a_fast_clock(local: Celery) -> None:
    """An eta without a time zone is in the app's, one that is no time tells nothing, and no clock makes it negative."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    def waited(eta: str | None, published: float) -> Any:
        with recording(["celery"]) as recorded:
            execute(work, eta=eta, **{"causal-published": published})
        return assert_span(recorded.only(), None).get("causal.queue.wait")

    local.conf.update(timezone="Asia/Tokyo")
    now = datetime.now(UTC)
    tokyo = (now + timedelta(hours=9) - timedelta(seconds=5)).replace(tzinfo=None).isoformat()
    for eta, published, expected in [
        (tokyo, time.time() - 60, 5.0),
        (None, time.time() + 60, 0.0),
        (now.isoformat(), time.time() + 60, 0.0),
    ]:
        found = waited(eta, published)
        assert found >= 0
        assert expected - 1 <= found <= expected + 1 + time.time() - now.timestamp()  # a busy machine may be late
    assert waited("soon", time.time()) is None


def test_what_a_worker_tells_of_a_request_is_what_it_was(local: Celery) -> None:
    """``inspect()`` shows of a task's delivery what Celery has put there, and nothing of ours."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    def received() -> Request:
        headers = {"id": "1", "task": work.name, "lang": "py", "argsrepr": "()", "kwargsrepr": "{}"}
        body: Any = ((), {}, {})
        message = Message(body=body, headers=headers, delivery_info={"routing_key": "q"}, channel=None)
        return Request(message, app=local, task=work, headers=headers, body=body, decoded=True)

    before = received().info()
    with recording(["celery"]):
        assert received().info() == before
