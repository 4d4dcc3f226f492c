"""Killed writers: what was acknowledged is there, and the next writer goes on."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest

from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import SUFFIX
from causal_otel.collector.store.reader import Reader
from tests.collector.spans import HOUR, NOON, request, span, spans_of, trace_id, traces
from tests.collector.store.programs import start
from tests.collector.store.stores import contents
from tests.collector.store.writers import writing

TODAY = days.day_of(NOON)


def kill(program: subprocess.Popen[str]) -> str:
    """Kill it as the kernel does; returns what it had printed and was not read."""
    with program:
        program.send_signal(signal.SIGKILL)
        assert program.wait(60) == -signal.SIGKILL
        assert program.stdout is not None
        return program.stdout.read()


@pytest.mark.parametrize("seed", range(4))
def test_acknowledged_is_kept(tmp_path: Path, seed: int) -> None:
    """Whatever was acknowledged before the process was killed is there, and can be read by others and its successor."""
    program = start(
        """
        writer = Writer(directory, clock=lambda: NOON / SECOND)
        writer.start()
        number = 0
        while True:
            numbers = range(number + 1, number + 9)
            sent = [traces(span(trace=n, start=NOON + (n % 3 - 1) * 24 * HOUR), service=f"s{n}") for n in numbers]
            for n, future in zip(numbers, [writer.put(request(message)) for message in sent]):
                future.result(30)
                print(n, flush=True)
            number += 8
        """,
        tmp_path,
    )
    assert program.stdout is not None
    rng = random.Random(seed)
    last = ""
    for _ in range(rng.randrange(1, 120)):
        last = program.stdout.readline()
        assert last, "it has ended by itself"
    printed = [last, *kill(program).splitlines(keepends=True)]
    acknowledged = max(int(line) for line in printed if line.endswith("\n"))
    with Reader(tmp_path) as reader:
        for number in range(1, acknowledged + 1):
            trace = reader.trace(trace_id(number))
            assert trace is not None, number
            assert len(list(spans_of(trace))) == 1
    with writing(tmp_path) as writer:
        assert writer.put(request(traces(span(trace=10**6)))).result(30).spans == 1
        assert not days.damaged(tmp_path)
    with Reader(tmp_path) as reader:
        assert all(reader.trace(trace_id(number)) for number in (1, acknowledged, 10**6))


def test_sent_again_after_a_kill(tmp_path: Path) -> None:
    """A sender that got no answer sends again to the next process, and nothing is there twice."""
    program = start(
        """
        writer = Writer(directory, clock=lambda: NOON / SECOND)
        writer.start()
        for n in range(1, 20):
            writer.put(bytes.fromhex(sys.stdin.readline())).result(30)
        print("kept", flush=True)
        time.sleep(60)
        """,
        tmp_path,
    )
    bodies = [request(traces(span(trace=n))) for n in range(1, 20)]
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.writelines(f"{body.hex()}\n" for body in bodies)
    program.stdin.flush()
    assert program.stdout.readline() == "kept\n"
    kill(program)
    with writing(tmp_path, clock=lambda: NOON / 1e9) as writer:
        futures = [writer.put(body) for body in (*bodies, request(traces(span(trace=99))))]
        assert [future.result(30).spans for future in futures] == [0] * 19 + [1]


@pytest.mark.long
@pytest.mark.parametrize("step", [0, 1, 3, 6, 20, 60, 70])
def test_killed_while_compacting(tmp_path: Path, step: int) -> None:
    """A process that is killed in the middle of a compaction leaves the old file whole, and the next one closes it."""
    sent = [traces(*(span(trace=n, tags={"n": n}) for n in range(m, 400, 40)), service=f"s{m}") for m in range(1, 41)]
    with writing(tmp_path) as writer:
        for message in sent:
            writer.put(request(message)).result(30)
    with Reader(tmp_path) as reader:
        before = {n: contents(reader.trace(trace_id(n))) for n in range(1, 400)}
    program = start(
        """
        from causal_otel.collector.store.compaction import close_day
        path = days.path_of(directory, days.day_of(NOON))
        steps = close_day(path, now=0, beside=[], release=lambda: None)
        for number, _ in enumerate(steps):
            if number == int(sys.argv[2]):
                print("there", flush=True)
                time.sleep(60)
        print("done", flush=True)
        time.sleep(60)
        """,
        tmp_path,
        step,
    )
    assert program.stdout is not None
    assert program.stdout.readline() in ("there\n", "done\n")
    kill(program)
    with Reader(tmp_path) as reader:
        assert {n: contents(reader.trace(trace_id(n))) for n in range(1, 400)} == before
    with writing(tmp_path, clock=lambda: (NOON + 14 * HOUR) / 1e9) as writer:
        writer.put(request(traces(span(trace=1000)))).result(30)
    assert not list(tmp_path.glob(f"*{SUFFIX}*"))
    with Reader(tmp_path) as reader:
        assert {n: contents(reader.trace(trace_id(n))) for n in range(1, 400)} == before
