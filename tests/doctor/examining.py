"""Runs ``causal-otel doctor`` as a process of its own, and reads what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.programs import environment

__all__ = ["APPLICATION", "Report", "examine"]

APPLICATION = """
from starlette.applications import Starlette

import causal_otel

causal_otel.install()
app = Starlette()
"""
"""An application that nothing is wrong with."""

_SECONDS = 150.0
_DOCTOR = (sys.executable, "-m", "causal_otel", "doctor")


@dataclass(frozen=True)
class Report:
    """What a run of the command has told.

    Attributes:
        status: its exit status.
        findings: in their order.
        looked_at: what it says of what it has looked at.
        complaint: on stderr.
    """

    status: int
    findings: list[dict[str, str]]
    looked_at: list[str]
    complaint: str

    @property
    def first(self) -> dict[str, str]:
        """The first finding."""
        assert self.findings, (self.looked_at, self.complaint)
        return self.findings[0]

    def codes(self) -> list[str]:
        """Of all findings."""
        return [each["code"] for each in self.findings]


def examine(directory: Path, *arguments: str, pasted: str = "", **variables: str) -> Report:
    """Run the command with ``--json``.

    Args:
        directory: where it runs.
        arguments: of the command.
        pasted: lines of a shell to run before it, as somebody does who pastes a fix.
        variables: its environment, beside what every program of the tests has.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f'{pasted}\nexec "$@"', "bash", *_DOCTOR, "--json", *arguments],
        cwd=directory,
        env=environment(**{"PATH": path, "NO_PROXY": "", **variables}),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    document: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"findings": [], "looked_at": []}
    return Report(done.returncode, document["findings"], document["looked_at"], done.stderr)
