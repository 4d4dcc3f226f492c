"""What needs no true program: strategies, certificates, Elasticsearch's policy, Tempo's thirty days."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_certificates_are_good_and_can_be_renewed(tmp_path: Path) -> None:
    """What the script makes is signed, and names the services; run again, it renews that and keeps the authority."""
    folder = tmp_path / "certs"
    made: list[tuple[bytes, bytes]] = []
    for _ in range(2):
        subprocess.run([DEPLOY / "certificates.sh", folder, "traces.example.com"], check=True, timeout=120)
        made.append(((folder / "ca.crt").read_bytes(), (folder / "server.crt").read_bytes()))
    assert made[0][0] == made[1][0]
    assert made[0][1] != made[1][1]
    for role in ("server", "client"):
        certificate = folder / f"{role}.crt"
        verified = _openssl("verify", "-purpose", f"ssl{role}", "-CAfile", folder / "ca.crt", certificate)
        assert verified == f"{certificate}: OK\n"
        names = _openssl("x509", "-noout", "-ext", "subjectAltName", "-in", certificate)
        assert all(f"DNS:{name}" in names for name in ("otelcol", "jaeger", "localhost", "traces.example.com"))


def _openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout
