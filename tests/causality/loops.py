"""Run something on each kind of event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

__all__ = ["LOOPS", "run"]

T = TypeVar("T")

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""What makes a loop, by its kind."""


def run(kind: str, main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run ``main`` on a loop of that kind."""
    with asyncio.Runner(loop_factory=LOOPS[kind], debug=debug) as runner:
        return runner.run(main)
