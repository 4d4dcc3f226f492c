"""Waits that are not all alike, so that many processes do not ask at once."""

from __future__ import annotations

from random import SystemRandom

__all__ = ["jittered"]

_uniform = SystemRandom().uniform  # not the module's own: a program that has seeded that gets what it has seeded


def jittered(seconds: float, least: float, most: float) -> float:
    """``seconds``, times something between ``least`` and ``most``."""
    return seconds * _uniform(least, most)
