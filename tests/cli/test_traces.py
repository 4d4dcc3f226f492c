"""``causal-otel traces`` and ``causal-otel trace``: searching and showing what is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from causal_otel._internal.extras import how_to_install
from causal_otel.cli import main
from causal_otel.collector.analysis import build
from causal_otel.collector.receive import otlp_json
from tests.cli.storing import AFTER, BEFORE, ORDER, REPORT, TRACES, keep
from tests.collector.analysis.making import TRACE_ID, pairs, span, span_id, trace
from tests.without_packages import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

_TIME = ("--start", BEFORE, "--end", AFTER)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return keep(tmp_path / "traces")


def _found(capsys: pytest.CaptureFixture[str], directory: Path, *options: str) -> list[str]:
    assert main(["traces", "--data-dir", str(directory), "--json", *options]) == 0
    return [json.loads(line)["trace_id"] for line in capsys.readouterr().out.splitlines()]


def _trace(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> str:
    assert main(["trace", "--data-dir", str(directory), *arguments]) == 0
    return capsys.readouterr().out


def test_traces_are_listed_newest_first(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line tells a trace's id, start, duration, spans, errors, services and name."""
    assert main(["traces", "--data-dir", str(directory), *_TIME]) == 0
    head, newer, older, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["TRACE", "STARTED", "(UTC)", "DURATION", "SPANS", "ERRORS", "SERVICES", "NAME"]
    assert newer.split() == [REPORT, "2023-11-14", "22:13:22.000", "3", "s", "1", "-", "1", "web:", "GET", "/report"]
    assert older.split() == [
        ORDER, "2023-11-14", "22:13:20.000", "100", "ms", "4", "1", "2", "api:", "POST", "/orders",
    ]  # fmt: skip
    assert total == "2 of 2"
    assert main(["traces", "--data-dir", str(directory), "--limit", "1", *_TIME]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 2"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [REPORT, ORDER]),
        (("--limit", "1"), [REPORT]),
        (("--sort", "spans", "--limit", "1"), [ORDER]),
        (("--sort", "errors", "--limit", "1"), [ORDER]),
        (("--sort", "longest", "--limit", "1"), [REPORT]),
        (("--sort", "longest", "--service", "worker"), [ORDER]),
        (("--service", "worker"), [ORDER]),
        (("--operation", "GET /report"), [REPORT]),
        (("user.id=42",), [ORDER]),
        (("user.id=42", "db.system.name=mysql"), []),
        (("user.id>=42",), [ORDER]),
        (("user.id!=42",), []),
        (("db.system.name=post* causal.pool.wait>40ms",), [ORDER]),
        (("causal.pool.wait>45ms",), []),
        (("error.type~^(timeout|refused)$",), [ORDER]),
        (("user.id",), [ORDER]),
        (("--service", "web", "!user.id"), [REPORT]),
        (("user.id=42 OR service=web",), [REPORT, ORDER]),
        (("service=web", "NOT user.id=7"), [REPORT]),
        (("--query", "-user.id=7 service=web"), [REPORT]),
        (("--query", "user.id", "user.id>42"), []),
        (("--sort", "oldest"), [ORDER, REPORT]),
        (("duration>=3s",), [REPORT]),
        (("duration>3s",), []),
        (("--operation", "select*"), [ORDER]),
        (("--operation", "REPORT"), [REPORT]),
        (("--operation", '"GET"'), [ORDER]),
        (("--errors",), [ORDER]),
        (("--min-duration", "1s"), [REPORT]),
        (("--max-duration", "50ms"), [ORDER]),
        (("--start", "2023-11-14T22:13:21"), [REPORT]),
        (("--start", "2023-11-14T23:13:20+01:00", "--end", "2023-11-14T22:13:21"), [ORDER]),
        (("--end", AFTER, "--lookback", "1d"), [REPORT, ORDER]),
        (("--lookback", "1h"), []),
    ],
)
def test_conditions_narrow_the_search(
    directory: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], expected: list[str]
) -> None:
    """Each option leaves out what it should."""
    timed = {"--start", "--end", "--lookback"} & set(options)
    assert _found(capsys, directory, *options, *(() if timed else _TIME)) == expected


def test_json_tells_all_of_a_summary(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Durations and times are whole nanoseconds, services come with their spans and errors."""
    assert main(["traces", "--data-dir", str(directory), "--json", "--service", "api", *_TIME]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "trace_id": ORDER,
        "service": "api",
        "operation": "POST /orders",
        "kind": "server",
        "start_unix_nano": 1_700_000_000_000_000_000,
        "duration_nano": 100_000_000,
        "spans": 4,
        "errors": 1,
        "orphans": 1,
        "services": {"api": {"spans": 3, "errors": 1}, "worker": {"spans": 1, "errors": 0}},
    }


def test_nothing_found_is_said(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No trace is no failure, and what to try is told."""
    assert main(["traces", "--data-dir", str(directory)]) == 0
    assert capsys.readouterr().out == "No traces: try a longer --lookback or fewer conditions.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lookback", "soon"), "--lookback: 'soon' is not a duration: write a number and a unit, as in 500us"),
        (("--lookback", "1h", "--start", BEFORE), "give either --lookback or --start, not both"),
        (("--start", "yesterday"), "--start: write the time"),
        (("--start", AFTER, "--end", BEFORE), "--end is before --start"),
        (("--min-duration", "5"), "--min-duration: '5' is not a duration"),
        (("=42",), 'QUERY: column 1: write key=value, key="some value", key!=value'),
        (("a", "user.id==42"), "QUERY: column 10: == is not supported: write ="),
        (("user.id>many",), "QUERY: column 9: > compares numbers: write one, as in user.id>500 or user.id>20ms"),
        (("--query", "user.id~(4"), "--query: column 9: user.id~(4: a ( has no ) after it"),
        (("--operation", '"GET'), "--operation: write a name in quotes"),
        (("--sort", "slowest"), "--sort: one of newest, oldest, longest, spans, errors is needed, not 'slowest'"),
        (("--limit", "0"), "--limit: a whole number from 1 to"),
    ],
)
def test_wrong_options_are_explained(
    directory: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    """The status is 2, and a sentence names the option and what it takes."""
    assert main(["traces", "--data-dir", str(directory), *options]) == 2
    assert capsys.readouterr().err.startswith(f"causal-otel traces: {message}")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any traces kept, the message tells how to get some."""
    assert main(["traces", "--data-dir", str(tmp_path / "none")]) == 1
    assert f"there is no directory {tmp_path / 'none'}: start `causal-otel collector`" in capsys.readouterr().err


def test_the_directory_is_the_collectors(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the option it is where the collector keeps its traces, variable and all."""
    monkeypatch.setenv("CAUSAL_OTEL_COLLECTOR_DATA_DIR", str(directory))
    assert main(["traces", "--json", *_TIME]) == 0
    assert ORDER in capsys.readouterr().out


@pytest.mark.parametrize("command", [("traces",), ("trace", ORDER), ("why", ORDER), ("export", "-"), ("import", "-")])
def test_a_missing_extra_is_named(command: tuple[str, ...]) -> None:
    """Without protobuf the commands say how to get it, and help works still."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", COMMAND, "google opentelemetry.proto", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    refused = run(*command)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"causal-otel {command[0]}: google.protobuf and opentelemetry.proto cannot be imported; "
        f"{how_to_install('collector')}\n"
    )
    assert run(command[0], "--help").returncode == 0


def test_a_reader_that_leaves_is_no_error(directory: Path) -> None:
    """Where the output goes nowhere, nothing is said about it."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "causal_otel", "traces", "--data-dir", str(directory), *_TIME],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_trace_is_shown_as_a_tree(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Why it took so long, headline, tree, critical path, where the time went, errors and what is odd."""
    lines = _trace(capsys, directory, ORDER).splitlines()
    assert lines[0] == "100 ms: 45 % waiting for a PostgreSQL connection, 40 % own code, 15 % PostgreSQL"
    assert lines[1] == f"2 findings: causal-otel why {ORDER}"
    assert lines[3] == f"api: POST /orders  trace {ORDER}"
    assert lines[4] == "2023-11-14 22:13:20.000 UTC, 100 ms, 4 spans, 2 services, 1 error"
    assert [line.split("  ")[0] for line in lines[7:14]] == [
        "POST /orders", "├╴own code, nothing traced", "├╴postgresql: SELECT orders", "├╴✗ GET (timeout)",
        "╰╴own code, nothing traced", "work (parent not received)",
        "In the bars: ░▒ waiting for a connection, a thread, a lock ..., ┄┅ nothing traced",
    ]  # fmt: skip
    text = "\n".join(lines)
    assert " 60.0%     60 ms  api: SELECT orders (postgresql) [" in text
    assert " 40.0%     40 ms  api: POST /orders [" in text
    assert "api: SELECT orders (postgresql) [7175657279" in text
    assert ": pool wait 45 ms (75%), rest 15 ms (25%)" in text
    assert "api: GET [63616c6c2d2d2d2d] - timeout: no answer" in text
    assert "worker: work [776f726b2d2d2d2d]: the span that it names as its parent is not in the trace" in text


def test_the_critical_path_leads_to_the_answer_or_to_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --until end, work after the answer and the wait for it are on the critical path."""
    directory = keep(
        tmp_path / "traces",
        trace(span("root", end=10), span("send", "root", 8, 10, kind="producer"), span("run", "send", 40, 50)),
    )
    to_answer = _trace(capsys, directory, TRACE_ID)
    assert "Critical path to the answer, heavy" in to_answer
    assert " 80.0%      8 ms  api: root [" in to_answer
    to_end = _trace(capsys, directory, TRACE_ID, "--until", "end")
    assert "Critical path to the end, heavy" in to_end
    assert " 80.0%     40 ms  api: run [72756e2d2d2d2d2d], 30 ms of it before it started" in to_end


def test_a_trace_is_shown_as_json(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is a line of OTLP JSON with all of its spans."""
    printed = otlp_json.loads(_trace(capsys, directory, ORDER.upper(), "--json").encode())
    assert [each.message for each in build(printed).spans] == [each.message for each in build(TRACES[ORDER]).spans]


def test_ids_of_64_bits_are_filled_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixteen digits are the low half of an id whose high half is zero."""
    directory = keep(tmp_path / "traces", trace(span("a", trace_id="00" * 8 + "ab" * 8)))
    assert "trace 0000000000000000abababababababab" in _trace(capsys, directory, "ab" * 8)


@pytest.mark.parametrize(
    ("written", "status", "message"),
    [
        ("xyz", 2, "'xyz' is no trace id, which has 32 hexadecimal digits"),
        (ORDER[:8], 2, "'0a0a0a0a' is no trace id"),
        ("c" * 32, 1, f"there is no trace {'c' * 32}: it was not received (yet), or is no longer kept"),
    ],
)
def test_a_trace_that_cannot_be_shown_is_named(
    directory: Path, capsys: pytest.CaptureFixture[str], written: str, status: int, message: str
) -> None:
    """Ids are whole, and of something that is there."""
    assert main(["trace", "--data-dir", str(directory), written]) == status
    assert capsys.readouterr().err.startswith(f"causal-otel trace: {message}")


@pytest.mark.parametrize(
    ("kind", "message", "shown"),
    [
        ("ValueError", "ValueError: bad item", "ValueError: bad item"),
        ("asyncpg.exceptions.DataError", "DataError: bad item", "DataError: bad item"),
        ("22000", "DataError: bad item", "22000: DataError: bad item"),
        ("timeout", "timeouts are bad", "timeout: timeouts are bad"),
        ("ValueError", "", "ValueError"),
        ("", "bad item", "bad item"),
        ("pool.LostError", "LostError", "pool.LostError"),
    ],
)
def test_an_error_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, message: str, shown: str
) -> None:
    """The error's type stands before the status' message unless that begins with it."""
    failed = span("a", error=True, message=message, attributes={"error.type": kind})
    directory = keep(tmp_path / "traces", trace(failed))
    assert f"api: a [612d2d2d2d2d2d2d] - {shown}" in _trace(capsys, directory, "a1" * 16).splitlines()[-1]


def test_an_error_tells_its_exceptions_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the status says only the type, the exception's event says more."""
    failed = span("a", error=True, message="LostError", attributes={"error.type": "pool.LostError"})
    event = failed.scope_spans[0].spans[0].events.add(name="exception")
    event.attributes.extend(pairs({"exception.type": "pool.LostError", "exception.message": "signal 9"}))
    directory = keep(tmp_path / "traces", trace(failed))
    assert _trace(capsys, directory, "a1" * 16).splitlines()[-1].endswith(" - pool.LostError: signal 9")


def _link(trace_id: str, span_id: str, role: str | None = None) -> Span.Link:
    attributes = pairs({"causal.link": role} if role else {})
    return Span.Link(trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(span_id), attributes=attributes)


def test_links_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its role and where it leads: to a span that is here, one that is not, and one of another trace."""
    here, members = span_id("root"), [span_id(f"m{number}") for number in range(5)]
    directory = keep(
        tmp_path / "traces",
        trace(
            span("root", end=9),
            *(span(f"m{number}", "root", number, service="worker") for number in range(5)),
            span(
                "body",
                "root",
                7,
                service="worker",
                links=[
                    *(_link(TRACE_ID, each, "chord-header") for each in members),
                    _link(TRACE_ID, here, "group"),
                    _link(TRACE_ID, "ab" * 8, "redelivery"),
                    _link(ORDER, "cd" * 8),
                ],
            ),
        ),
    )
    text = _trace(capsys, directory, TRACE_ID).split("\nLinks\n")[1].splitlines()
    first = ", ".join(f"m{number} [{members[number]}]" for number in range(3))
    assert [line.partition("] links to ")[2] for line in text[:4]] == [
        f"{first} and 2 more (chord-header)",
        f"api: root [{here}] (group)",
        f"[{'ab' * 8}], which is not here (redelivery)",
        f"[{'cd' * 8}] of trace {ORDER}",
    ]


def test_what_a_task_waited_in_a_worker_is_part_of_its_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that was busy is told apart from a queue that was long."""
    waited = span("a", attributes={"causal.queue.wait": 1.5, "causal.prefetch.wait": 1.25})
    directory = keep(tmp_path / "traces", trace(waited))
    assert "queue wait 1.5 s before (1.25 s of it prefetched)" in _trace(capsys, directory, "a1" * 16)


def test_equal_siblings_are_one_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the tree, on the critical path and where the time went: with the sums of all; expanded each is by itself."""
    postgresql = {"db.system.name": "postgresql"}
    lengths = [2 + number % 3 for number in range(12)]
    starts = [5 * number for number in range(12)]
    calls = [
        span(
            f"c{number}", "root", start, start + length, operation="SELECT items", kind="client",
            attributes={"causal.server": (length - 1) / 1000, "causal.queue.wait": 0.001, **postgresql},
        )
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]  # fmt: skip
    directory = keep(tmp_path / "traces", trace(span("root", end=100), *calls))
    text = _trace(capsys, directory, TRACE_ID)
    total, server = sum(lengths), sum(lengths) - 12
    name = f"12× api: SELECT items (postgresql) [{span_id('c0')} +11]"
    assert "├╴12× postgresql: SELECT items" in text
    assert f" {total:.1f}%  {total:>5} ms  {name}\n" in text
    went = f"queue wait 12 ms before, server {server} ms ({server / total:.0%}), rest 12 ms ({12 / total:.0%})"
    assert f"  {total:>5} ms  {name}: {went}\n" in text
    expanded = _trace(capsys, directory, TRACE_ID, "--expand")
    assert "×" not in expanded.partition("postgresql")[2]
    assert expanded.count("╴postgresql: SELECT items") == 12
    assert "and 3 more spans" in expanded


def test_a_large_trace_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the tree at most ten of a kind are named, the others counted."""
    children = (
        span(
            f"c{number}", "root", number, number + 1, operation=f"call {number}", error=True,
            attributes={"causal.server": 0.001},
        )
        for number in range(30)
    )  # fmt: skip
    directory = keep(tmp_path / "traces", trace(span("root", end=31), *children))
    text = _trace(capsys, directory, "a1" * 16)
    assert text.count("and 20 more spans") == 1
    assert text.count("and 21 more spans") == 1
    assert text.count("and 20 more errors") == 1
