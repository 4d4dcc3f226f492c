"""Suites of others, run by pytest in a process of its own, with the plugin as their users have it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.faults.programs import environment

__all__ = ["Run", "run_suite"]

_PLUGINS = ("_causal_otel_pytest", "pytest_asyncio.plugin", "anyio.pytest_plugin", "xdist.plugin")
"""What is loaded by default: all that is installed here would take twice as long."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run of pytest has ended.

    Attributes:
        code: its status.
        output: what it has printed.
    """

    code: int
    output: str

    @property
    def outcomes(self) -> dict[str, int]:
        """How many tests have ended how, as the last line tells."""
        last = self.output.rstrip().splitlines()[-1]
        return {
            word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|errors?|skipped|deselected)", last)
        }

    def section(self, name: str) -> str:
        """The text of a section of a failed test, such as ``trace``."""
        found = re.search(rf"^-+ {name} -+\n(.*?)(?=^[-=_]{{3,}} |\Z)", self.output, re.MULTILINE | re.DOTALL)
        assert found is not None, self.output
        return found[1]


def run_suite(
    directory: Path,
    *options: str,
    files: dict[str, str] | None = None,
    plugins: tuple[str, ...] = _PLUGINS,
    autoload: bool = False,
    **variables: str,
) -> Run:
    """Run the suite in a directory.

    Args:
        directory: where it is.
        options: of pytest.
        files: written there before, by name.
        plugins: are loaded.
        autoload: whether all that is installed is loaded, by its entry points.
        variables: of the environment.
    """
    for name, text in (files or {}).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    if not (directory / "pytest.ini").exists():
        (directory / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    loaded = [] if autoload else [part for plugin in plugins for part in ("-p", plugin)]
    switch = {} if autoload else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *loaded, "-p", "no:cacheprovider", *options],
        cwd=directory,
        env=environment(PYTHONPATH=str(directory), COLUMNS="120", **switch, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return Run(done.returncode, done.stdout)
