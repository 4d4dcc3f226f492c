"""Workers: processes that answer with whole responses, are few, end when idle, and are killed when too slow."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from causal_otel.collector.heavy.workers import Answer, CannotStart, WorkerLost, Workers
from tests.collector.store.stores import write
from tests.collector.web.sample_traces import shop
from tests.waiting import wait_until

SHOP = "5b8aa5a2d2c872e8321cf37308d69df2"
PATIENCE = 60.0


def request(path: str, query: str = "", **more: Any) -> dict[str, Any]:
    """What is asked of a worker."""
    return {
        "scheme": "http",
        "path": path,
        "query": query,
        "headers": [("host", "127.0.0.1:1"), ("accept", "text/html"), *more.pop("headers", ())],
        "logged_in": False,
        "addresses": {},
        "troubles": [],
        **more,
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A store with a trace."""
    write(tmp_path, [shop(start=time.time_ns() - 10**9)])
    return tmp_path


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is so, while the loop goes on."""
    await asyncio.to_thread(wait_until, condition)


def is_there(pid: int) -> bool:
    """Whether there is such a process."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.asyncio
async def test_a_worker_gives_the_whole_response(directory: Path) -> None:
    """A page, a document and a page that is not there, as the collector itself would answer; one process for all."""
    async with Workers(directory, most=2) as workers:
        assert workers.pids == []
        page = await workers.answer(request(f"/trace/{SHOP}"), SHOP)
        assert page.status == 200
        assert b"POST /checkout" in page.body
        assert (b"content-length", str(len(page.body)).encode()) in page.headers
        assert any(name == b"content-security-policy" for name, _ in page.headers)
        document = await workers.answer(request("/search.json", "lookback=30d"), "/")
        assert SHOP.encode() in document.body
        missing = await workers.answer(request(f"/trace/{'ab' * 16}"), "x")
        assert missing.status == 404
        assert len(workers.pids) == 1


@pytest.mark.asyncio
async def test_what_a_page_is_to_say_comes_with_the_request(directory: Path) -> None:
    """The collector's troubles, its button to log out, and whether the answer may be compressed."""
    async with Workers(directory) as workers:
        troubles = [{"level": "error", "text": "the disk is full", "since": None}]
        plain = await workers.answer(request("/operations", troubles=troubles, logged_in=True), "")
        assert b"the disk is full" in plain.body
        assert b"Log out" in plain.body
        packed = await workers.answer(request("/operations", headers=[("accept-encoding", "gzip")]), "")
        assert (b"content-encoding", b"gzip") in packed.headers
        assert b"the disk is full" not in packed.body


@pytest.mark.long
@pytest.mark.asyncio
async def test_there_are_few_and_those_who_know_are_asked_again(directory: Path) -> None:
    """However many ask at once, no more than so many processes; the one that has answered the same is chosen."""
    async with Workers(directory, most=2) as workers:
        answers = await asyncio.gather(*(workers.answer(request("/operations"), str(n)) for n in range(12)))
        assert {each.status for each in answers} == {200}
        assert len(workers.pids) == 2
        keys = {worker.key: worker for worker in workers._idle}
        for key, worker in keys.items():
            await workers.answer(request("/operations"), key)
            assert workers._idle[-1] is worker


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_worker_ends_when_nobody_needs_it(directory: Path) -> None:
    """After some time of idleness it is gone; the next request starts another one."""
    async with Workers(directory, idle_seconds=0.05) as workers:
        await workers.answer(request("/operations"), "")
        await until(lambda: not workers.pids)
        assert (await workers.answer(request("/operations"), "")).status == 200
    assert workers.pids == []


@pytest.mark.asyncio
async def test_a_worker_is_killed_when_the_caller_leaves(directory: Path) -> None:
    """Though it is in the middle of its work; others are not disturbed."""
    async with Workers(directory, most=1) as workers:
        await workers.answer(request("/operations"), "")
        (pid,) = workers.pids
        os.kill(pid, signal.SIGSTOP)  # it will never answer
        asking = asyncio.create_task(workers.answer(request("/operations"), ""))
        waiting = asyncio.create_task(workers.answer(request("/operations"), ""))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await waiting).status == 200
        await until(lambda: not is_there(pid))


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_worker_is_killed_when_its_time_is_over(directory: Path) -> None:
    """The caller is told, and the next one gets an answer."""
    async with Workers(directory, most=1) as workers:
        await workers.answer(request("/operations"), "")
        (pid,) = workers.pids
        os.kill(pid, signal.SIGSTOP)
        workers.seconds = 0.1
        with pytest.raises(TimeoutError):
            await workers.answer(request("/operations"), "")
        await until(lambda: not is_there(pid))
        workers.seconds = PATIENCE
        assert (await workers.answer(request("/operations"), "")).status == 200


@pytest.mark.long
@pytest.mark.asyncio
async def test_a_worker_that_dies_is_told_and_replaced(directory: Path) -> None:
    """While it works, as one that is killed for its memory does; and while it is idle."""
    async with Workers(directory, most=1) as workers:
        await workers.answer(request("/operations"), "")
        (pid,) = workers.pids
        os.kill(pid, signal.SIGSTOP)
        asking = asyncio.create_task(workers.answer(request("/operations"), ""))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            await asking
        await workers.answer(request("/operations"), "")
        (pid,) = workers.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not workers.pids)
        assert (await workers.answer(request("/operations"), "")).status == 200


@pytest.mark.asyncio
async def test_one_is_ready_while_pages_are_looked_at(directory: Path) -> None:
    """It answers the first request, and another takes its place when it ends; in the end there is none."""
    async with Workers(directory, idle_seconds=0.05) as workers:
        workers.be_ready()
        workers.be_ready()
        await until(lambda: len(workers.pids) == 1)
        (first,) = workers.pids
        assert (await workers.answer(request("/operations"), "/operations")).status == 200
        await until(lambda: not is_there(first))  # it was idle for long enough
        await until(lambda: len(workers.pids) == 1)
        assert workers.pids != [first]
        workers._ready_seconds = 0.0
        workers.be_ready()
        await workers.answer(request("/operations"), "/operations")
        await until(lambda: not workers.pids)


@pytest.mark.asyncio
async def test_a_request_waits_for_the_one_that_is_being_started(directory: Path) -> None:
    """It starts none of its own; one that is not ready in the end is ended with the others."""
    async with Workers(directory) as workers:
        workers.be_ready()
        assert (await workers.answer(request("/operations"), "/operations")).status == 200
        assert len(workers.pids) == 1
    assert workers.pids == []
    async with Workers(directory) as workers:
        workers.be_ready()
    assert workers.pids == []


@pytest.mark.long
@pytest.mark.asyncio
async def test_one_that_ends_of_itself_is_not_replaced_again_and_again(directory: Path) -> None:
    """It has never answered: the next page starts one."""
    async with Workers(directory) as workers:
        workers.be_ready()
        await until(lambda: workers._idle)
        (pid,) = workers.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not workers.pids)
        assert workers._starting is None
        workers.be_ready()
        await until(lambda: workers._idle)


@pytest.mark.asyncio
async def test_where_none_can_be_started_it_is_said(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not there, and one that ends at once."""
    async with Workers(directory) as workers:
        for program in ("/there/is/no/such/program", "/bin/false"):
            monkeypatch.setattr(sys, "executable", program)
            with pytest.raises(CannotStart):
                await workers.answer(request("/operations"), "")
        monkeypatch.undo()
        answer: Answer = await workers.answer(request("/operations"), "")
        assert answer.status == 200
