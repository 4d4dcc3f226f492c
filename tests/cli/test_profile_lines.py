"""What ``trace`` and ``why`` say of a span's profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from causal_otel.cli import main
from tests.cli.storing import keep
from tests.collector.analysis.making import span, trace

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

_ID = "0a" * 16


def _profiled(profile: str) -> TracesData:
    attributes = {"causal.profile": profile, "causal.profile.samples": 8, "causal.profile.period": 0.05}
    operation = "POST /prices"
    return trace(span("root", "", 0, 400, operation=operation, kind="server", trace_id=_ID, attributes=attributes))


def _said(command: str, profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    directory = keep(tmp_path / "traces", _profiled(profile))
    assert main([command, "--data-dir", str(directory), _ID]) == 0
    return capsys.readouterr().out


def test_trace_lists_the_lines_that_ran_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of all stacks count by the innermost frame, and the one with the most samples comes first."""
    profile = "a.py:1 f();p.py:12 total() 3\na.py:1 f();q.py:2 half() 3\nb.py:9 g();p.py:12 total() 2"
    lines = _said("trace", profile, tmp_path, capsys).splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.endswith(": 8 samples"))
    assert "POST /prices" in lines[at]
    found = [line.split(maxsplit=1) for line in lines[at + 1 : at + 3]]
    assert found == [["62.5%", "p.py:12 total()"], ["37.5%", "q.py:2 half()"]]


@pytest.mark.parametrize(
    "profile", ["", "none of it 0", "no number", "\x1b[2Jp.py:1 f() many"], ids=["empty", "zero", "text", "hostile"]
)
def test_what_is_no_profile_is_left_out(profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an attribute that anybody may have set to something else nothing is said."""
    text = _said("trace", profile, tmp_path, capsys)
    assert "sample" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("p.py:12 total() 4\nq.py:2 half() 4", "own code, seen most in p.py:12 total()"),
        ("p.py:12 total() 2\nq.py:2 half() 3\nr.py:3 other() 3", "own code"),
    ],
    ids=["half", "less"],
)
def test_why_names_a_line_that_has_half_of_the_samples(
    profile: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The explanation's own code is located where at least half of the samples were on one line."""
    first = _said("why", profile, tmp_path, capsys).splitlines()[0]
    assert first == f"400 ms: 100 % {expected}"
