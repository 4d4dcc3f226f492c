"""A task of the tests' app that says what its process holds; a worker has it by ``-I tests.patches.celery_census``."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

from causal_otel.installation import installation
from tests.patches.celery_app import app

__all__ = ["census"]


class Allocated(ctypes.Structure):
    """What glibc's ``mallinfo2`` says: in small pieces ``uordblks`` bytes, and in large ones ``hblkhd``."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def allocated() -> int:
    """The bytes that malloc has given out, without what is between them; those of the process where it does not say."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # neither glibc nor 2.33
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    ask.restype = Allocated
    said = ask()
    return int(said.uordblks + said.hblkhd)


@app.task(name="tests.census")
def census() -> dict[str, int]:
    """What this process holds, once it has exported what it can: blocks of memory, objects, and bytes of memory.

    Python has objects of up to 512 bytes in blocks of its own, and the others from malloc.
    """
    installed = installation()
    if installed is not None:
        installed.flush(10)
    gc.collect()
    return {
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "memory": allocated(),
    }
