"""Every alert has its tests, which promtool runs in tests/interop, and the dashboards are what their table says."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.files import DEPLOY

_FOLDER = DEPLOY / "prometheus"
_RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((_FOLDER / "rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
_CASES: list[dict[str, Any]] = [
    case
    for test in yaml.safe_load((_FOLDER / "rules.test.yml").read_text(encoding="utf-8"))["tests"]
    for case in test["alert_rule_test"]
]


@pytest.mark.parametrize("alert", [rule["alert"] for rule in _RULES if "alert" in rule])
def test_every_alert_has_a_case_in_which_it_fires(alert: str) -> None:
    """Promtool is told of one series at least for which the alert fires, and it is exact about the others."""
    assert any(case["exp_alerts"] for case in _CASES if case["alertname"] == alert)


def test_every_alert_says_what_and_how_bad() -> None:
    """An alert has a severity that somebody can route by, and a sentence."""
    alerts = [rule for rule in _RULES if "alert" in rule]
    assert {rule["labels"]["severity"] for rule in alerts} == {"critical", "warning"}
    assert [rule["alert"] for rule in alerts if not rule["annotations"]["summary"]] == []


# -- dashboards --------------------------------------------------------------------------------------------------------


def _generated() -> dict[str, str]:
    written: dict[str, str] = runpy.run_path(str(DEPLOY / "grafana" / "generate.py"))["generated"]()
    return written


@pytest.fixture(autouse=True, scope="module")
def _panels() -> Iterator[None]:
    """The script finds its table beside it, as it does when it is run."""
    sys.path.insert(0, str(DEPLOY / "grafana"))
    yield
    sys.path.remove(str(DEPLOY / "grafana"))


def test_dashboards_are_fresh() -> None:
    """The files are those that the script writes now, and no others."""
    folder = DEPLOY / "grafana" / "dashboards"
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert there == _generated(), "renew them with make docs"


def test_dashboards_can_be_told_apart() -> None:
    """Each has an id of its own, by which links find it, and panels with a title and a query."""
    boards = [json.loads(text) for text in _generated().values()]
    assert len({board["uid"] for board in boards}) == len(boards) >= 4
    panels = [panel for board in boards for panel in board["panels"] if panel["type"] != "row"]
    assert [panel for panel in panels if not (panel["title"] and panel["targets"])] == []
