"""Figures that there is no time to read all of, in the terminal: what is missing is told on stderr."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from causal_otel.cli import main
from causal_otel.collector.query import Found, Query
from causal_otel.collector.store import reader
from causal_otel.collector.store.days import DAY, day_of
from causal_otel.collector.trends.documents import figures
from causal_otel.collector.trends.periods import Period
from tests.cli.answering import answering
from tests.collector.store.endless import Hurried, keep_failures, plant_endless_day

TODAY = day_of(time.time_ns())
COMMANDS = ("operations", "errors", "map")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a failed request on each of the last days."""
    return keep_failures(tmp_path_factory.mktemp("store"), TODAY)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands have little time."""
    monkeypatch.setattr(reader, "Reader", Hurried)


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], str]:
    """What a command prints of the last week: its lines, and what it says on stderr."""
    assert main([*arguments, "--lookback", "7d"]) == 0
    printed = capsys.readouterr()
    return printed.out.splitlines(), printed.err


def _said(day: int) -> str:
    at = time.strftime("%Y-%m-%d 00:00", time.gmtime(day * DAY / 10**9))
    missing = f"figures of before {at} UTC are missing, or too low"
    return f"There was no time to read all: {missing}: narrow the time to see all.\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_tells_what_there_was_no_time_for(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Below the rows that were read, and beside those of --json; nothing where there is time."""
    where = (command, "--data-dir", str(directory))
    everything, said = _printed(capsys, *where, "--json")
    assert said == ""
    plant_endless_day(monkeypatch, TODAY - 1)
    lines, said = _printed(capsys, *where)
    rows, said_beside = _printed(capsys, *where, "--json")
    assert said == said_beside == _said(TODAY)
    amounts = {"operations": "calls", "errors": "spans"}
    if command in amounts:
        assert [json.loads(row)[amounts[command]] for row in everything] == [4]
        assert [json.loads(row)[amounts[command]] for row in rows] == [1]
        assert len(lines) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_without_any_figures_nothing_else_is_said(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Whether there are any is not known."""
    plant_endless_day(monkeypatch, TODAY)
    lines, said = _printed(capsys, command, "--data-dir", str(directory))
    assert lines == []
    assert said.startswith("There was no time to read all: figures are missing, or too low")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_collector_that_had_no_time_is_quoted(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """With the time that its document says."""
    plant_endless_day(monkeypatch, TODAY - 1)
    now = time.time_ns()
    with Hurried(directory) as kept:
        document = figures(kept.bounded(), command, None, Period(now - 7 * DAY, now))
    answers = {"/status.json": {"store": {}, "writer": {}}, f"/{command}.json": document}
    bodies = {path: (200, "application/json", json.dumps(each).encode()) for path, each in answers.items()}
    with answering(bodies) as found:
        assert _printed(capsys, command, "--url", found.url)[1] == _said(TODAY)


def test_a_search_tells_it_likewise(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was compared, if not the newest were asked for."""
    search = Hurried.search

    def broken_off(self: Hurried, query: Query, *, seconds: float = 2.0) -> Found:
        return Found(search(self, query, seconds=seconds).trace_ids, False, TODAY * DAY)

    monkeypatch.setattr(Hurried, "search", broken_off)
    lines, said = _printed(capsys, "traces", "--data-dir", str(directory), "--sort", "longest")
    assert len(lines) == 6
    at = time.strftime("%Y-%m-%d 00:00:00.000", time.gmtime(TODAY * DAY / 10**9))
    assert said == (
        f"The search ended before all was seen, and only traces since {at} UTC were compared: "
        "narrow the time to see all.\n"
    )
