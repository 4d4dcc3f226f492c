"""What is a stall and what is not: the threshold, debuggers, too many of them; and what fails in telling them."""

from __future__ import annotations

import asyncio
from _thread import get_ident
from time import perf_counter_ns
from typing import Any

import pytest
import uvloop

import causal_otel
from causal_otel._internal import faults
from causal_otel.causality.loop_monitoring import LoopMonitoring
from causal_otel.causality.pauses import pauses_of_thread
from causal_otel.causality.stall import NOTHING, Record
from causal_otel.engine import context
from causal_otel.engine.provider import TracerProvider
from causal_otel.patches.event_loop import EventLoopOptions
from tests.causality.blocking import nap
from tests.causality.loops import LOOPS, run
from tests.patches.blocked_loops import GRACE, PATCHES, PLANTED, assert_blocked, blocked, request, watching
from tests.recording import recording
from tests.slow_machine import assert_below
from tests.waiting import wait_until


def test_nothing_is_watched_where_nothing_is_to_be() -> None:
    """With a threshold of 0 asyncio's and uvloop's own methods stay in place, and no thread is started."""
    before = vars(asyncio.base_events.BaseEventLoop)["run_forever"]
    wait_until(lambda: not watching(), "the thread of the test before has not ended")
    with recording({"event_loop": EventLoopOptions(loop_block_threshold=0)}) as recorded:
        assert vars(asyncio.base_events.BaseEventLoop)["run_forever"] is before
        assert "run_forever" not in vars(uvloop.Loop)
        run("asyncio", request())
        assert not watching()
    assert recorded.names() == ["request"]


def test_the_setting_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """``TRACING_LOOP_BLOCK_THRESHOLD`` says what is a stall, where the options leave it open."""
    monkeypatch.setenv("TRACING_LOOP_BLOCK_THRESHOLD", str(2 * PLANTED))
    with recording(["event_loop"]) as recorded:
        run("asyncio", request())
    assert recorded.names() == ["request"]
    monkeypatch.setenv("TRACING_LOOP_BLOCK_THRESHOLD", str(PLANTED / 2))
    with recording(["event_loop"]) as recorded:
        span = run("asyncio", request())
    assert_blocked(recorded.spans, "nap", span)


@pytest.mark.parametrize("threshold", [-1, 0.001, True, "0.05", float("nan")])
def test_a_threshold_that_is_not_allowed(threshold: Any) -> None:
    """It is refused, in a sentence."""
    with pytest.raises(causal_otel.SettingError, match=r"loop_block_threshold=.* is not allowed; it must be 0, or"):
        causal_otel.install(patches={"event_loop": EventLoopOptions(loop_block_threshold=threshold)})


def test_too_many_stalls() -> None:
    """Those that are too many are counted, and the next that is recorded says how many they were."""
    told: list[Record] = []
    monitoring = LoopMonitoring(0.2, told.append)
    try:
        for _ in range(30):
            monitoring.record(Record(0, 1, NOTHING, "", {}))
        assert len(told) == 10
        inside = context.with_span(TracerProvider().get_tracer("tests").start_span("request"))
        for _ in range(200):
            monitoring.record(Record(0, 1, inside, "", {}))
        assert 10 + 40 <= len(told) < 200
        assert told[10].attributes == {"causal.block.left_out": 20}
        left_out = monitoring.left_out
        assert left_out == 230 - 20 - len(told)
        monitoring._all._left = 1.0
        monitoring.record(Record(0, 1, inside, "", {}))
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


@pytest.mark.parametrize("kind", LOOPS)
def test_somebody_who_debugs(kind: str) -> None:
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

    with recording(PATCHES) as recorded:
        assert_below(PLANTED * 1e9, run(kind, main()))
    assert not blocked(recorded.spans, "nap")
