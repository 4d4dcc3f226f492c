"""The unit of systemd is one that systemd accepts and calls safe."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY
from tests.interop.running import needed

_UNIT = DEPLOY / "systemd" / "causal-otel-collector.service"
_MOST_EXPOSED = 2.0
"""Of ten; a unit without a single restriction has 9.6."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    program = tmp_path / "causal-otel"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = _UNIT.read_text(encoding="utf-8").replace("/opt/causal-otel/bin/causal-otel", str(program))
    path = tmp_path / _UNIT.name
    path.write_text(text)
    return path


def test_systemd_knows_every_line(unit: Path) -> None:
    """``systemd-analyze verify`` has nothing to say about the unit."""
    done = _analyze("verify", "--man=no", str(unit))
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, complaints) == (0, [])


def test_the_unit_is_hardened(unit: Path) -> None:
    """``systemd-analyze security`` calls its exposure low."""
    done = _analyze("security", "--offline=true", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= _MOST_EXPOSED, done.stdout


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [needed("systemd-analyze"), *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
