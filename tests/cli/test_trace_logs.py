"""``causal-otel trace --logs`` and ``causal-otel traces --logs``: log records under their spans, and found by words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from causal_otel.cli import main
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.store.writer import Writer
from tests.cli.storing import AFTER, BEFORE, ORDER, REPORT, keep
from tests.collector.analysis.making import BEGIN, MS
from tests.collector.records import log_request, record

_ALONE = "0c" * 16


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two traces, of which one has records, and records of a trace without spans."""
    kept = keep(tmp_path / "traces")
    root = int.from_bytes(_span_id(kept), "big")
    made = [
        record("paid\nin full\x1b[31m", span=root, at=BEGIN + 40 * MS, severity=13),
        record("paying", span=root, at=BEGIN + 10 * MS),
        record("lost", span=0xDEAD, at=BEGIN, severity=17, tags={"exception.stacktrace": "Traceback:\n  at x"}),
        record("alone", at=BEGIN),
    ]
    for each in made:
        each.trace_id = bytes.fromhex(_ALONE if each.body.string_value == "alone" else ORDER)
    writer = Writer(kept, retention_days=36_500, max_bytes=None)
    writer.start()
    assert writer.put(log_request(*made), logs=True).result(30).spans == 4
    writer.close(30)
    return kept


def _span_id(directory: Path) -> Any:
    with Reader(directory) as reader:
        trace = reader.trace(bytes.fromhex(ORDER))
    assert trace is not None
    spans = [span for group in trace.resource_spans for scoped in group.scope_spans for span in scoped.spans]
    (root,) = [span.span_id for span in spans if span.name == "POST /orders"]
    return root


def _run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main([*arguments]) == status
    return capsys.readouterr().out


def test_records_stand_under_their_span(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By time, with level and logger; those whose span is not here come after the tree; controls are gone."""
    shown = _run(capsys, "trace", "--data-dir", str(directory), ORDER, "--logs").splitlines()
    at = next(number for number, line in enumerate(shown) if "POST /orders" in line and "━" in line)
    assert [line.split() for line in shown[at + 1 : at + 3]] == [
        ["10", "ms", "INFO", "shop.cart:", "paying"],
        ["40", "ms", "WARN", "shop.cart:", "paid"],
    ]
    assert shown[at + 3].split()[:2] == ["in", "full"]
    assert "\x1b" not in "".join(shown)
    rest = "\n".join(shown).partition("Log records of spans that are not here")[2]
    assert "ERROR shop shop.cart: lost" in rest
    assert "at x" in rest
    assert "paying" not in _run(capsys, "trace", "--data-dir", str(directory), ORDER)
    assert "It has no log records." in _run(capsys, "trace", "--data-dir", str(directory), REPORT, "--logs")
    assert "shop shop.cart: alone" in _run(capsys, "trace", "--data-dir", str(directory), _ALONE, "--logs")
    _run(capsys, "trace", "--data-dir", str(directory), _ALONE, status=1)


def test_as_json(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json they are one line of OTLP JSON; empty for a trace without any."""
    document = json.loads(_run(capsys, "trace", "--data-dir", str(directory), ORDER, "--logs", "--json"))
    said = [each["body"]["stringValue"] for each in document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]]
    assert sorted(said) == ["lost", "paid\nin full\x1b[31m", "paying"]
    assert json.loads(_run(capsys, "trace", "--data-dir", str(directory), REPORT, "--logs", "--json")) == {}


def test_traces_by_words(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words find the trace of the record that has them; what is no word is refused."""
    options = ("traces", "--data-dir", str(directory), "--start", BEFORE, "--end", AFTER, "--json", "--logs")
    assert json.loads(_run(capsys, *options, "Paying"))["trace_id"] == ORDER
    assert _run(capsys, *options, "nowhere") == _run(capsys, *options, "alone") == ""
    _run(capsys, *options, "!", status=2)
