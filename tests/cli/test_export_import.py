"""``causal-otel export`` and ``causal-otel import``: lines of OTLP JSON out of the store and into it."""

from __future__ import annotations

import gzip
import io
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.cli import main, otlp_lines
from causal_otel.cli.otlp_lines import BadLine, in_parts, read_lines
from causal_otel.collector.analysis import build
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from tests.cli.storing import AFTER, BEFORE, ORDER, REPORT, TRACES, keep
from tests.collector.analysis.making import TRACE_ID, span, trace
from tests.collector.running import running

if TYPE_CHECKING:
    from pathlib import Path

_LINES = [otlp_json.dumps(each) for each in TRACES.values()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return keep(tmp_path / "traces")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other"


def _spans(trace: TracesData | None) -> list[Span]:
    return sorted((each.message for each in build(trace or TracesData()).spans), key=lambda each: each.span_id)


def _kept(directory: Path) -> dict[str, list[Span]]:
    with Reader(directory) as reader:
        return {found.hex(): _spans(reader.trace(found)) for found in reader.trace_ids(0, 2**63 - 1)}


def _export(directory: Path, *arguments: str) -> int:
    return main(["export", "--data-dir", str(directory), *arguments])


def _import(directory: Path, *arguments: str | Path) -> int:
    return main(["import", "--data-dir", str(directory), *map(str, arguments)])


def _ids(path: Path) -> list[str]:
    return [build(otlp_json.loads(line)).trace_id for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("name", ["traces.jsonl", "traces.jsonl.gz"])
def test_what_is_exported_can_be_imported(
    directory: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Another store gets the same spans, by way of a plain or a compressed file that only its owner reads."""
    file = tmp_path / name
    assert _export(directory, str(file)) == 0
    assert (file.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _import(other, file) == 0
    assert _kept(other) == _kept(directory) == {trace_id: _spans(each) for trace_id, each in TRACES.items()}
    assert capsys.readouterr().err == "2 traces with 5 spans were written.\n5 spans were imported.\n"


def test_importing_twice_keeps_spans_once(other: Path, tmp_path: Path) -> None:
    """What is there already does not come again."""
    file = tmp_path / "traces.jsonl"
    file.write_bytes(b"\n".join(_LINES))
    assert _import(other, file) == 0
    assert _import(other, file, file) == 0
    assert {trace_id: len(spans) for trace_id, spans in _kept(other).items()} == {ORDER: 4, REPORT: 1}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [ORDER, REPORT]),
        (("--service", "worker"), [ORDER]),
        (("--start", "2023-11-14T22:13:21"), [REPORT]),
        (("--start", BEFORE, "--end", "2023-11-14T22:13:21"), [ORDER]),
        (("--lookback", "1h"), []),
        (("--end", AFTER, "--lookback", "1d", "--service", "web"), [REPORT]),
    ],
)
def test_exports_can_be_narrowed(
    directory: Path, tmp_path: Path, options: tuple[str, ...], expected: list[str]
) -> None:
    """By time and by service; the traces are whole, the oldest day first."""
    assert _export(directory, str(tmp_path / "out"), *options) == 0
    assert sorted(_ids(tmp_path / "out")) == expected


def test_a_file_is_replaced_only_if_told(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there stays, and nothing half-written is left behind."""
    file = tmp_path / "out"
    file.write_text("precious")
    assert _export(directory, str(file)) == 1
    assert f"{file} is there already: give another name, or --overwrite" in capsys.readouterr().err
    assert file.read_text() == "precious"
    assert _export(directory, str(file), "--overwrite") == 0
    assert len(_ids(file)) == 2
    assert _export(directory, str(tmp_path / "none" / "out")) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "traces"]


def test_pipes_lead_from_store_to_store(directory: Path, other: Path) -> None:
    """A dash is stdout of an export and stdin of an import, compressed if asked for."""
    command = (sys.executable, "-m", "causal_otel")
    exported = subprocess.run(
        [*command, "export", "-", "--gzip", "--data-dir", str(directory)], capture_output=True, timeout=60, check=True
    )
    assert len(gzip.decompress(exported.stdout).splitlines()) == 2
    imported = subprocess.run(
        [*command, "import", "-", "--data-dir", str(other)],
        input=exported.stdout,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert imported.stderr == b"5 spans were imported.\n"
    assert _kept(other) == _kept(directory)


def test_bad_lines_are_named_and_the_rest_is_imported(
    other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has its number and what is wrong with it; empty lines are nothing; the status says that not all is well."""
    file = tmp_path / "mixed"
    no_id = trace(span("a", trace_id=TRACE_ID))
    no_id.resource_spans[0].scope_spans[0].spans[0].trace_id = b""
    lines = [b"{", _LINES[0], b"", b"[]", b'{"resourceSpans": []}', otlp_json.dumps(no_id), b"\x1b\xff", _LINES[1]]
    file.write_bytes(b"\n".join(lines))
    assert _import(other, file, tmp_path / "missing") == 1
    *bad, missing, summary = capsys.readouterr().err.splitlines()
    prefix = f"causal-otel import: {file}, "
    assert sorted(line.removeprefix(prefix)[:38] for line in bad) == [  # what the store says of one comes when it will
        "line 1: not JSON: Expecting property n",
        "line 4: not OTLP JSON: an object is ne",
        "line 5: there are no spans in it; OTLP",
        "line 6: 1 of its spans were rejected: ",
        "line 7: not JSON: not in UTF-8 at byte",
    ]
    assert missing == f"causal-otel import: {tmp_path / 'missing'}: No such file or directory"
    assert summary == "5 spans were imported."
    assert sorted(_kept(other)) == [ORDER, REPORT]


def test_damaged_gzip_is_imported_as_far_as_it_goes(
    other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file cut short gives what came before the cut."""
    file = tmp_path / "cut.gz"
    members = gzip.compress(_LINES[0] + b"\n") + gzip.compress(_LINES[1])[:-20]
    file.write_bytes(members)
    assert _import(other, file) == 1
    assert f"{file}, line 2: the gzip data is damaged from here on" in capsys.readouterr().err
    assert list(_kept(other)) == [ORDER]


def test_a_line_without_end_is_passed_over(
    other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line longer than may be is never held, and those after it are read."""
    monkeypatch.setattr(otlp_lines, "LINE_LIMIT", 10_000)
    file = tmp_path / "long.gz"
    file.write_bytes(gzip.compress(b" " * 1_000_000 + b"\n" + _LINES[0] + b"\n" + b"x" * 10_001))
    assert _import(other, file) == 1
    errors = capsys.readouterr().err
    assert f"{file}, line 1: it has more than 10000 bytes" in errors
    assert f"{file}, line 3: it has more than 10000 bytes" in errors
    assert list(_kept(other)) == [ORDER]


def test_complaints_end(other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is something else altogether does not flood the terminal."""
    file = tmp_path / "noise"
    file.write_bytes(b"x\n" * 500)
    assert _import(other, file) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[-2:] == ["0 spans were imported.", "480 more complaints are not shown."]


def test_a_store_has_one_writer(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While a collector has the directory, the message tells to import through it."""
    file = tmp_path / "traces.jsonl"
    file.write_bytes(_LINES[0])
    writer = Writer(directory)
    writer.start()
    try:
        assert _import(directory, file) == 1
    finally:
        writer.close(30)
    assert f"a collector is running on {directory}: give its address, such as --endpoint" in capsys.readouterr().err


def test_a_running_collector_takes_an_import(
    other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its address and token the traces are in its store; without the token it says what to set."""
    file = tmp_path / "traces.jsonl"
    file.write_bytes(b"\n".join([*_LINES, b"{"]))
    token = {"CAUSAL_OTEL_COLLECTOR_TOKEN": "secret"}
    with running(other, environ=token) as collector:
        assert _import(other, file, "--endpoint", collector.http) == 1
        refused = capsys.readouterr().err
        monkeypatch.setenv(*token.popitem())
        assert _import(other, file, "--endpoint", f"{collector.http}/v1/traces") == 1
        assert {found: len(spans) for found, spans in _kept(other).items()} == {ORDER: 4, REPORT: 1}
    assert f"{collector.http}/v1/traces does not take it: 401" in refused
    assert "; set CAUSAL_OTEL_COLLECTOR_TOKEN." in refused
    assert "line 3: not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("endpoint", "status", "message"),
    [
        ("localhost:4318", 2, "--endpoint: write an address such as http://127.0.0.1:4318, not 'localhost:4318'"),
        ("http://127.0.0.1:9", 1, "http://127.0.0.1:9/v1/traces does not take it: "),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_named(
    other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], endpoint: str, status: int, message: str
) -> None:
    """An address that is none, or where nobody listens, ends the import."""
    file = tmp_path / "traces.jsonl"
    file.write_bytes(_LINES[0])
    assert _import(other, file, "--endpoint", endpoint) == status
    assert f"causal-otel import: {message}" in capsys.readouterr().err


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=30), st.integers(1, 5_000))
def test_parts_hold_all_spans_and_no_more_than_they_may(lengths: list[int], size: int) -> None:
    """Together the parts are the trace; each is within its size, or a single span."""
    whole = trace(*(span(str(number), operation="x" * length) for number, length in enumerate(lengths)))
    parts = list(in_parts(whole, size))
    assert [each.name for part in parts for each in _in_order(part)] == [each.name for each in _in_order(whole)]
    assert all(part.ByteSize() <= size + 64 or len(_in_order(part)) == 1 for part in parts)
    assert all(part.resource_spans[0].resource == whole.resource_spans[0].resource for part in parts)


def _in_order(trace: TracesData) -> list[Span]:
    return [each for group in trace.resource_spans for scoped in group.scope_spans for each in scoped.spans]


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: gzip.compress(b"{}\n")[:18] + data))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever is in a file, each line is a trace or named as bad."""
    for number, found in read_lines(io.BufferedReader(io.BytesIO(data))):
        assert number >= 1
        assert isinstance(found, TracesData | BadLine)
