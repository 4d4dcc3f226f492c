"""Who waited for a task, told by the spans of real programs on every primitive of asyncio and anyio."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import uvloop

from causal_otel.causality.task_edges import TaskNumbers, waiting_task
from causal_otel.names import CAUSAL_TASK, CAUSAL_TASK_NAME, CAUSAL_TASK_UNAWAITED, CAUSAL_TASK_WAITER

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Tracer

_LONG = 0.004
"""Seconds that a span takes which tells its task."""

Work = Callable[[], Coroutine[Any, Any, None]]


async def _await(work: Work) -> None:
    await asyncio.create_task(work())


async def _gather(work: Work) -> None:
    await asyncio.gather(work(), asyncio.sleep(0))


async def _gather_in_gather(work: Work) -> None:
    await asyncio.gather(asyncio.gather(work()), asyncio.sleep(0))


async def _task_group(work: Work) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work())


async def _wait(work: Work) -> None:
    await asyncio.wait([asyncio.create_task(work())])


async def _wait_for_a_task(work: Work) -> None:
    await asyncio.wait_for(asyncio.create_task(work()), 60)


async def _as_completed(work: Work) -> None:
    for each in asyncio.as_completed([work()]):
        await each


async def _shield(work: Work) -> None:
    await asyncio.shield(work())


async def _shield_in_gather(work: Work) -> None:
    await asyncio.gather(asyncio.shield(work()))


async def _anyio(work: Work) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(work)


WAYS: dict[str, Callable[[Work], Awaitable[None]]] = {
    "await": _await,
    "gather": _gather,
    "gather in gather": _gather_in_gather,
    "TaskGroup": _task_group,
    "wait": _wait,
    "wait_for": _wait_for_a_task,
    "as_completed": _as_completed,
    "shield": _shield,
    "shield in gather": _shield_in_gather,
    "anyio": _anyio,
}
LOOPS: dict[str, Callable[[Coroutine[Any, Any, Any]], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine on a loop of each kind."""
    return LOOPS[request.param]


def _told(exporter: InMemorySpanExporter, name: str) -> dict[str, Any]:
    """What a span tells of its task."""
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name]
    keys = (CAUSAL_TASK, CAUSAL_TASK_WAITER, CAUSAL_TASK_UNAWAITED, CAUSAL_TASK_NAME)
    return {key: value for key, value in (span.attributes or {}).items() if key in keys}


@pytest.mark.parametrize("way", WAYS)
def test_who_waited(way: str, run: Callable[[Any], Any], tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A task's last span tells its number and that of the task that waited for it, whatever it waited by."""

    async def work() -> None:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(_LONG)

    async def main() -> None:
        with tracer.start_as_current_span("root"):
            await WAYS[way](work)

    run(main())
    told = _told(exporter, "work")
    assert told.pop(CAUSAL_TASK) > 1
    assert told.pop(CAUSAL_TASK_NAME, "").endswith("work") == (way == "anyio")  # which names its tasks
    assert told == {CAUSAL_TASK_WAITER: 1}
    assert _told(exporter, "root") == {}


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("way", WAYS)
    def test_eager_tasks(way: str, tracer: Tracer, exporter: InMemorySpanExporter) -> None:
        """The same of tasks that begin before whoever has made them goes on."""

        async def work() -> None:
            with tracer.start_as_current_span("work"):
                await asyncio.sleep(_LONG)

        async def main() -> None:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
            with tracer.start_as_current_span("root"):
                await WAYS[way](work)

        asyncio.run(main())
        assert _told(exporter, "work").get(CAUSAL_TASK_WAITER) == 1


def test_in_its_own_task_it_tells_nothing(
    run: Callable[[Any], Any], tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    """Spans in the task of their local root have no number, and calls with a timeout in the same task neither."""

    async def work() -> None:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(_LONG)

    async def main() -> None:
        with tracer.start_as_current_span("root"):
            async with asyncio.timeout(60):
                await work()

    run(main())
    assert _told(exporter, "work") == _told(exporter, "root") == {}


def test_a_root_outside_of_any_loop(run: Callable[[Any], Any], tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """Whoever runs a loop waits for its main task: that is the root's own, and only its tasks have numbers."""

    async def work() -> None:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(_LONG)

    async def main() -> None:
        with tracer.start_as_current_span("main"):
            await asyncio.gather(work())

    with tracer.start_as_current_span("root"):
        run(main())
    assert _told(exporter, "root") == _told(exporter, "main") == {}
    assert _told(exporter, "work") == {CAUSAL_TASK: 2, CAUSAL_TASK_WAITER: 1}


def test_tasks_in_tasks(run: Callable[[Any], Any], tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """Each task has a number of its own, and its waiter is the task between."""

    async def inner() -> None:
        with tracer.start_as_current_span("inner"):
            await asyncio.sleep(_LONG)

    async def outer() -> None:
        with tracer.start_as_current_span("outer"):
            await asyncio.gather(inner())

    async def main() -> None:
        with tracer.start_as_current_span("root"):
            await asyncio.gather(outer())

    run(main())
    outside, inside = _told(exporter, "outer"), _told(exporter, "inner")
    assert outside[CAUSAL_TASK_WAITER] == 1
    assert inside[CAUSAL_TASK_WAITER] == outside[CAUSAL_TASK]
    assert len({1, outside[CAUSAL_TASK], inside[CAUSAL_TASK]}) == 3


def test_fire_and_forget(run: Callable[[Any], Any], tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A task that outlives the span that started it, and that nobody waits for then, says so."""
    kept: set[asyncio.Task[None]] = set()
    over = asyncio.Event()

    async def work() -> None:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(_LONG)
        over.set()

    async def main() -> asyncio.Task[None]:
        with tracer.start_as_current_span("root"):
            task = asyncio.create_task(work(), name="send the letter")
            kept.add(task)
            task.add_done_callback(kept.discard)
        await over.wait()
        return task

    run(main())
    told = _told(exporter, "work")
    assert told.pop(CAUSAL_TASK) > 1
    assert told == {CAUSAL_TASK_UNAWAITED: True, CAUSAL_TASK_NAME: "send the letter"}


def test_not_forgotten_as_long_as_its_parent_is_open(
    run: Callable[[Any], Any], tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    """A task that is done before somebody awaits it is not called forgotten: it is not known."""
    over = asyncio.Event()

    async def work() -> None:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(_LONG)
        over.set()

    async def main() -> None:
        with tracer.start_as_current_span("root"):
            task = asyncio.create_task(work())
            await over.wait()
            await task

    run(main())
    told = _told(exporter, "work")
    assert told.pop(CAUSAL_TASK) > 1
    assert told == {}


async def _in_a_task_group(work: Work, meanwhile: Work) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        await meanwhile()


async def _in_anyios_task_group(work: Work, meanwhile: Work) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await meanwhile()


@pytest.mark.parametrize("way", [_in_a_task_group, _in_anyios_task_group], ids=["TaskGroup", "anyio"])
def test_a_group_whose_host_does_something_else(
    way: Callable[[Work, Work], Awaitable[None]],
    run: Callable[[Any], Any],
    tracer: Tracer,
    exporter: InMemorySpanExporter,
) -> None:
    """A task that is done before its group's host waits for it has held up nobody: no waiter is told."""
    over = asyncio.Event()

    async def work() -> None:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(_LONG)
        over.set()

    async def main() -> None:
        with tracer.start_as_current_span("root"):
            await way(work, functools.partial(over.wait))  # type: ignore[arg-type]

    run(main())
    told = _told(exporter, "work")
    assert told.pop(CAUSAL_TASK) > 1
    assert CAUSAL_TASK_WAITER not in told
    assert CAUSAL_TASK_UNAWAITED not in told


def test_short_spans_tell_nothing(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A span of less than a millisecond says nothing of its task, however it came to be."""

    async def work() -> None:
        span = tracer.start_span("work", start_time=1_000_000_000)
        span.end(1_000_900_000)

    async def main() -> None:
        with tracer.start_as_current_span("root"):
            await asyncio.create_task(work())

    asyncio.run(main())
    assert _told(exporter, "work") == {}


def test_numbers_are_of_tasks_and_not_of_their_ids() -> None:
    """A task that has got the id of one that is gone has another number, and no task is kept by its number."""

    async def main() -> tuple[int, ...]:
        here = asyncio.current_task()
        assert here is not None
        numbers = TaskNumbers(id(here))
        assert (numbers.of(here), numbers.of(here)) == (1, 1)
        seen = []
        for _ in range(3):
            task = asyncio.create_task(asyncio.sleep(0))
            seen.append(numbers.of(task))
            assert numbers.of(task) == seen[-1]
            gone = weakref.ref(task)
            await task
            del task
            await asyncio.sleep(0)  # its wake-up call holds it until then
            gc.collect()
            assert gone() is None
        return tuple(seen)

    assert asyncio.run(main()) == (2, 3, 4)


def test_nobody_waits() -> None:
    """Callbacks of other kinds are no waiters: functions, methods, partials, and those with cells that are empty."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(60))

        def with_an_empty_cell(_: object) -> None:
            print(late)

        task.add_done_callback(with_an_empty_cell)
        other = asyncio.create_task(asyncio.sleep(60))
        task.add_done_callback(lambda _: other.cancel())
        task.add_done_callback(functools.partial(lambda *_: None, other))
        task.add_done_callback(set().discard)
        task.add_done_callback(lambda _: None)
        assert waiting_task(task) is None
        late = True
        task.cancel()
        other.cancel()

    asyncio.run(main())
