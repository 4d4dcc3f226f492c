"""Where lines go: terminals with rich and without, files, old encodings."""

from __future__ import annotations

import io
import re
import sys

import pytest

from causal_otel.terminal.screen import Screen


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[True, False], ids=["rich", "plain"])
def rich(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With rich, and where it is not installed."""
    monkeypatch.setenv("TERM", "xterm")
    if not request.param:
        for name in ("rich", "rich.console"):
            monkeypatch.setitem(sys.modules, name, None)
    return bool(request.param)


def _shown(stream: io.StringIO) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()


def test_a_terminal_cuts_what_may_be_cut(rich: bool) -> None:
    """A line that is longer than the terminal loses its end, with an ellipsis; one that fits stays as it is."""
    stream = _Terminal()
    Screen(stream, 20).write([(("x" * 15, "red"), ("y" * 15, "")), (("z" * 20, ""),)], cut=True)
    assert _shown(stream) == ["x" * 15 + "yyyy…", "z" * 20]
    assert ("\x1b[31m" in stream.getvalue()) is rich


def test_what_is_not_to_be_cut_is_whole(rich: bool) -> None:
    """A line that may not be cut, such as one with a link, is one line, however long."""
    stream = _Terminal()
    Screen(stream, 20).print("x" * 50)
    assert _shown(stream) == ["x" * 50]


def test_no_lines_are_nothing(rich: bool) -> None:
    """Where there is nothing to print, not even an empty line is printed; an empty line is one."""
    stream = _Terminal()
    Screen(stream, 80).write([])
    assert stream.getvalue() == ""
    Screen(stream, 80).print("")
    assert stream.getvalue() == "\n"


def test_a_file_gets_all() -> None:
    """Nothing is cut for a file, nothing coloured, and no line ends in spaces."""
    stream = io.StringIO()
    Screen(stream, 20).write([(("x" * 50, "red"), ("   ", "dim"))], cut=True)
    assert stream.getvalue() == "x" * 50 + "\n"


def test_lines_are_written_at_one_stroke(rich: bool) -> None:
    """Lines that belong together reach the stream in one write, between which no other thread's come."""
    written: list[str] = []

    class Stream(_Terminal):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    Screen(Stream(), 80).write([(("one", ""),), (("two", ""),)])
    assert written == ["one\ntwo\n"]


@pytest.mark.parametrize(
    ("encoding", "ascii_only"), [("utf-8", False), ("gb18030", False), ("latin-1", True), ("?", True)]
)
def test_what_an_encoding_can_show(encoding: str, ascii_only: bool) -> None:
    """Where a stream's encoding lacks any sign that we draw with, ASCII is drawn, and microseconds are us."""
    stream = type("Stream", (io.StringIO,), {"encoding": encoding})()
    screen = Screen(stream)
    screen.print("2× 5 µs")
    assert screen.ascii_only is ascii_only
    assert stream.getvalue() == ("2x 5 us\n" if ascii_only else "2× 5 µs\n")
