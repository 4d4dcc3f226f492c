"""Tasks that run in this process, eagerly or as in a worker: their parent, their outcome, the context after."""

from __future__ import annotations

import contextvars
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Ignore
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind

from causal_otel.engine.context import attach, current
from tests.patches import celery_app
from tests.patches.celery_local import ERROR_MESSAGE, SECRET, STALE, execute
from tests.recording import recording
from tests.span_relations import assert_span, seconds

if TYPE_CHECKING:
    from celery import Celery


@pytest.mark.parametrize("call", ["apply", "always_eager"])
def test_eager_task_is_a_child_of_its_caller(local: Celery, call: str) -> None:
    """Without a message there is one span, current in the task, below whatever calls it."""
    inside: list[Any] = []

    @local.task(shared=False, name="local.look")
    def look() -> None:
        inside.append(trace.get_current_span().get_span_context())

    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("request"):
            before = current()
            if call == "apply":
                look.apply(headers={"traceparent": STALE})
            else:
                local.conf.task_always_eager = True
                look.delay()
            assert current() is before
        executed = recorded.only("process local.look")
        assert recorded.names() == ["process local.look", "request"]
    assert inside == [executed.context]
    assert executed.kind is SpanKind.CONSUMER
    request = recorded.spans[-1]
    found = assert_span(executed, request, within=seconds(request))
    assert found["messaging.system"] == "celery"
    assert found["celery.task.state"] == "SUCCESS"
    assert "causal.queue.wait" not in found


@pytest.mark.parametrize("throw", [True, False])
def test_failing_eager_task_is_an_error(local: Celery, throw: bool) -> None:
    """A failing eager task is an error, whether its exception reaches the caller or the result."""
    error = LookupError(ERROR_MESSAGE)

    @local.task(shared=False, name="local.fail")
    def fail() -> None:
        raise error

    with recording(["celery"]) as recorded:
        if throw:
            with pytest.raises(LookupError) as caught:
                fail.apply(throw=True)
            assert caught.value is error
        else:
            assert fail.apply().state == "FAILURE"
        executed = recorded.only()
    assert assert_span(executed, None, error="LookupError")["celery.task.state"] == "FAILURE"
    assert executed.status.description == "LookupError"
    [event] = executed.events
    assert event.attributes
    assert event.attributes["exception.type"] == "LookupError"
    assert ".fail\n" in str(event.attributes["exception.stacktrace"])
    assert SECRET not in executed.to_json()


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt()])
def test_eager_task_that_exits_is_an_error(local: Celery, raised: BaseException) -> None:
    """A task that ends by SystemExit or an interrupt has failed, and what it raised goes through the caller."""

    @local.task(shared=False, name="local.leave")
    def leave() -> None:
        raise raised

    with recording(["celery"]) as recorded:
        before = current()
        with pytest.raises(type(raised)) as caught:
            leave.apply()
        assert caught.value is raised
        assert current() is before
        executed = recorded.only()
    assert_span(executed, None, error=type(raised).__name__)
    assert [event.name for event in executed.events] == ["exception"]


@pytest.mark.parametrize("raised", [Ignore(), celery_app.Expected()])
def test_eager_task_left_otherwise_is_no_error(local: Celery, raised: BaseException) -> None:
    """What is no failure ends the span with its status unset, on its way through the caller as well."""

    @local.task(shared=False, name="local.leave", throws=(celery_app.Expected,))
    def leave() -> None:
        raise raised

    with recording(["celery"]) as recorded:
        before = current()
        if isinstance(raised, Ignore):
            leave.apply()
        else:
            with pytest.raises(type(raised)):
                leave.apply(throw=True)
        assert current() is before
        assert_span(recorded.only(), None)


def test_eager_task_applied_while_an_exception_is_handled(local: Celery) -> None:
    """The exception that the caller is handling is not the task's."""

    @local.task(shared=False, name="local.work")
    def work() -> int:
        return 1

    with recording(["celery"]) as recorded:
        try:
            raise LookupError
        except LookupError:
            assert work.apply().get() == 1
        assert_span(recorded.only(), None)


def test_eager_tasks_nest_and_retry(local: Celery) -> None:
    """An eager task within one is its child, and its attempts are their caller's children."""

    @local.task(shared=False, name="local.inner", bind=True, max_retries=3)
    def inner(self: Any) -> int:
        if not self.request.retries:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    @local.task(shared=False, name="local.outer")
    def outer() -> int:
        return int(inner.apply().get(disable_sync_subtasks=False))

    with recording(["celery"]) as recorded:
        assert outer.apply().get(disable_sync_subtasks=False) == 1
        first, second = (span for span in recorded.spans if span.name == "process local.inner")
        parent = recorded.only("process local.outer")
    assert_span(parent, None)
    states = [assert_span(span, parent)["celery.task.state"] for span in (first, second)]
    assert states == ["RETRY", "SUCCESS"]


def test_request_can_be_copied_inside_a_task(local: Celery) -> None:
    """A task may copy, deep-copy and pickle its request as before; the span is not part of the copy."""
    copies: list[Any] = []

    @local.task(shared=False, name="local.copies", bind=True)
    def make(self: Any) -> None:
        copies.append(copy.deepcopy(self.request))
        copies.append(pickle.loads(pickle.dumps(vars(self.request))))

    with recording(["celery"]) as recorded:
        assert make.apply().state == "SUCCESS"
        assert_span(recorded.only("process local.copies"), None)
    assert copies[0].id == copies[1]["id"]


def test_parent_comes_from_the_wire_only(local: Celery) -> None:
    """What is current in the worker is nobody's parent: not around the message's own parent, and not without one."""
    inside: list[Any] = []

    @local.task(shared=False, name="local.look")
    def look() -> None:
        inside.append((trace.get_current_span().get_span_context(), baggage.get_all()))

    with recording(["celery"]) as recorded:
        with recorded.tracer.start_as_current_span("ambient"):
            activation = attach(baggage.set_baggage("ambient", "yes"))
            execute(look, traceparent=STALE)
            execute(look)
            activation.end()
        remote, root = (span for span in recorded.spans if span.name == "process local.look")
    _, trace_id, span_id, _ = STALE.split("-")
    assert_span(remote, trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True))
    assert_span(root, None)
    assert inside == [(remote.context, {}), (root.context, {})]


def test_context_left_behind_by_a_task(local: Celery) -> None:
    """A task that leaves something current spoils neither its own span nor the next task's parent."""

    @local.task(shared=False, name="local.careless")
    def careless() -> None:
        attach(trace.set_span_in_context(trace.NonRecordingSpan(trace.get_current_span().get_span_context())))

    def run() -> None:
        execute(careless)
        execute(careless)

    with recording(["celery"]) as recorded:
        contextvars.copy_context().run(run)
        first, second = recorded.spans
    assert_span(first, None)
    assert_span(second, None)


def test_exit_of_the_worker_inside_a_task(local: Celery) -> None:
    """SystemExit, as a worker's end raises it too, is an error of the attempt, and the context is restored."""

    @local.task(shared=False, name="local.leave")
    def leave() -> None:
        raise SystemExit(3)

    with recording(["celery"]) as recorded:
        before = current()
        with pytest.raises(SystemExit):
            execute(leave)
        assert current() is before
        executed = recorded.only()
    assert_span(executed, None, error="SystemExit")
