"""The patches that there are: ours, and those of other packages.

Another package offers its patch by an entry point of the group ``causal_otel.patches``, whose name is that of the patch
and of the module whose import it waits for::

    [project.entry-points."causal_otel.patches"]
    acmedb = "acmedb_tracing:PATCH"

Nothing of the package is imported before that module is, or before ``install()`` is given options for the patch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._log import logger

if TYPE_CHECKING:
    from causal_otel.instrument.declaration import Patch

__all__ = ["BUILT_IN", "ENTRY_POINTS", "Registered", "patches"]

ENTRY_POINTS = "causal_otel.patches"

_MODULES = {
    "asgi": ("starlette", "fastapi", "causal_otel.patches.asgi"),
    "asyncpg": ("asyncpg",),
    "celery": ("celery",),
    "httpx": ("httpx", "httpx2"),
    "neo4j": ("neo4j",),
    "redis": ("redis",),
}

_logger = logger()


class Registered(NamedTuple):
    """A patch by its name.

    Args:
        name: what ``install(patches=...)`` calls it.
        modules: it has work as soon as one of these is imported.
        load: imports its declaration, which does not import the driver.
    """

    name: str
    modules: tuple[str, ...]
    load: Callable[[], Patch]


def _built_in(name: str) -> Patch:
    patch: Patch = import_module(f"causal_otel.patches.{name}").PATCH
    return patch


BUILT_IN = {name: Registered(name, modules, functools.partial(_built_in, name)) for name, modules in _MODULES.items()}
"""Ours, by name."""


def patches() -> Mapping[str, Registered]:
    """All of them, by name: ours, then the others. Of two of a name the first one holds."""
    found = dict(BUILT_IN)
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        if entry.name in found:
            _logger.warning("the patch %r of %s is ignored: there is one of that name", entry.name, entry.value)
        else:
            found[entry.name] = Registered(entry.name, (entry.name,), entry.load)
    return found
