"""What needs no true program: strategies, Elasticsearch's policy, Tempo's thirty days."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from causal_otel.cli import main
from tests.deploy.files import DEPLOY

_STRATEGIES = DEPLOY / "config" / "jaeger-sampling.json"


def test_the_strategies_are_good(capsys: pytest.CaptureFixture[str]) -> None:
    """``causal-otel sampling check`` accepts them: everything is recorded, of health checks one in ten."""
    asked = ["worker", "process orders.charge", "unknown", "GET /orders/7", "unknown", "GET /health"]
    shares = ["everything", "everything", "10 %"]
    assert main(["sampling", "check", str(_STRATEGIES), *asked]) == 0
    shown = capsys.readouterr().out.splitlines()[1:]
    assert [bool(re.search(share, line)) for share, line in zip(shares, shown, strict=True)] == [True] * 3


def test_elasticsearch_deletes_after_thirty_days() -> None:
    """The policy rolls over each day and deletes what is thirty days old."""
    phases: dict[str, Any] = json.loads((DEPLOY / "elasticsearch" / "ilm-policy.json").read_text())["policy"]["phases"]
    assert phases["hot"]["actions"]["rollover"]["max_age"] == "1d"
    assert (phases["delete"]["min_age"], phases["delete"]["actions"]) == ("30d", {"delete": {}})


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: path.name)
def test_every_configuration_is_yaml(path: Path) -> None:
    """Each file of YAML can be read, and begins with a comment that says what it is and how it was checked."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert all(document is not None for document in yaml.safe_load_all(text))


def test_tempo_keeps_thirty_days() -> None:
    """Tempo's blocks live for 720 hours."""
    tempo = yaml.safe_load((DEPLOY / "tempo" / "tempo.yaml").read_text())
    assert tempo["overrides"]["defaults"]["compaction"]["block_retention"] == "720h"
