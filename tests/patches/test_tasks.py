"""Tasks of asyncio, uvloop, trio and anyio, fired and forgotten: they stay in the trace in which they were started."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
import uvloop

import causal_otel
from tests.recording import Recording
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from opentelemetry.trace import Span

PATCHES: list[str] = []
"""No patch does this: context variables do."""

eager = getattr(asyncio, "eager_task_factory", None)


async def _eagerly(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.get_running_loop().set_task_factory(eager)
    await main()


def _run_eagerly(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(_eagerly(main))


LOOPS: dict[str, Any] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    **({} if eager is None else {"eager": _run_eagerly}),  # new in Python 3.12
}
BACKENDS: dict[str, Any] = {
    "asyncio": lambda main: anyio.run(main),
    "uvloop": lambda main: anyio.run(main, backend_options={"use_uvloop": True}),
    "trio": lambda main: anyio.run(main, backend="trio"),
}


def _params(table: dict[str, Any]) -> list[Any]:
    return [pytest.param(value, id=name) for name, value in table.items()]


async def late(go_on: Awaitable[Any]) -> None:
    """A task that goes on after the span in which it was started has ended."""
    with causal_otel.span("at once"):
        pass
    await go_on
    with causal_otel.span("late"):
        pass


def assert_in_trace(recorded: Recording, root: Span) -> None:
    """Both spans of the task are children of the root, which has ended before the second began."""
    assert_span(recorded.only("at once"), root)
    found = recorded.only("late")
    assert_span(found, root.get_span_context())
    ended = recorded.only("root").end_time
    assert ended is not None
    assert found.start_time is not None
    assert found.start_time >= ended


@pytest.mark.parametrize("run", _params(LOOPS))
def test_a_task_that_outlives_the_span(recorded: Recording, run: Any) -> None:
    """A task of ``create_task`` that nobody waits for stays in the trace; the span is not stretched, nor is it left."""
    roots: list[Span] = []

    async def main() -> None:
        go_on = asyncio.Event()
        with causal_otel.span("root") as root:
            task = asyncio.create_task(late(go_on.wait()))
            await asyncio.sleep(0)
            assert causal_otel.current_span_id() == f"{root.get_span_context().span_id:016x}"
        go_on.set()
        await task
        assert causal_otel.current_span_id() is None
        roots.append(root)

    run(main)
    assert_in_trace(recorded, roots[0])


@pytest.mark.parametrize("run", _params(LOOPS))
def test_siblings(recorded: Recording, run: Any) -> None:
    """Tasks of ``gather`` and of a ``TaskGroup`` are siblings below the span around them, and change nothing for it."""
    roots: list[Span] = []

    async def one(number: int) -> None:
        with causal_otel.span(f"one {number}"):
            await asyncio.sleep(0)

    async def main() -> None:
        with causal_otel.span("root") as root:
            await asyncio.gather(one(1), one(2))
            async with asyncio.TaskGroup() as group:
                group.create_task(one(3))
                group.create_task(one(4))
            with causal_otel.span("one 5"):
                pass
        roots.append(root)

    run(main)
    for number in range(1, 6):
        assert_span(recorded.only(f"one {number}"), roots[0])


@pytest.mark.parametrize("run", _params(LOOPS))
def test_callbacks(recorded: Recording, run: Any) -> None:
    """``call_soon``, ``call_later`` and a future's callbacks are in the trace in which they were registered."""
    roots: list[Span] = []

    def note(name: str) -> None:
        with causal_otel.span(name):
            pass

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        future = loop.create_future()
        with causal_otel.span("root") as root:
            loop.call_soon(note, "soon")
            loop.call_later(0.001, lambda: (note("later"), done.set()))  # type: ignore[func-returns-value]
            future.add_done_callback(lambda _: note("done"))
        with causal_otel.span("another"):
            future.set_result(None)
            await done.wait()
        roots.append(root)

    run(main)
    for name in ("soon", "later", "done"):
        assert_span(recorded.only(name), roots[0].get_span_context())


@pytest.mark.parametrize("run", _params(BACKENDS))
def test_a_task_of_a_group_that_outlives_the_span(recorded: Recording, run: Any) -> None:
    """One of a task group of anyio, on each of its backends, stays in the trace in which it was started."""
    roots: list[Span] = []

    async def main() -> None:
        go_on = anyio.Event()
        async with anyio.create_task_group() as group:
            with causal_otel.span("root") as root:
                group.start_soon(late, go_on.wait())
                await anyio.wait_all_tasks_blocked()
            go_on.set()
        roots.append(root)

    run(main)
    assert_in_trace(recorded, roots[0])


def test_a_task_of_a_nursery(recorded: Recording) -> None:
    """One of trio's nursery, and a system task, too."""
    roots: list[Span] = []

    async def main() -> None:
        go_on, over = trio.Event(), trio.Event()

        async def system() -> None:
            with causal_otel.span("system"):
                over.set()

        async with trio.open_nursery() as nursery:
            with causal_otel.span("root") as root:
                nursery.start_soon(late, go_on.wait())
                await trio.testing.wait_all_tasks_blocked()
                trio.lowlevel.spawn_system_task(system)
                await over.wait()
            go_on.set()
        roots.append(root)

    trio.run(main)
    assert_in_trace(recorded, roots[0])
    assert_span(recorded.only("system"), None)


@pytest.mark.parametrize("run", _params(LOOPS))
def test_a_job_that_goes_on_after_its_task_was_cancelled(recorded: Recording, run: Any) -> None:
    """A shielded task, whose waiter is cancelled, ends its span later, in the trace."""
    roots: list[Span] = []

    async def main() -> None:
        go_on = asyncio.Event()
        with causal_otel.span("root") as root:
            task = asyncio.create_task(late(go_on.wait()))
            waiter = asyncio.create_task(_shielded(task))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
        go_on.set()
        await task
        roots.append(root)

    run(main)
    assert_in_trace(recorded, roots[0])


async def _shielded(task: asyncio.Task[None]) -> None:
    await asyncio.shield(task)
