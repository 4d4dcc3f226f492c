"""The alerts by promtool, each in both directions."""

from __future__ import annotations

import subprocess

import pytest

from tests.deploy.files import DEPLOY
from tests.interop.running import needed


@pytest.mark.parametrize(
    "command", [("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")], ids=" ".join
)
def test_promtool_accepts(command: tuple[str, ...]) -> None:
    """Rules and their tests are good, and every alert fires when it is to, and then only."""
    folder = DEPLOY / "prometheus"
    done = subprocess.run([needed("promtool"), *command], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
