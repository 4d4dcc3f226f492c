"""What the tests of the spool share: a collector of batches, programs that have a spool, names of files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

from causal_otel.export._spool_files import file_size
from tests.faults.programs import start

__all__ = ["HEADER", "PLENTY", "Collector", "file_name", "full", "names_in", "start_program"]

PLENTY = 1 << 30
HEADER = file_size(b"")
"""How many bytes a batch takes beyond its payload."""


class Collector:
    """Accepts batches, as many as it is told to."""

    def __init__(self, accepts: int = sys.maxsize) -> None:
        self.accepts = accepts
        self.payloads: list[bytes] = []
        self.spans = 0

    def __call__(self, payload: bytes, spans: int) -> bool:
        if len(self.payloads) >= self.accepts:
            return False
        self.payloads.append(payload)
        self.spans += spans
        return True


def file_name(number: int, suffix: str = ".spans") -> str:
    """A name as files of batches have it; they sort by their numbers."""
    return f"{number:020d}-{'a' * 16}{suffix}"


def names_in(directory: Path, suffix: str = ".spans") -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.endswith(suffix))


def full(*_: object) -> int:
    """Stands for a call of the operating system where the disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def start_program(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program that has ``spool``, on the directory that is its first argument."""
    prelude = f"""
    import errno, os, signal, sys, threading, time
    from pathlib import Path
    from causal_otel.export.spool import Spool
    spool = Spool(Path(sys.argv[1]), {PLENTY})
    """
    return start(prelude, code, *arguments)
