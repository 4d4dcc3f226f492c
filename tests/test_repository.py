"""What is in the repository, and what git keeps out of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A checkout that somebody else owns, as CI's containers have it, is refused otherwise.
    command = ["git", "-c", "safe.directory=*", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("git") is None or not (_ROOT / ".git").exists(), reason="this is no checkout of git's")
def test_no_wheel_is_kept() -> None:
    """Wheels, which pip builds or downloads, are not in the repository, and git ignores new ones."""
    kept = _git("ls-files", "--", "*.whl")
    assert (kept.returncode, kept.stdout) == (0, "")
    assert _git("check-ignore", "--no-index", "--quiet", "py_spy-1-py3-none-any.whl").returncode == 0
