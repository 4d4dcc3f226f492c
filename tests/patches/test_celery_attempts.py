"""One span around each attempt: how it ends, and that all code around a task is inside."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task, signals
from celery.app import trace as tracers
from celery.exceptions import Ignore, Reject, Retry
from celery.worker import state
from celery.worker.request import Request
from opentelemetry import trace

from causal_otel.engine.context import current
from causal_otel.patches.celery.attempt import ATTEMPT, Attempt
from tests.patches.celery_local import ERROR_MESSAGE, SECRET, execute
from tests.recording import recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    AnyTask = Task[..., Any]
else:
    AnyTask = Task  # before Celery 5.7 the class cannot be subscripted


@pytest.mark.parametrize("early", [True, False], ids=["connected before", "connected after"])
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_all_code_around_a_task_sees_its_span(
    local: Celery, caplog: pytest.LogCaptureFixture, early: bool, fails: bool
) -> None:
    """Receivers of signals, the task's own methods and what Celery logs: all have the attempt's span current."""
    seen: dict[str, int] = {}

    def see(where: str) -> None:
        seen[where] = trace.get_current_span().get_span_context().span_id

    class Watched(AnyTask):
        def before_start(self, *_: Any) -> None:
            see("before_start")

        def on_success(self, *_: Any) -> None:
            see("on_success")

        def on_failure(self, *_: Any) -> None:
            see("on_failure")

        def after_return(self, *_: Any) -> None:
            see("after_return")

    @local.task(shared=False, name="local.work", base=Watched)
    def work() -> None:
        see("run")
        if fails:
            raise ValueError("no")

    def receive(signal: Any, **_: Any) -> None:
        see(signal.name)

    wanted = [signals.task_prerun, signals.task_postrun, signals.task_success, signals.task_failure]

    def connect() -> None:
        for signal in wanted:
            signal.connect(receive, sender=work)

    class Log(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            see("log")

    logger, handler = logging.getLogger("celery.app.trace"), Log()
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(handler)
    try:
        if early:
            connect()
        with recording(["celery"]) as recorded:
            if not early:
                connect()
            execute(work)
            executed = recorded.only()
    finally:
        logger.removeHandler(handler)
        for signal in wanted:
            signal.disconnect(receive, sender=work)
    assert_span(executed, None, error="ValueError" if fails else None)
    outcome = {"on_failure", "task_failure"} if fails else {"on_success", "task_success"}
    assert seen.keys() == {"before_start", "run", "after_return", "task_prerun", "task_postrun", "log"} | outcome
    assert set(seen.values()) == {executed.context.span_id}


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        ({"exc": ConnectionError("again")}, "ConnectionError"),
        ({"message": f"busy: {ERROR_MESSAGE}"}, "busy: "),
        ({"when": datetime.max.replace(tzinfo=UTC)}, None),
    ],
    ids=["exception", "text", "neither"],
)
def test_retry_says_why_and_when(local: Celery, raised: dict[str, Any], reason: str | None) -> None:
    """An attempt that is retried is no error, tells the exception or else the text, redacted, and when it is due."""

    @local.task(shared=False, name="local.again")
    def again() -> None:
        raise Retry(**{"when": 60, **raised})

    with recording(["celery"]) as recorded:
        began = datetime.now(UTC)
        execute(again)
        ended = datetime.now(UTC)
        executed = recorded.only()
    found = assert_span(executed, None)
    assert found["celery.task.state"] == "RETRY"
    assert str(found.get("celery.task.retry.reason", "")).startswith(reason or "")
    assert ("celery.task.retry.reason" in found) is (reason is not None)
    assert SECRET not in executed.to_json()
    due = datetime.fromisoformat(found["celery.task.retry.eta"])
    if "when" in raised:
        assert due == raised["when"]
    else:
        assert began + timedelta(seconds=60) <= due <= ended + timedelta(seconds=60)


@pytest.mark.parametrize("requeue", [True, False])
def test_reject_says_whether_it_asks_for_another_delivery(local: Celery, requeue: bool) -> None:
    """An attempt that rejects its message is no error."""

    @local.task(shared=False, name="local.reject")
    def reject() -> None:
        raise Reject("unwanted", requeue=requeue)

    with recording(["celery"]) as recorded:
        execute(reject)
        found = assert_span(recorded.only(), None)
    assert found["celery.task.state"] == "REJECTED"
    assert found["celery.task.reject.requeue"] is requeue


@pytest.mark.parametrize("raised", [MemoryError("full"), SystemExit(3), KeyboardInterrupt()])
def test_what_leaves_the_tracer_is_the_attempts_failure(local: Celery, raised: BaseException) -> None:
    """What Celery itself does not catch is recorded, and goes on as the very object that it was."""

    class Leaving(AnyTask):
        def on_success(self, *_: Any) -> None:
            raise raised

    @local.task(shared=False, name="local.leave", base=Leaving)
    def leave() -> None: ...

    with recording(["celery"]) as recorded:
        before = current()
        with pytest.raises(type(raised)) as caught:
            execute(leave)
        assert caught.value is raised
        assert current() is before
        executed = recorded.only()
    found = assert_span(executed, None, error=type(raised).__name__)
    assert found["celery.task.state"] == "FAILURE"
    assert [event.name for event in executed.events] == ["exception"]


@pytest.mark.parametrize(
    ("raised", "state"), [(Retry("later"), "RETRY"), (Reject("no"), "REJECTED"), (Ignore(), "IGNORED")]
)
def test_ways_to_end_that_propagate(local: Celery, raised: Exception, state: str) -> None:
    """Where the caller of an eager task is shown what left it, that is no failure either."""

    @local.task(shared=False, name="local.leave")
    def leave() -> None:
        raise raised

    with recording(["celery"]) as recorded:
        if isinstance(raised, Retry):
            with pytest.raises(Retry) as caught:
                leave.apply(throw=True)
            assert caught.value is raised
        else:
            leave.apply(throw=True)
        assert assert_span(recorded.only(), None)["celery.task.state"] == state


def test_error_inside_celery_is_the_attempts_failure(local: Celery) -> None:
    """A message that Celery cannot execute at all, which it tells of as an internal error, is a failed attempt."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    with recording(["celery"]) as recorded:
        tracer: Any = tracers.build_tracer(work.name, work, app=local)
        with pytest.warns(RuntimeWarning, match="outside body"):
            tracer("1", [], None, {"id": "1"})
        executed = recorded.only()
    error = "celery.exceptions.InvalidTaskError"
    assert assert_span(executed, None, error=error)["celery.task.state"] == "FAILURE"


def test_task_that_has_succeeded_before_is_ignored(local: Celery) -> None:
    """With ``worker_deduplicate_successful_tasks``, a message that is delivered again after a success runs nothing."""
    local.conf.update(worker_deduplicate_successful_tasks=True, task_acks_late=True)
    local.backend.persistent = True

    @local.task(shared=False, name="local.work")
    def work() -> None:
        raise AssertionError("it has run")

    state.successful_requests.add("1")
    try:
        with recording(["celery"]) as recorded:
            execute(work, delivery_info={"routing_key": "celery", "redelivered": True})
            found = assert_span(recorded.only(), None)
    finally:
        state.successful_requests.discard("1")
    assert (found["celery.task.state"], found["celery.task.redelivered"]) == ("IGNORED", True)


def test_attempt_is_part_of_the_tasks_context(local: Celery) -> None:
    """What a task publishes can tell which attempt it is inside, recorded or not, and nothing stays after it."""
    seen: list[Attempt] = []

    @local.task(shared=False, name="local.look")
    def look() -> None:
        seen.append(current()[ATTEMPT])  # type: ignore[arg-type]

    with recording(["celery"]) as recorded:
        execute(look, id="7")
        execute(look, id="8", traceparent=f"00-{1:032x}-{1:016x}-00")
        executed = recorded.only()
        assert ATTEMPT not in current()
    assert [(attempt.name, attempt.request["id"]) for attempt in seen] == [("local.look", "7"), ("local.look", "8")]
    assert [attempt.running is None for attempt in seen] == [False, True]
    assert_span(executed, None)


def test_nothing_of_ours_is_in_the_tasks_request() -> None:
    """The time of receipt, which the main process adds to a request, is gone when the task sees it."""
    seen: list[Any] = []
    app = Celery("memory", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = "looks"  # the process has one such broker, whatever app it is of

    @app.task(shared=False, name="local.look", bind=True)
    def look(self: Any) -> None:
        seen.append(
            (
                self.request.headers,
                {key for key in (*vars(self.request), *self.request.delivery_info) if "causal" in key},
            )
        )

    look.delay()
    with recording(["celery"]) as recorded, app.connection_for_read() as connection, connection.channel() as channel:
        message = app.amqp.queues["looks"].bind(channel).get(no_ack=True)
        assert message is not None
        received = Request(message, app=app)
        assert "causal-received" in received.request_dict["delivery_info"]
        received.execute()
        found = assert_span(recorded.only(), None)
    assert found["causal.prefetch.wait"] >= 0
    assert "causal.queue.wait" not in found
    assert seen == [(None, set())]
