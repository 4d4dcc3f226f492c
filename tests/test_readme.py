"""What the README tells a newcomer to type works before there is a release."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_PAGES = (_ROOT / "README.md", *(_ROOT / "docs").rglob("*.md"))


def _pip_commands(page: Path) -> list[str]:
    return re.findall(r"pip (?:install|wheel)[^`#&\n]*", page.read_text(encoding="utf-8"))


def test_no_page_installs_from_an_index() -> None:
    """No page tells to install the distribution by its name, which no index has before a release."""
    commands = [command for page in _PAGES for command in _pip_commands(page)]
    assert len(commands) >= 6
    assert [command for command in commands if re.search(r"causal-otel\b", command)] == []


@pytest.mark.long
def test_wheel(tmp_path: Path) -> None:
    """The README's two commands with a wheel build it and install it, with extras that exist."""
    wheel, install = (command.split() for command in _pip_commands(_ROOT / "README.md") if "dist" in command)
    path, extras = install[-1].strip('"').rstrip("]").split("[")
    assert wheel[-3:] == ["--wheel-dir", "dist", "."]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    dist, target = tmp_path / "dist", tmp_path / "site"
    subprocess.run([*pip, *wheel[1:-2], str(dist), str(_ROOT)], check=True, timeout=150, capture_output=True)
    built = dist / Path(path).name
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(target), f"{built}[{extras}]"],
        check=True, timeout=150, capture_output=True,
    )  # fmt: skip
    code = (
        "import causal_otel, importlib.metadata as m; print(causal_otel.__file__); "
        "print(*m.metadata('causal-otel').get_all('Provides-Extra'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(target)}, cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    place, provided = done.stdout.splitlines()
    assert Path(place).is_relative_to(target)
    assert set(extras.split(",")) <= set(provided.split())
