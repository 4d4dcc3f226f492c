"""What is watched begins and ends with the loops, however they begin and end, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
import wrapt

import causal_otel
from causal_otel._internal import faults
from tests.causality.blocking import nap
from tests.causality.loops import LOOPS, run
from tests.engine.forking import forked
from tests.patches.blocked_loops import GRACE, PATCHES, PLANTED, assert_blocked, blocked, request, watching
from tests.recording import Recording, recording
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span

KINDS = list(LOOPS)


@pytest.fixture
def recorded() -> Iterator[Recording]:
    wait_until(lambda: not watching(), "the thread of the test before has not ended")
    with recording(PATCHES) as found:
        yield found


def test_uninstalling_restores_the_very_objects() -> None:
    """The method of asyncio is the one that it was, uvloop's class has none of its own again, and no thread is left."""
    before = vars(asyncio.base_events.BaseEventLoop)["run_forever"]
    assert "run_forever" not in vars(uvloop.Loop)
    callbacks = list(gc.callbacks)
    wait_until(lambda: not watching(), "the thread of the test before has not ended")
    with recording(PATCHES):
        assert vars(asyncio.base_events.BaseEventLoop)["run_forever"] is not before
        assert "run_forever" in vars(uvloop.Loop)
        run("asyncio", asyncio.sleep(0))
        assert len(watching()) == 1
    assert vars(asyncio.base_events.BaseEventLoop)["run_forever"] is before
    assert "run_forever" not in vars(uvloop.Loop)
    assert gc.callbacks == callbacks
    wait_until(lambda: not watching(), "the thread has not ended")


@pytest.mark.parametrize("kind", KINDS)
def test_uninstalling_while_a_loop_runs(kind: str) -> None:
    """The loop goes on and ends as ever, and what blocks it from then on is told nobody."""
    with recording(PATCHES) as recorded:
        running, go_on = threading.Event(), threading.Event()

        async def main() -> str:
            running.set()
            await asyncio.to_thread(go_on.wait, 60)
            nap(PLANTED)
            await asyncio.sleep(GRACE)
            return "done"

        results: list[str] = []
        thread = threading.Thread(target=lambda: results.append(run(kind, main())))
        thread.start()
        assert running.wait(60)
    go_on.set()
    thread.join()
    assert results == ["done"]
    assert not blocked(recorded.spans, "nap")


@pytest.mark.parametrize("kind", KINDS)
def test_again_and_again(kind: str, recorded: Recording) -> None:
    """Each loop is watched by the same thread, and given back as soon as it has ended, without a garbage collection."""
    loops: list[weakref.ref[Any]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.sleep(0)

    run(kind, main())
    (thread,) = watching()
    for _ in range(200):
        run(kind, main())
    assert watching() == [thread]
    collecting = gc.isenabled()
    gc.disable()
    try:
        run(kind, main())
        wait_until(lambda: loops[-1]() is None, "the loop is kept", 20)
    finally:
        if collecting:
            gc.enable()
    gc.collect()
    assert [found for loop in loops if (found := loop()) is not None] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_ends_where_it_was_stuck(kind: str, recorded: Recording) -> None:
    """Nothing that was to be done in its next turn keeps the loop, though there is no such turn."""
    loop = LOOPS[kind]()
    loop.call_soon(loop.stop)
    loop.call_soon(nap, PLANTED)
    loop.run_forever()
    kept = weakref.ref(loop)
    assert_blocked(recorded.spans, "nap", None)
    gc.disable()
    try:
        loop.close()
        del loop
        wait_until(lambda: kept() is None, "the loop is kept", 20)
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
def test_one_loop_that_runs_several_times(kind: str, recorded: Recording) -> None:
    """What blocks the second run is told as well; between runs nothing is watched."""
    loop = LOOPS[kind]()
    try:
        loop.run_until_complete(asyncio.sleep(GRACE))
        nap(PLANTED)  # in no loop
        span = loop.run_until_complete(request())
        with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
            for _ in range(3):
                runner.run(asyncio.sleep(0))
        loop.call_soon(loop.stop)
        loop.run_forever()
    finally:
        loop.close()
    assert_blocked(recorded.spans, "nap", span)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_runs_before_the_installation(kind: str) -> None:
    """It is watched from then on, until it ends, and given back then."""
    loops: list[weakref.ref[Any]] = []

    async def main() -> tuple[Recording, Span]:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        with recording(PATCHES) as recorded:
            await asyncio.sleep(GRACE)
            span = await request()
            return recorded, span

    recorded, span = run(kind, main())
    assert_blocked(recorded.spans, "nap", span)
    gc.collect()
    wait_until(lambda: loops[0]() is None, "the loop is kept")


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_ends_with_nobody_to_say_so(kind: str) -> None:
    """A loop that was running before is given back though it is found out only later that it has ended."""
    loops: list[weakref.ref[Any]] = []
    found: list[Any] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        found.append(recording(PATCHES))
        found[0].__enter__()
        await asyncio.sleep(GRACE)

    run(kind, main())
    try:
        wait_until(lambda: gc.collect() >= 0 and loops[0]() is None, "the loop is kept")
    finally:
        found[0].__exit__(None, None, None)


class _Failing(asyncio.SelectorEventLoop):
    """A loop whose turns fail."""

    def _run_once(self) -> None:
        raise ZeroDivisionError("the loop's")


def test_what_a_loop_raises_is_the_users() -> None:
    """The very exception arrives, and the loop is watched no more; a closed loop says what it always says."""
    before = faults.counts()
    with recording(PATCHES):
        loop = _Failing()
        with pytest.raises(ZeroDivisionError, match="the loop's"):
            loop.run_forever()
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            loop.run_forever()
        closed = uvloop.new_event_loop()
        closed.close()
        with pytest.raises(RuntimeError, match="closed"):
            closed.run_forever()
    assert faults.counts() == before


# Since Python 3.13 asyncio itself forgets then that the loop runs.
@pytest.mark.parametrize("kind", KINDS if sys.version_info < (3, 13) else ["uvloop"])
def test_running_a_loop_that_runs(kind: str, recorded: Recording) -> None:
    """It is refused as ever, and the loop is watched on."""

    async def main() -> Span:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop().run_forever()
        return await request()

    span = run(kind, main())
    assert_blocked(recorded.spans, "nap", span)


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_eager_task(kind: str, recorded: Recording) -> None:
        """A task that blocks before it is ever scheduled blocks in its own span, not in that of whoever started it."""
        spans: list[Span] = []

        async def work() -> None:
            with causal_otel.span("work") as span:
                spans.append(span)
                nap(PLANTED)

        async def main() -> None:
            await asyncio.sleep(GRACE)
            make: Any = asyncio.Task
            await make(work(), loop=asyncio.get_running_loop(), name="eager", eager_start=True)

        run(kind, main())
        assert assert_blocked(recorded.spans, "nap", spans[0])["causal.task.name"] == "eager"


@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_child(kind: str, recorded: Recording) -> None:
    """It has no thread until a loop runs there, and what blocks that loop is told there."""
    run(kind, asyncio.sleep(0))
    assert len(watching()) == 1

    def child() -> str:
        before = len(watching())
        recorded.clear()
        span = run(kind, request())
        assert_blocked(recorded.spans, "nap", span)
        return repr((before, len(watching())))

    assert forked(child) == "(0, 1)"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_inside_a_loop(kind: str, recorded: Recording) -> None:
    """The child, which ends by itself, disturbs neither the parent's loop nor what watches it."""

    async def main() -> Span:
        await asyncio.sleep(GRACE)
        assert forked(lambda: repr(len(watching()))) == "0"
        return await request()

    span = run(kind, main())
    assert_blocked(recorded.spans, "nap", span)


def test_a_descriptor_is_not_left_open(recorded: Recording) -> None:
    """Each thread in which loops have run has one file open, until it ends."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        thread = threading.Thread(target=lambda: run("asyncio", asyncio.sleep(0)))
        thread.start()
        thread.join()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.parametrize("kind", KINDS)
def test_over_and_under_somebody_elses_wrapper(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has wrapped the method before, or does so later, is called once a run; what blocks is told as well."""
    owner: Any = asyncio.base_events.BaseEventLoop if kind == "asyncio" else uvloop.Loop
    calls: list[str] = []

    def wrapped(name: str, original: Any) -> Any:
        def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            calls.append(name)
            return wrapped(*args, **kwargs)

        return wrapt.FunctionWrapper(original, around)

    monkeypatch.setattr(owner, "run_forever", wrapped("before", owner.run_forever))
    before = vars(owner)["run_forever"]
    loop = LOOPS[kind]()
    try:
        with recording(PATCHES) as recorded:
            placed = vars(owner)["run_forever"]
            monkeypatch.setattr(owner, "run_forever", wrapped("after", placed))
            span = loop.run_until_complete(request())
            assert calls == ["after", "before"]
            monkeypatch.setattr(owner, "run_forever", placed)
        assert vars(owner)["run_forever"] is before
        loop.run_until_complete(asyncio.sleep(0))
        assert calls == ["after", "before", "before"]
    finally:
        loop.close()
    assert_blocked(recorded.spans, "nap", span)


_CLOSING = """
import asyncio, sys, threading
import causal_otel, uvloop
from causal_otel.patches.event_loop import EventLoopOptions

sys.setswitchinterval(1e-6)  # a thread is interrupted wherever it can be

def install():
    causal_otel.install(
        service_name="loops", exporter="none", patches={"event_loop": EventLoopOptions(loop_block_threshold=0.01)}
    )

async def step(inside):
    if inside:
        install()
    await asyncio.sleep(0)
    sum(range(3000))
    if inside:
        await asyncio.sleep(0.02)

def one(inside=False):
    loop = uvloop.new_event_loop()
    loop.run_until_complete(step(inside))
    loop.close()
    del loop
    return [bytearray(1000) for _ in range(50)]  # what was its memory is another's now

def many():
    for _ in range(500):
        one()

if sys.argv[1] == "before":
    install()
    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
else:
    for _ in range(20):
        one(inside=True)
        causal_otel.uninstall()
"""


@pytest.mark.parametrize("when", ["before", "inside"])
def test_loops_that_are_closed_while_they_are_looked_at(when: str) -> None:
    """Nothing is read of a loop that is closed, which would crash the process, however it came to be watched."""
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _CLOSING, when], capture_output=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
