"""Programs that stand still as a whole, or in a debugger: that is no stall of their event loops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.causality.loops import LOOPS
from tests.faults.programs import environment
from tests.waiting import pause

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = list(LOOPS)
STOPPED = 1.5
"""Seconds in which a process is stopped."""
_BOUND = 120
"""Seconds after which a program that says nothing is killed."""

_PROGRAM = """
    import asyncio
    import json
    import sys
    import threading
    import time

    import uvloop
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    import causal_otel
    from causal_otel.engine.provider import TracerProvider

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    installed = causal_otel.install(patches=["event_loop"], tracer_provider=provider)
    over = threading.Event()


    def say(what):
        print(what, flush=True)


    def nap(seconds):
        time.sleep(seconds)


    async def waits():
        say("ready")
        while not over.is_set():
            await asyncio.sleep(0.01)
        nap(0.6)  # after all that there is a stall
        await asyncio.sleep(0.05)


    async def works():
        say("ready")
        while not over.is_set():
            until = time.perf_counter() + 0.02
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0)
        nap(0.6)
        await asyncio.sleep(0.05)


    def answer():
        spans = [span for span in exporter.get_finished_spans() if span.name == "loop blocked"]
        say("")  # after pdb's prompt
        say(json.dumps([
            [span.attributes.get("causal.block.frame", ""), (span.end_time - span.start_time) / 1e9] for span in spans
        ]))
        say(json.dumps(installed.status().faults))


    def run(main):
        module = {"asyncio": asyncio, "uvloop": uvloop}[sys.argv[1]]
        with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
            runner.run(main)
"""


@contextmanager
def _program(folder: Path, text: str, *arguments: str, under: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """A program in a file of its own, which begins with what all have."""
    file = folder / "program.py"
    file.write_text(textwrap.dedent(_PROGRAM) + textwrap.dedent(text))
    program = subprocess.Popen(
        [sys.executable, *under, str(file), *arguments],
        env=environment(TRACING_LOOP_BLOCK_THRESHOLD="0.3", OTEL_TRACES_SAMPLER="always_on"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    too_long = threading.Timer(_BOUND, program.kill)
    too_long.start()
    try:
        yield program
    finally:
        too_long.cancel()
        program.kill()
        program.communicate(timeout=60)


def _line(stream: IO[str] | None, beginning: str) -> str:
    """The next line that begins so."""
    assert stream is not None
    read: list[str] = []
    while not (read and read[-1].startswith(beginning)):
        read.append(stream.readline())
        assert read[-1], "".join(read)
    return read[-1]


def _stalls(program: subprocess.Popen[str]) -> list[tuple[str, float]]:
    stalls: list[Any] = json.loads(_line(program.stdout, "["))
    assert json.loads(_line(program.stdout, "{")) == {}
    return [(frame, seconds) for frame, seconds in stalls]


@pytest.mark.long
@pytest.mark.parametrize("what", ["waits", "works"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_is_stopped(kind: str, what: str, tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT are no stall, whether the loop waited or was at work; a stall after that is one."""
    text = f"""
        threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
        run({what}())
        answer()
    """
    with _program(tmp_path, text, kind) as program:
        _line(program.stdout, "ready")
        pause(0.5)
        os.kill(program.pid, signal.SIGSTOP)
        pause(STOPPED)
        os.kill(program.pid, signal.SIGCONT)
        pause(0.5)
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
        stalls = _stalls(program)
    assert [frame for frame, seconds in stalls if seconds >= 0.8 * 0.6 and frame.endswith("nap()")] != []
    assert [each for each in stalls if each[1] >= 0.8 * STOPPED] == []


_TYPED = "import time; time.sleep(1.5)\n"
"""To be executed at the prompt: the program stands there meanwhile, as it does while somebody reads."""


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_breakpoint(kind: str, tmp_path: Path) -> None:
    """Somebody who stops in pdb, for however long and again and again, has no stalls; the program has its own."""
    text = """
        async def main():
            await asyncio.sleep(0.05)
            for _ in range(3):
                breakpoint()
                await asyncio.sleep(0)
            nap(0.6)
            await asyncio.sleep(0.05)

        run(main())
        answer()
    """
    with _program(tmp_path, text, kind) as program:
        assert program.stdin is not None
        program.stdin.write((_TYPED + "next\ncontinue\n") + 2 * (_TYPED + "continue\n"))
        program.stdin.flush()
        stalls = _stalls(program)
    assert [frame for frame, _ in stalls if not frame.endswith("nap()")] == []
    assert len(stalls) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_under_pdb(kind: str, tmp_path: Path) -> None:
    """``python -m pdb`` runs the whole program inside pdb: what blocks its loop is told all the same."""
    text = """
        async def main():
            await asyncio.sleep(0.05)
            nap(0.6)
            await asyncio.sleep(0.05)

        run(main())
        answer()
    """
    with _program(tmp_path, text, kind, under=("-m", "pdb", "-c", "continue")) as program:
        stalls = _stalls(program)
    assert [frame for frame, _ in stalls if frame.endswith("nap()")] != []
