"""``causal-otel diff``: why one trace took longer than another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from causal_otel.causality.explanation import difference
from causal_otel.cli import main
from causal_otel.collector.analysis import build
from tests.cli.storing import ORDER, REPORT, TRACES, keep
from tests.collector.running import running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return keep(tmp_path / "traces")


def test_two_traces_are_compared(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text of their difference, and with --json the same as a document."""
    expected = difference(build(TRACES[ORDER]), build(TRACES[REPORT]))
    assert main(["diff", "--data-dir", str(directory), ORDER, REPORT]) == 0
    printed = capsys.readouterr().out
    assert printed == expected.text() + "\n"
    assert printed.startswith("B took 2.9 s longer than A, 3 s instead of 100 ms: 2.96 s more own code, 45 ms less")
    assert main(["diff", "--data-dir", str(directory), ORDER, REPORT, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == expected.document()


def test_a_running_collector_is_asked(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the same traces."""
    with running(directory, "--retention", "3650d") as collector:
        assert main(["diff", "--url", collector.pages, ORDER, REPORT]) == 0
    assert capsys.readouterr().out == difference(build(TRACES[ORDER]), build(TRACES[REPORT])).text() + "\n"


@pytest.mark.parametrize(
    ("ids", "status", "message"),
    [
        ((ORDER, "xyz"), 2, "'xyz' is no trace id, which has 32 hexadecimal digits"),
        ((ORDER, "c" * 32), 1, f"there is no trace {'c' * 32}: it was not received (yet), or is no longer kept"),
    ],
)
def test_a_trace_that_cannot_be_compared_is_named(
    directory: Path, capsys: pytest.CaptureFixture[str], ids: tuple[str, str], status: int, message: str
) -> None:
    """Both have to be there."""
    assert main(["diff", "--data-dir", str(directory), *ids]) == status
    assert capsys.readouterr().err.startswith(f"causal-otel diff: {message}")
