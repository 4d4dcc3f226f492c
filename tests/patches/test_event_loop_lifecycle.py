"""What is watched begins and ends with the loops, however they begin and end, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from _thread import get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import causal_otel
from causal_otel._internal import faults
from causal_otel.causality.loop_monitor import LoopMonitoring
from causal_otel.causality.pauses import pauses_of_thread
from causal_otel.causality.stall import NOTHING, Record
from causal_otel.engine import context
from causal_otel.patches.event_loop import EventLoopOptions
from tests.causality.blocking import nap
from tests.causality.loops import LOOPS, run
from tests.engine.forking import forked
from tests.patches.blocked_loops import PATCHES, PLANTED, assert_blocked, blocked
from tests.recording import Recording, recording
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span

KINDS = list(LOOPS)
GRACE = 0.05


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(PATCHES) as found:
        yield found


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "causal-otel-loops"]


async def _blocking() -> Span:
    with causal_otel.span("request") as span:
        await asyncio.sleep(GRACE)
        nap(PLANTED)
        await asyncio.sleep(GRACE)
    return span


def test_uninstalling_restores_the_very_objects() -> None:
    """The method of asyncio is the one that it was, uvloop's class has none of its own again, and no thread is left."""
    before = vars(asyncio.base_events.BaseEventLoop)["run_forever"]
    assert "run_forever" not in vars(uvloop.Loop)
    callbacks = list(gc.callbacks)
    with recording(PATCHES):
        assert vars(asyncio.base_events.BaseEventLoop)["run_forever"] is not before
        assert "run_forever" in vars(uvloop.Loop)
        run("asyncio", asyncio.sleep(0))
        assert len(_threads()) == 1
    assert vars(asyncio.base_events.BaseEventLoop)["run_forever"] is before
    assert "run_forever" not in vars(uvloop.Loop)
    assert gc.callbacks == callbacks
    wait_until(lambda: not _threads(), "the thread has not ended")


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
    (thread,) = _threads()
    for _ in range(200):
        run(kind, main())
    assert _threads() == [thread]
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
def test_one_loop_that_runs_several_times(kind: str, recorded: Recording) -> None:
    """What blocks the second run is told as well; between runs nothing is watched."""
    loop = LOOPS[kind]()
    try:
        loop.run_until_complete(asyncio.sleep(GRACE))
        nap(PLANTED)  # in no loop
        span = loop.run_until_complete(_blocking())
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
            span = await _blocking()
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


@pytest.mark.parametrize("kind", KINDS)
def test_running_a_loop_that_runs(kind: str, recorded: Recording) -> None:
    """It is refused as ever, and the loop is watched on."""
    if kind == "asyncio" and sys.version_info >= (3, 13):
        pytest.skip("asyncio itself forgets then that the loop runs")

    async def main() -> Span:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop().run_forever()
        return await _blocking()

    span = run(kind, main())
    assert_blocked(recorded.spans, "nap", span)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
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
    assert len(_threads()) == 1

    def child() -> str:
        before = len(_threads())
        recorded.clear()
        span = run(kind, _blocking())
        assert_blocked(recorded.spans, "nap", span)
        return repr((before, len(_threads())))

    assert forked(child) == "(0, 1)"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_inside_a_loop(kind: str, recorded: Recording) -> None:
    """The child, which ends by itself, disturbs neither the parent's loop nor what watches it."""

    async def main() -> Span:
        await asyncio.sleep(GRACE)
        assert forked(lambda: repr(len(_threads()))) == "0"
        return await _blocking()

    span = run(kind, main())
    assert_blocked(recorded.spans, "nap", span)


def test_nothing_is_watched_where_nothing_is_to_be() -> None:
    """With a threshold of 0 asyncio's and uvloop's own methods stay in place, and no thread is started."""
    before = vars(asyncio.base_events.BaseEventLoop)["run_forever"]
    with recording({"event_loop": EventLoopOptions(loop_block_threshold=0)}) as recorded:
        assert vars(asyncio.base_events.BaseEventLoop)["run_forever"] is before
        assert "run_forever" not in vars(uvloop.Loop)
        run("asyncio", _blocking())
        assert not _threads()
    assert recorded.names() == ["request"]


def test_the_setting_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """``TRACING_LOOP_BLOCK_THRESHOLD`` says what is a stall, where the options leave it open."""
    monkeypatch.setenv("TRACING_LOOP_BLOCK_THRESHOLD", str(2 * PLANTED))
    with recording(["event_loop"]) as recorded:
        run("asyncio", _blocking())
    assert recorded.names() == ["request"]
    monkeypatch.setenv("TRACING_LOOP_BLOCK_THRESHOLD", str(PLANTED / 2))
    with recording(["event_loop"]) as recorded:
        span = run("asyncio", _blocking())
    assert_blocked(recorded.spans, "nap", span)


@pytest.mark.parametrize("threshold", [-1, 0.001, True, "0.05", float("nan")])
def test_a_threshold_that_is_not_allowed(threshold: Any) -> None:
    """It is refused, in a sentence."""
    with pytest.raises(causal_otel.SettingError, match=r"loop_block_threshold=.* is not allowed; it must be 0, or"):
        causal_otel.install(patches={"event_loop": EventLoopOptions(loop_block_threshold=threshold)})


def test_without_the_gil_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of another thread that runs on cannot be read."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with recording(PATCHES) as recorded:
        run("asyncio", _blocking())
    assert recorded.names() == ["request"]


def test_too_many_stalls(recorded: Recording) -> None:
    """Those that are too many are counted, and the next that is recorded says how many they were."""
    told: list[Record] = []
    monitoring = LoopMonitoring(0.2, told.append)
    try:
        for _ in range(30):
            monitoring.record(Record(0, 1, NOTHING, "", {}))
        assert len(told) == 10
        with causal_otel.span("request") as span:
            for _ in range(200):
                monitoring.record(Record(0, 1, context.with_span(span), "", {}))
        recorded_before = len(told)
        assert 10 + 40 <= recorded_before < 200
        assert told[10].attributes == {"causal.block.left_out": 20}
        left_out = monitoring.left_out
        assert left_out == 230 - 20 - recorded_before
        monitoring._all._left = 1.0
        monitoring.record(Record(0, 1, context.with_span(span), "", {}))
        assert told[-1].attributes == {"causal.block.left_out": left_out}
        assert monitoring.left_out == 0
    finally:
        monitoring.close()


def test_what_fails_in_recording_is_contained() -> None:
    """The loop goes on, and the failure is counted."""

    def refuse(_: object) -> None:
        raise ValueError("a tracer's")

    before = faults.counts().get("event_loop: a stall", 0)
    monitoring = LoopMonitoring(0.2, refuse)

    async def main() -> str:
        monitoring.attach(asyncio.get_running_loop())
        await asyncio.sleep(GRACE)
        nap(PLANTED)
        await asyncio.sleep(GRACE)
        return "done"

    try:
        assert run("asyncio", main()) == "done"
    finally:
        monitoring.close()
    assert faults.counts()["event_loop: a stall"] > before


@pytest.mark.parametrize("kind", KINDS)
def test_somebody_who_debugs(kind: str, recorded: Recording) -> None:
    """However long a stop in a debugger takes, it is no stall: neither a span is made of it, nor is anybody told."""
    debugger: dict[str, Any] = {"__name__": "pdb"}
    exec(compile("def interaction(call):\n    call()\n", "/usr/lib/pdb.py", "exec"), debugger)

    async def main() -> int:
        began = perf_counter_ns()
        await asyncio.sleep(GRACE)
        debugger["interaction"](lambda: nap(PLANTED))
        pauses = pauses_of_thread(get_ident())
        assert pauses is not None
        found = pauses.between(began, perf_counter_ns())
        await asyncio.sleep(GRACE)
        return found + pauses.between(began, perf_counter_ns())

    assert run(kind, main()) < 2 * 0.5 * PLANTED * 1e9
    assert not blocked(recorded.spans, "nap")


def test_a_descriptor_is_not_left_open(recorded: Recording) -> None:
    """Each thread in which loops have run has one file open, until it ends."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        thread = threading.Thread(target=lambda: run("asyncio", asyncio.sleep(0)))
        thread.start()
        thread.join()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2
