"""What needs no true program: strategies, Elasticsearch's policy, Tempo's thirty days."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from causal_otel.cli import main
from tests.deploy.files import DEPLOY, compose

_WITH_A_HEADER = ("*.yaml", "*.yml", "*.sh", "*.service", "Dockerfile", "ilm-policy.json")
_FILES = sorted(path for pattern in _WITH_A_HEADER for path in DEPLOY.rglob(pattern))
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


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_says_how_it_was_checked(path: Path) -> None:
    """Each configuration, unit and script names the tests that check it; if it is YAML, it can be read."""
    text = path.read_text(encoding="utf-8")
    header = re.match(r"(#.*\n)+|\{\n", text)
    assert header is not None
    assert re.search(r"tests/(deploy|interop)", text if path.suffix == ".json" else header[0])
    if path.suffix in (".yaml", ".yml"):
        assert all(document is not None for document in yaml.safe_load_all(text))


def test_grafana_finds_what_it_is_told_of() -> None:
    """Dashboards are where compose.tempo.yaml mounts them, data sources are services of it, and refer to each other."""
    folder = DEPLOY / "grafana" / "provisioning"
    services = compose("compose.tempo.yaml")["services"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "tracing.yaml").read_text())["providers"]
    mounts = dict(mount.split(":")[1::-1] for mount in services["grafana"]["volumes"])
    assert mounts[provider["options"]["path"]] == "./grafana/dashboards"
    assert mounts["/etc/grafana/provisioning"] == "./grafana/provisioning"
    text = (folder / "datasources" / "tracing.yaml").read_text()
    sources = yaml.safe_load(text)["datasources"]
    assert {urlsplit(source["url"]).hostname for source in sources} <= set(services)
    assert set(re.findall(r"datasourceUid: (\w+)", text)) <= {source["uid"] for source in sources}


def test_tempo_keeps_thirty_days() -> None:
    """Tempo's blocks live for 720 hours."""
    tempo = yaml.safe_load((DEPLOY / "tempo" / "tempo.yaml").read_text())
    assert tempo["overrides"]["defaults"]["compaction"]["block_retention"] == "720h"
