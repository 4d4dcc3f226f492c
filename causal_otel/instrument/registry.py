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
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from causal_otel._internal.installed import entry_points
from causal_otel._internal.log import logger

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from causal_otel.instrument.declaration import Patch

__all__ = ["BUILT_IN", "ENTRY_POINTS", "BrokenPatch", "Registered", "patches"]

ENTRY_POINTS = "causal_otel.patches"

_MODULES = {
    "aiohttp": ("aiohttp",),
    "aiokafka": ("aiokafka",),
    "asgi": ("starlette", "fastapi", "causal_otel.patches.asgi"),
    "asyncpg": ("asyncpg",),
    "celery": ("celery",),
    "event_loop": ("asyncio.base_events", "uvloop"),
    "grpc": ("grpc",),
    "httpx": ("httpx", "httpx2"),
    "locks": ("asyncio", "anyio"),
    "neo4j": ("neo4j",),
    "psycopg": ("psycopg", "psycopg_pool"),
    # What Celery and kombu do with Redis is known from where they make their connections: modules that import redis
    # halfway through, when it would be too late to wait for them.
    "redis": ("redis", "kombu", "celery"),
    "sqlalchemy": ("sqlalchemy",),
    "strawberry": ("strawberry",),
    "taskiq": ("taskiq",),
    "threads": ("threading", "concurrent.futures", "multiprocessing.pool"),
    "valkey": ("valkey",),
    "wsgi": ("flask", "django", "causal_otel.patches.wsgi"),
}

_logger = logger()


class Registered(NamedTuple):
    """A patch by its name.

    Args:
        name: what ``install(patches=...)`` calls it.
        modules: it has work as soon as one of these is imported.
        load: imports its declaration, which does not import the driver; raises :class:`BrokenPatch`.
    """

    name: str
    modules: tuple[str, ...]
    load: Callable[[], Patch]


def _built_in(name: str) -> Patch:
    patch: Patch = import_module(f"causal_otel.patches.{name}").PATCH
    return patch


BUILT_IN = {name: Registered(name, modules, functools.partial(_built_in, name)) for name, modules in _MODULES.items()}
"""Ours, by name."""


class BrokenPatch(Exception):
    """Another package's patch that cannot be used. Its message is a sentence for people."""


def patches() -> Mapping[str, Registered]:
    """All of them, by name: ours, then the others. Of two of a name the first one holds."""
    found = dict(BUILT_IN)
    try:
        entries = tuple(entry_points(ENTRY_POINTS))
    except Exception as error:  # some package's metadata cannot be read
        _logger.warning("no patches of other packages are known: their entry points cannot be read (%r)", error)
        return found
    for entry in entries:
        if entry.name in found:
            _logger.warning("the patch %r of %s is ignored: there is one of that name", entry.name, entry.value)
        else:
            found[entry.name] = Registered(entry.name, (entry.name,), functools.partial(_other, entry))
    return found


def _other(entry: EntryPoint) -> Patch:
    from causal_otel.instrument.declaration import Patch

    try:
        patch = entry.load()
    except Exception as error:
        raise BrokenPatch(f"{entry.value} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(patch, Patch):
        raise BrokenPatch(f"{entry.value} is no Patch, but {type(patch).__name__}")
    if patch.name != entry.name:
        raise BrokenPatch(f"{entry.value} is the patch {patch.name!r}, and registered as {entry.name!r}")
    return patch
