"""A task of the tests' app that says what its process holds; a worker has it by ``-I tests.patches.celery_census``."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from causal_otel.install import installation
from tests.patches.celery_app import app

__all__ = ["census"]


@app.task(name="tests.census")
def census() -> dict[str, int]:
    """What this process holds, once it has exported what it can: blocks of memory, objects, and bytes of memory."""
    installed = installation()
    if installed is not None:
        installed.flush(10)
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
    }
