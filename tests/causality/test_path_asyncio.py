"""Real programs whose sleeps are known, by asyncio's own loop in virtual time: their path is the known one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest

from causal_otel.causality.critical_path import Until, critical_path
from tests.causality.recorder import Recorder
from tests.causality.traces import path
from tests.causality.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Program = Callable[["Work"], Awaitable[None]]


class Work:
    """What programs are made of."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    async def call(self, name: str, seconds: float, kind: str = "client") -> str:
        """A call of a driver."""
        with self.recorder.span(name, kind):
            await asyncio.sleep(seconds)
        return name

    async def one(self) -> None:
        await self.call("foo1", 4)
        await asyncio.sleep(2)
        await self.call("foo3", 4)

    async def two(self) -> None:
        await self.call("foo2", 5)


def recorded(program: Program, until: Until = "answer") -> str:
    """The path of the program, which runs in a span ``main``."""
    recorder = Recorder()

    async def main() -> None:
        with recorder.span("main", "server"):
            await program(Work(recorder))
        await asyncio.sleep(100)  # what nobody has waited for goes on

    run(main())
    # Where there is no second task no span has a number, and only their order tells.
    return path(critical_path(recorder.trace(), until=until)).replace("~", "")


async def awaited(work: Work) -> None:
    task = asyncio.create_task(work.one())
    await work.call("query", 3)
    await task
    await work.call("last", 1)


async def gathered(work: Work) -> None:
    await asyncio.gather(work.one(), work.two())


async def grouped(work: Work) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work.one())
        group.create_task(work.two())
        await work.call("query", 3)


async def grouped_with_a_longer_body(work: Work) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work.two())
        await work.call("query", 12)


async def waited(work: Work) -> None:
    await asyncio.wait([asyncio.create_task(work.one()), asyncio.create_task(work.two())])


async def waited_for_the_first(work: Work) -> None:
    tasks = [asyncio.create_task(work.one()), asyncio.create_task(work.two())]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await work.call("query", 3)


async def as_completed(work: Work) -> None:
    for ready in asyncio.as_completed([work.call("a", 3), work.call("b", 5), work.call("c", 8)]):
        name = await ready
        await work.call(f"store {name}", 1)


async def as_completed_and_slow(work: Work) -> None:
    for ready in asyncio.as_completed([work.call("a", 3), work.call("b", 5), work.call("c", 8)]):
        name = await ready
        await work.call(f"store {name}", 4)


async def shielded(work: Work) -> None:
    await asyncio.shield(work.one())


async def with_a_timeout(work: Work) -> None:
    await asyncio.wait_for(work.one(), 60)


async def after_a_timeout(work: Work) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work.one(), 5)
    await work.call("query", 3)


async def nested(work: Work) -> None:
    async def outer() -> None:
        await work.call("before", 1)
        await asyncio.gather(work.one(), work.two())
        await work.call("after", 2)

    await asyncio.gather(outer(), work.call("beside", 9))


async def nested_without_spans(work: Work) -> None:
    async def outer() -> None:
        await asyncio.gather(work.one(), work.two())

    await asyncio.gather(outer(), work.call("beside", 9))


async def anyio_group(work: Work) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(work.one)
        group.start_soon(work.two)
        await work.call("query", 3)


async def anyio_groups_in_one_another(work: Work) -> None:
    async def outer() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(work.one)
            group.start_soon(work.two)
        await work.call("after", 2)

    async with anyio.create_task_group() as group:
        group.start_soon(outer)
        group.start_soon(work.call, "beside", 9)


async def collected_in_a_span(work: Work) -> None:
    task = asyncio.create_task(work.two())
    await work.call("query", 3)
    with work.recorder.span("collect"):
        await task
        await asyncio.sleep(1)


async def forgotten(work: Work) -> None:
    work.forgotten = asyncio.create_task(work.call("later", 9))  # type: ignore[attr-defined]
    await work.call("query", 3)


ONE = "foo1 0-4, main 4-6, foo3 6-10"
PROGRAMS: dict[Program, str] = {
    awaited: f"{ONE}, last 10-11",
    gathered: ONE,
    grouped: ONE,
    grouped_with_a_longer_body: "query 0-12",
    waited: ONE,
    waited_for_the_first: "foo2 0-5, query 5-8",
    as_completed: "c 0-8, store c 8-9",
    as_completed_and_slow: "a 0-3, store a 3-7, store b 7-11, store c 11-15",
    shielded: ONE,
    with_a_timeout: ONE,
    after_a_timeout: "foo1 0-4, main 4-5, query 5-8",
    nested: "before 0-1, foo1 1-5, main 5-7, foo3 7-11, after 11-13",
    nested_without_spans: "foo1? 0-4, main 4-6, foo3? 6-10",
    anyio_group: ONE,
    anyio_groups_in_one_another: f"{ONE}, after 10-12",
    collected_in_a_span: "foo2 0-5, collect 5-6",
    forgotten: "query 0-3",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_path_of_a_program(program: Program) -> None:
    """What the program waited for is on its path, by each way in which one task can wait for another."""
    assert recorded(program) == PROGRAMS[program]
