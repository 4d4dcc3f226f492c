"""The console on a terminal, in a log, and at the end of a program: what programs of their own print."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from causal_otel.export.console import ConsoleExporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer

    Make = Callable[..., tuple[Tracer, ConsoleExporter]]

from tests.export.printed import names_in_tree

_SETUP = """
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.console import ConsoleExporter
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleExporter()))
tracer = provider.get_tracer("t")
"""

_PROGRAM = f"""
{_SETUP}
try:
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner", attributes={{"k": 1}}):
        raise KeyError
except KeyError:
    pass
"""


def _on_terminal(code: str) -> str:
    """What a program prints on standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", "PYTHONUTF8": "1"}
        program = subprocess.Popen([sys.executable, "-W", "error", "-c", code], stderr=theirs, env=environ)
        os.close(theirs)
        shown = b""
        try:
            while piece := screen.read(65536):
                shown += piece
        except OSError:  # what Linux says when the other end is closed
            pass
        assert program.wait(60) == 0, shown
    return shown.decode().replace("\r\n", "\n")


_UNFINISHED = """
root = tracer.start_as_current_span("root")
root.__enter__()
tracer.start_span("child").end()
"""


class TestTerminal:
    def test_colours(self) -> None:
        """On a terminal, with rich, the tree is coloured and fits its lines."""
        shown = _on_terminal(_PROGRAM.replace('"k": 1', '"k": "x" * 59, "l": "x" * 59'))
        assert "\x1b[" in shown
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        assert [line.split("  ")[0] for line in lines[1:]] == ["✗ outer", "╰╴✗ inner"]
        assert all(len(line) <= 100 for line in lines)
        assert lines[2].endswith("…")

    def test_without_rich(self) -> None:
        """On a terminal without rich the tree is plain text."""
        shown = _on_terminal('import sys; sys.modules["rich"] = sys.modules["rich.console"] = None\n' + _PROGRAM)
        assert "\x1b" not in shown
        assert "╰╴✗ inner  INTERNAL" in shown

    def test_no_terminal(self) -> None:
        """In a log there are no control codes, with rich or without."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _PROGRAM],
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONUTF8": "1", "FORCE_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stderr
        assert "╰╴✗ inner  INTERNAL" in done.stderr

    def test_unfinished_spans_at_exit(self) -> None:
        """A program that ends inside a span has printed those that have ended."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _SETUP + _UNFINISHED],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert names_in_tree(done.stderr) == ["child"]
