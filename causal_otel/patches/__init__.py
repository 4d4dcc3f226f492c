"""The drivers and frameworks that are traced, one file each, all on the layer in ``_layer.py``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from causal_otel.patches._layer import Patch

__all__ = ["DRIVERS", "NAMES", "get"]

DRIVERS = {
    "asgi": ("starlette", "fastapi", "causal_otel.patches.asgi"),
    "asyncpg": ("asyncpg",),
    "celery": ("celery",),
    "httpx": ("httpx", "httpx2"),
    "neo4j": ("neo4j",),
    "redis": ("redis",),
}
"""What a patch waits for: it has work as soon as one of these modules is imported."""

NAMES = tuple(DRIVERS)
"""What ``install(patches=...)`` may name."""


def get(name: str) -> Patch:
    """The declaration of one of :data:`NAMES`; importing it does not import the driver."""
    patch: Patch = import_module(f"causal_otel.patches.{name}").PATCH
    return patch
