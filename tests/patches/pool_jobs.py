"""Jobs for pools of processes: importable by children, whatever they are started by. It imports nothing of ours."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["fail", "headers", "initialize", "nothing_current", "number", "seen"]

_initialized: list[bool] = []


def headers(_: Any = None) -> tuple[int, dict[str, str]]:
    """The process, and what a client there would send."""
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return os.getpid(), carrier


def seen(_: Any = None) -> tuple[bool, dict[str, str]]:
    """Whether the initializer has found something current, and what is sent."""
    return _initialized[0], headers()[1]


def initialize() -> None:
    """Note whether anything is current in a child that has been given no job yet."""
    _initialized.append(nothing_current())


def nothing_current() -> bool:
    """Whether no trace is current."""
    return headers()[1] == {}


def number(text: str) -> int:
    """A job with an argument."""
    return int(text)


def fail() -> None:
    """A job that fails."""
    raise ValueError("mine")
