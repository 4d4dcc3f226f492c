"""Figures that there is no time to read all of: agents are told since when they are whole."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from causal_otel.collector.mcp.sources import Traces
from causal_otel.collector.mcp.tools import TOOLS
from causal_otel.collector.store.days import DAY, day_of
from causal_otel.collector.trends.documents import figures
from causal_otel.collector.trends.periods import Period
from tests.cli.answering import answering
from tests.collector.store.endless import Hurried, keep_failures, plant_endless_day
from tests.mcp.agents import over_stdio, without_notice

TODAY = day_of(time.time_ns())
EXACT = "all spans of the hours that the time is in"
FIGURES = ("operations", "services", "errors")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a failed request on each of the last days."""
    return keep_failures(tmp_path_factory.mktemp("store"), TODAY)


def _ask(traces: Traces, name: str, **arguments: Any) -> dict[str, Any]:
    return without_notice(TOOLS[name].answer(traces, TOOLS[name].read(arguments)))


def _counted() -> str:
    at = time.strftime("%Y-%m-%dT00:00:00.000Z", time.gmtime(TODAY * DAY / 10**9))
    return f"spans since {at} only: there was no time to read more, ask for a shorter time or one service"


@pytest.mark.parametrize("name", FIGURES)
def test_of_a_directory(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What was read before the time was over, and that it is not all."""
    with Hurried(directory) as reader:
        assert _ask(reader, name, last="7d")["counted"] == EXACT
        plant_endless_day(monkeypatch, TODAY - 1)
        answer = _ask(reader, name, last="7d")
        assert answer["counted"] == _counted()
        assert [each.get("count", each.get("calls", each.get("spans"))) for each in answer[name]] == [1]
        assert _ask(reader, name, last="1s")["counted"] == EXACT


@pytest.mark.parametrize("name", FIGURES)
def test_without_any_figures_nothing_else_is_said(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """There is no hint that there are none: that is not known."""
    plant_endless_day(monkeypatch, TODAY)
    with Hurried(directory) as reader:
        answer = _ask(reader, name, last="7d")
    assert answer[name] == []
    assert "there was no time to read more" in answer["counted"]
    assert "hint" not in answer


def test_of_a_collector(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its documents say; of a shorter time all was read."""
    now = time.time_ns()
    with Hurried(directory) as reader:
        whole = {name: figures(reader.bounded(), name, None, Period(now - 7 * DAY, now)) for name in FIGURES[::2]}
        plant_endless_day(monkeypatch, TODAY - 1)
        cut = {name: figures(reader.bounded(), name, None, Period(now - 7 * DAY, now)) for name in FIGURES[::2]}
    for documents, counted in ((cut, _counted()), (whole, EXACT)):
        answers: dict[str, dict[str, Any]] = {"/status.json": {"store": {}, "writer": {}}}
        answers |= {f"/{name}.json": document for name, document in documents.items()}
        bodies = {path: (200, "application/json", json.dumps(each).encode()) for path, each in answers.items()}
        with answering(bodies) as found, over_stdio("--url", found.url, log=tmp_path / "log") as agent:
            assert {name: agent.ask(name, last="7d")["counted"] for name in FIGURES} == dict.fromkeys(FIGURES, counted)
    assert (tmp_path / "log").read_text() == ""
