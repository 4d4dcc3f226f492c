"""What servers and processes leave behind, and how long they may take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

__all__ = ["DEADLINE", "Footprint", "needs_proc"]

DEADLINE = 60.0
"""How long anything may take, in seconds."""

needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")


class Footprint:
    """What servers leave in a temporary directory of their own: files, and processes that work in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def files(self) -> list[str]:
        return os.listdir(self.directory)

    def processes(self) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if (entry / "cwd").readlink().is_relative_to(self.directory):
                        found.append((entry / "comm").read_text().strip())
        return found
