"""Work that takes a known time of its thread, and none that a busy machine could stretch."""

from __future__ import annotations

import time

__all__ = ["COMPUTED", "compute"]

COMPUTED = 50_000_000
"""Nanoseconds of its thread's time that :func:`compute` takes."""


def compute(nanoseconds: int = COMPUTED) -> None:
    """Compute for that long."""
    until = time.thread_time_ns() + nanoseconds
    while time.thread_time_ns() < until:
        pass
