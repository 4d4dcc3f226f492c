"""The patch for taskiq where sender and receiver are one process: what is current where, outcomes, hooks, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import get_current_span
from taskiq import InMemoryBroker, ScheduleSource, TaskiqMiddleware, TaskiqScheduler
from taskiq.exceptions import NoResultError
from taskiq.kicker import AsyncKicker
from taskiq.receiver import Receiver
from taskiq.scheduler.scheduled_task import ScheduledTask

import causal_otel
from causal_otel.engine.context import current
from causal_otel.patches.taskiq import TaskiqOptions
from tests.metrics.measuring import measured
from tests.recording import Recording, recording
from tests.span_relations import assert_span

PATCHES = ["taskiq"]
PAUSE = 0.3


class _Tracing(TaskiqMiddleware):
    """Makes a span in each of its methods; a coroutine or not."""

    async def pre_send(self, message: Any) -> Any:
        with causal_otel.span("pre_send"):
            return message

    def post_send(self, message: Any) -> None:
        with causal_otel.span("post_send"):
            pass

    def on_error(self, message: Any, result: Any, exception: BaseException) -> None:
        with causal_otel.span("on_error"):
            pass

    async def post_execute(self, message: Any, result: Any) -> None:
        with causal_otel.span("post_execute"):
            pass


def _run(function: Callable[[], Awaitable[Any]], *middlewares: TaskiqMiddleware, name: str = "task") -> Any:
    """Send ``function`` as a task that is executed at once; what its result says."""

    async def main() -> Any:
        broker = InMemoryBroker(await_inplace=True)
        broker.add_middlewares(*middlewares)
        task = broker.register_task(function, name)
        before = current()
        sent = await task.kiq()
        assert current() is before, "something is left behind"
        await broker.shutdown()
        return await sent.get_result()

    return asyncio.run(main())


async def _fail() -> None:
    raise ValueError("no")


async def _pass() -> None:
    pass


def test_middlewares_see_the_spans_around_them(recorded: Recording) -> None:
    """Those of the sender are inside of the sending, ``on_error`` is in the attempt, and what follows is below it."""
    with recorded.tracer.start_as_current_span("request"):
        assert _run(_fail, _Tracing()).is_err
    request, send, attempt = (recorded.only(name) for name in ("request", "send task", "process task"))
    assert_span(send, request)
    assert_span(attempt, send.context, error="ValueError")
    for name, parent in {"pre_send": send, "post_send": send, "on_error": attempt}.items():
        assert_span(recorded.only(name), parent)
    assert_span(recorded.only("post_execute"), attempt.context)


def test_an_attempt_lasts_as_long_as_its_task(recorded: Recording) -> None:
    """What the task has waited is in the attempt; what it makes is below that."""

    async def work() -> None:
        with causal_otel.span("work"):
            await asyncio.sleep(PAUSE)

    began = perf_counter()
    _run(work)
    took = perf_counter() - began
    attempt = recorded.only("process task")
    found = assert_span(attempt, recorded.only("send task").context, lasts=0.8 * PAUSE, within=took)
    assert found["messaging.system"] == "taskiq"
    assert "messaging.destination.name" not in found
    assert_span(recorded.only("work"), attempt, lasts=0.8 * PAUSE)


def test_no_result_is_no_error(recorded: Recording) -> None:
    """A task that wants its result not to be kept has not failed."""

    async def main() -> None:
        broker = InMemoryBroker(await_inplace=True)

        @broker.task(task_name="task")
        async def task() -> None:
            raise NoResultError

        await task.kiq()
        await broker.shutdown()

    asyncio.run(main())
    assert_span(recorded.only("process task"), recorded.only("send task").context)


def test_a_cancelled_task_is_marked_so(recorded: Recording) -> None:
    """Cancellation is no error, though taskiq keeps it as the task's exception."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert _run(cancelled).is_err
    assert_span(recorded.only("process task"), recorded.only("send task").context, cancelled=True)


def test_leaving_the_program_is_a_failure(recorded: Recording) -> None:
    """A worker goes on after a task's ``SystemExit``, so that is an error like any other."""

    async def leave() -> None:
        raise SystemExit(3)

    assert _run(leave).is_err
    assert_span(recorded.only("process task"), recorded.only("send task").context, error="SystemExit")


class _Schedules(ScheduleSource):
    """Keeps them in memory."""

    def __init__(self) -> None:
        self.kept: list[ScheduledTask] = []

    async def get_schedules(self) -> list[ScheduledTask]:
        return self.kept

    async def add_schedule(self, schedule: ScheduledTask) -> None:
        self.kept.append(schedule)


def test_scheduling_writes_nothing(recorded: Recording) -> None:
    """A schedule has the labels that it was given: it may be fired for years after the request that made it."""
    schedules = _Schedules()

    async def main() -> None:
        broker = InMemoryBroker()
        task = broker.register_task(_fail, "task", tenant="acme")
        with recorded.tracer.start_as_current_span("request"):
            await task.schedule_by_time(schedules, datetime.now(UTC))
        await broker.shutdown()

    asyncio.run(main())
    assert [schedule.labels for schedule in schedules.kept] == [{"tenant": "acme"}]
    assert recorded.names() == ["request"]


def test_a_retry_that_was_scheduled_stays_in_the_trace(recorded: Recording) -> None:
    """Whoever sends it has no span, and goes on with the trace of the message before."""
    from taskiq import SmartRetryMiddleware

    schedules = _Schedules()

    async def main() -> None:
        broker = InMemoryBroker(await_inplace=True)
        broker.add_middlewares(SmartRetryMiddleware(default_retry_label=True, schedule_source=schedules))
        await broker.register_task(_fail, "task").kiq()
        assert_span(recorded.only("send task"), None)
        await TaskiqScheduler(broker, [schedules]).on_ready(schedules, schedules.kept[0])
        await broker.shutdown()

    asyncio.run(main())
    again, first = sorted(
        (span for span in recorded.spans if span.name == "send task"), key=lambda span: not span.parent
    )
    attempt, second = (span for span in recorded.spans if span.name == "process task")
    assert assert_span(attempt, first.context)["taskiq.task.retry.reason"] == "ValueError"
    assert_span(again, first.context)
    assert assert_span(second, again.context)["taskiq.task.retries"] == 1


def test_a_kicker_may_be_used_again(recorded: Recording) -> None:
    """Of messages from one kicker, at once, each carries its own sending; the kicker's labels stay as they are."""

    async def main() -> None:
        broker = InMemoryBroker()
        kicker = broker.register_task(_pass, "task", tenant="acme").kicker()
        await asyncio.gather(*(kicker.kiq() for _ in range(3)))
        await broker.wait_all()
        assert kicker.labels == {"tenant": "acme"}
        await broker.shutdown()

    asyncio.run(main())
    sent = {span.context.span_id: span for span in recorded.spans if span.name == "send task"}
    attempts = [span for span in recorded.spans if span.name == "process task"]
    assert len(sent) == 3
    assert sent.keys() == {span.parent.span_id for span in attempts if span.parent is not None}
    for span in (*sent.values(), *attempts):
        assert_span(span, None if span.parent is None else sent[span.parent.span_id].context)


def test_hooks_get_taskiq_s_objects() -> None:
    """Of the sender its kicker, of the worker its receiver, with what they were called with and what came of it."""
    seen: list[tuple[Any, ...]] = []
    options = TaskiqOptions(
        request_hook=lambda span, *objects: seen.append(objects),
        response_hook=lambda span, *objects: seen.append(objects),
    )
    with recording({"taskiq": options}) as recorded:
        error = _run(_fail).error
        assert_span(recorded.only("process task"), recorded.only("send task").context, error="ValueError")
    (kicker, *_), (receiver, args, kwargs), ended, sent = seen
    assert (type(kicker), type(receiver), args) == (AsyncKicker, Receiver, ())
    assert kwargs["message"].task_name == "task"
    assert ended[-1] is error
    assert sent[-1].task_id == kwargs["message"].task_id


@pytest.mark.parametrize("setting", ["TRACING_EXCLUDED_TASKS", "option"])
def test_excluded_tasks(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing inside of a task that is excluded is recorded, by the setting for all queues or the patch's option."""
    seen = []

    async def work() -> None:
        with causal_otel.span("work"):
            seen.append(get_current_span().get_span_context().trace_flags.sampled)

    options = TaskiqOptions(excluded=("TASK*",))
    if setting != "option":
        monkeypatch.setenv(setting, "task")
        options = TaskiqOptions()
    with recording({"taskiq": options}) as recorded:
        _run(work, _Tracing())  # which makes spans around it, before and after
        assert recorded.spans == []
        _run(work, name="other")
        assert_span(recorded.only("process other"), recorded.only("send other").context)
    assert seen == [False, True]


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])
def test_metrics(sampler: Sampler) -> None:
    """Sending, processing and the wait between are measured by task, whether or not spans are recorded."""
    with measured(PATCHES, sampler) as found:
        with found.tracer.start_as_current_span("request"):
            _run(_fail)
        sent_by, sent = found.only("messaging.client.operation.duration")
        processed_by, processed = found.only("messaging.process.duration")
        _, waited = found.only("causal.queue.wait")
    common = {"messaging.system": "taskiq", "taskiq.task.name": "task"}
    send = {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    assert (sent_by, sent.count) == (common | send, 1)
    failed = {"messaging.operation.name": "process", "error.type": "ValueError"}
    assert (processed_by, processed.count) == (common | failed, 1)
    assert 0 < processed.sum <= sent.sum
    assert waited.count == 1


def test_uninstalling_leaves_taskiq_as_it_was() -> None:
    """Every method that was replaced is the very one again."""
    before = AsyncKicker.kiq, AsyncKicker._prepare_message, Receiver.run_task, Receiver.callback, Receiver.prefetcher
    with recording(PATCHES):
        assert AsyncKicker.kiq is not before[0]
    after = AsyncKicker.kiq, AsyncKicker._prepare_message, Receiver.run_task, Receiver.callback, Receiver.prefetcher
    assert all(one is other for one, other in zip(before, after, strict=True))
