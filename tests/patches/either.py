"""Drivers of which there are two, synchronous and asynchronous: one test for both."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["close", "settle"]


async def settle(value: Any) -> Any:
    """What a call of either returns."""
    return await value if inspect.isawaitable(value) else value


async def close(each: Any) -> None:
    """Close what either has made; redis-py has ``aclose()`` since 5.0.1."""
    await settle(each.aclose() if hasattr(each, "aclose") else each.close())
