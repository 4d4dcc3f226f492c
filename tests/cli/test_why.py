"""``causal-otel why``: which trace it explains, and how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from causal_otel.causality.explanation import explain
from causal_otel.cli import main
from causal_otel.collector.analysis import build
from tests.cli.storing import AFTER, BEFORE, ORDER, keep
from tests.collector.analysis.making import span, trace

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, TracesData

_TIME = ("--start", BEFORE, "--end", AFTER)
_QUICK, _SLOW, _REPORT = "01" * 16, "02" * 16, "03" * 16


def _query(trace_id: str, start: float, end: float, wait: float = 0.0, blocked: float = 0.0) -> ResourceSpans:
    attributes = {"db.system.name": "postgresql", "causal.pool.wait": wait, "causal.loop.blocked": blocked}
    return span(
        "query", "root", start, end, operation="SELECT", kind="client", trace_id=trace_id, attributes=attributes
    )


def _request(trace_id: str, start: float, end: float, *spans: ResourceSpans, name: str = "GET /stats") -> TracesData:
    return trace(span("root", "", start, end, operation=name, kind="server", trace_id=trace_id), *spans)


_TRACES = (
    _request(_QUICK, 0, 100, _query(_QUICK, 10, 90)),
    _request(_SLOW, 1000, 1500, _query(_SLOW, 1000, 1400, wait=0.3)),
    _request(_REPORT, 980, 1400, _query(_REPORT, 990, 1290), name="GET /report"),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return keep(tmp_path / "traces", *_TRACES)


def _why(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> str:
    assert main(["why", "--data-dir", str(directory), *arguments]) == 0
    return capsys.readouterr().out


def test_a_trace_is_explained(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text of its explanation, with what other traces that are kept tell of who had the connections."""
    text = _why(capsys, directory, _SLOW)
    assert text.splitlines()[0] == "500 ms: 60 % waiting for a PostgreSQL connection, 20 % PostgreSQL, 20 % own code"
    assert "waited 300 ms for a PostgreSQL connection, which SELECT of GET /report (290 ms) used meanwhile" in text
    views = [build(each) for each in _TRACES]
    assert text == explain(views[1], [views[0], views[2]]).text() + "\n"


def test_json_is_the_same(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document of the explanation, as one line."""
    views = [build(each) for each in _TRACES]
    (line,) = _why(capsys, directory, _SLOW, "--json").splitlines()
    assert json.loads(line) == explain(views[1], [views[0], views[2]]).document()


@pytest.mark.parametrize(
    ("operation", "trace_id"),
    [("GET /stats", _SLOW), ("get*", _SLOW), ('"GET /report"', _REPORT), ("report", _REPORT)],
)
def test_the_slowest_of_an_operation_is_explained(
    directory: Path, capsys: pytest.CaptureFixture[str], operation: str, trace_id: str
) -> None:
    """Of all spans that match, the longest, whichever came last."""
    assert f"trace {trace_id}" in _why(capsys, directory, "--slowest", operation, *_TIME)


def test_of_many_the_slowest_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However many are newer, and quicker than it."""
    durations = [(number * 37) % 101 for number in range(1, 101)]
    ids = [f"{number:032x}" for number in range(1, 101)]
    slow = ids[durations.index(100)]
    directory = keep(
        tmp_path / "traces",
        *(
            _request(each, number * 10, number * 10 + duration)
            for number, (each, duration) in enumerate(zip(ids, durations, strict=True))
        ),
    )
    assert f"trace {slow}" in _why(capsys, directory, "--slowest", "GET /stats", *_TIME)


def test_what_is_slow_may_lie_within_a_trace(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Then its own time is explained, not that of the whole trace."""
    text = _why(capsys, directory, "--slowest", "SELECT", "--service", "api", *_TIME)
    assert text.splitlines()[:2] == [
        "400 ms: 75 % waiting for a PostgreSQL connection, 25 % PostgreSQL", f"api: SELECT, trace {_SLOW}",
    ]  # fmt: skip


def test_the_last_failure_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole trace, and what failed in it first; of any operation or of one."""
    directory = keep(tmp_path / "traces")
    text = _why(capsys, directory, "--error", *_TIME)
    assert f"api: POST /orders, trace {ORDER}" in text
    assert "\n- GET failed first: timeout: no answer [63616c6c2d2d2d2d]\n" in text
    assert _why(capsys, directory, "--error", "GET", "--service", "api", *_TIME) == text


def test_a_blocked_loop_names_the_culprits_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is looked up among the traces of that time."""
    stall = span(
        "stall",
        "root",
        1050,
        1350,
        operation="loop blocked",
        trace_id=_REPORT,
        attributes={"causal.block.frame": "report.py:31 render()", "causal.block.wait": 0.3},
    )
    directory = keep(
        tmp_path / "traces",
        _request(_SLOW, 1000, 1500, _query(_SLOW, 1000, 1400, blocked=0.3)),
        _request(_REPORT, 980, 1400, stall, name="GET /report"),
    )
    first = _why(capsys, directory, _SLOW).splitlines()[0]
    assert first == (
        "500 ms: 60 % loop blocked 300 ms by report.py:31 render() (a blocking call) in GET /report, trace "
        f"{_REPORT}, 20 % PostgreSQL, 20 % own code"
    )


def test_an_operation_is_explained_over_many_calls(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where p50 and p95 go, what could be saved, and the call at the p95 with what it waited for."""
    assert main(["why", "--data-dir", str(directory), "--operation", "stats", *_TIME]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "api: GET /stats, 2 calls: p50 100 ms: 80 % PostgreSQL, 20 % own code; "
        "p95 500 ms: 60 % waiting for a PostgreSQL connection, 20 % PostgreSQL, 20 % own code"
    )
    assert lines[3].split("  ")[0] == "waiting for a PostgreSQL connection"
    assert any(line.startswith(f"At the p95, trace {_SLOW}: 500 ms: 60 % waiting for a") for line in lines)
    assert "which SELECT of GET /report (290 ms) used meanwhile" in lines[-1]
    assert main(["why", "--data-dir", str(directory), "--operation", "stats", "--json", *_TIME]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["sentence"], document["example"]["trace_id"]) == (lines[0], _SLOW)


def test_of_several_operations_the_one_that_takes_most_is_explained(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are named."""
    assert main(["why", "--data-dir", str(directory), "--operation", "GET*", *_TIME]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("api: GET /stats, 2 calls: ")
    assert printed.err == "Other operations that match: GET /report (api).\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "give the ID of a trace, or one of "),
        ((_SLOW, "--slowest", "GET"), 2, "give the ID of a trace, or one of "),
        (("xyz",), 2, "'xyz' is no trace id, which has 32 hexadecimal digits"),
        (("c" * 32,), 1, f"there is no trace {'c' * 32}: it was not received (yet), or is no longer kept"),
        (("--slowest", "GET"), 1, "no span of 'GET' is there in that time: try a longer --last; `causal-otel traces` "),
        (("--operation", "GET"), 1, "no span of 'GET' is there in that time"),
        (("--error",), 1, "no span has failed in that time"),
        (("--error", "GET", "--service", "web", *_TIME), 1, "no span of 'GET' in the service 'web' has failed in that"),
        (("--slowest", '"GET'), 2, "--slowest: write a name in quotes"),
        (("--slowest", "GET", "--last", "soon"), 2, "--lookback: 'soon' is not a duration"),
    ],
)
def test_what_cannot_be_explained_is_said(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, message: str
) -> None:
    """A sentence says what is wrong, and what to do."""
    assert main(["why", "--data-dir", str(directory), *arguments]) == status
    assert capsys.readouterr().err.startswith(f"causal-otel why: {message}")


def test_a_terminal_without_unicode_gets_ascii(directory: Path) -> None:
    """What it cannot show is replaced, and nothing fails."""
    done = subprocess.run(
        [sys.executable, "-m", "causal_otel", "why", "--data-dir", str(directory), _SLOW],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert done.stdout.startswith(b"500 ms: 60 % waiting for a PostgreSQL connection")
