"""Libraries that this process uses and nothing traces: asked by ``status()``, which says so."""

from __future__ import annotations

import sys
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING

from causal_otel.instrument.applying import at_work

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["instrumentations", "untraced", "version_of"]

_DRIVERS = (
    "aio_pika",
    "aiohttp",
    "aiokafka",
    "aiomysql",
    "aioredis",
    "aiosqlite",
    "arq",
    "asyncmy",
    "boto3",
    "botocore",
    "cassandra",
    "confluent_kafka",
    "dramatiq",
    "elasticsearch",
    "grpc",
    "kafka",
    "motor",
    "MySQLdb",
    "oracledb",
    "pika",
    "psycopg",
    "psycopg2",
    "pymongo",
    "pymysql",
    "requests",
    "rq",
    "sqlalchemy",
    "tornado",
    "urllib3",
)
_USED_BY_EXPORT = frozenset({"grpc", "requests", "urllib3"})
"""What is imported to export spans as well: the program uses it if a module of somebody else's has it."""

_EXPORTING = (
    *("causal_otel", "grpc", "opentelemetry", "requests", "urllib3"),
    *("ddtrace", "elasticapm", "logfire", "newrelic", "sentry_sdk"),
)
_SAME = {"boto3": "botocore", "motor": "pymongo"}
"""A library whose work an instrumentation of another one traces."""
_MODULES = {"mysqlclient": "MySQLdb"}
"""Instrumentations that have another name than the module that they trace."""
_BELOW = {"sqlalchemy": "asyncpg"}
"""A library whose work is traced, without a patch of its own, where this driver below it is in use."""

_BELOW_SQLALCHEMY = frozenset(
    {"MySQLdb", "aiomysql", "aiosqlite", "asyncmy", "oracledb", "psycopg", "psycopg2", "pymysql"}
)
"""Drivers whose work is traced where SQLAlchemy uses them and its patch is on; nobody can tell whether it does."""


def untraced(advice: Callable[[str], str]) -> tuple[str, ...]:
    """The imported libraries that neither we nor OpenTelemetry's instrumentations trace, with their versions.

    Where the instrumentation is imported and yet does nothing, as it does for versions outside its range, that is
    said as well.

    Args:
        advice: tells what traces a library, in a line; empty: nothing does.
    """
    traced, idle = instrumentations()
    lines = []
    for name in _DRIVERS:
        module = sys.modules.get(name)
        if module is None or name in at_work or not traced.isdisjoint((name, _SAME.get(name, name))):
            continue
        if name not in idle and _BELOW.get(name) in sys.modules:
            continue
        if name in _BELOW_SQLALCHEMY and "sqlalchemy" in at_work and name not in idle:
            continue
        if name in _USED_BY_EXPORT and not _used(module):
            continue
        why = advice(name)
        if name in idle:
            why = f"opentelemetry.instrumentation.{name} is imported, but not at work"
        lines.append(" ".join(filter(None, (name, version_of(module), f"({why})" if why else ""))))
    return tuple(lines)


def _used(module: ModuleType) -> bool:
    """Whether a module other than its own, and those that export, has it among its names."""
    for name, other in tuple(sys.modules.items()):
        if name.partition(".")[0] in _EXPORTING or not isinstance(other, ModuleType):
            continue
        if vars(other).get(module.__name__) is module:
            return True
    return False


def version_of(module: ModuleType) -> str:
    """Of what is imported. A module's ``__getattr__`` is not asked: that of Flask 3.1 warns of the question."""
    version = vars(module).get("__version__")
    if isinstance(version, str):
        return version
    try:
        return metadata.version(module.__name__)
    except metadata.PackageNotFoundError:
        return ""


def instrumentations() -> tuple[set[str], set[str]]:
    """What OpenTelemetry's instrumentations trace, and what they do not though they are imported."""
    traced: set[str] = set()
    idle: set[str] = set()
    base = getattr(sys.modules.get("opentelemetry.instrumentation.instrumentor"), "BaseInstrumentor", None)
    for instrumentor in [] if base is None else base.__subclasses__():
        module = instrumentor.__module__.removeprefix("opentelemetry.instrumentation.").partition(".")[0]
        name = _MODULES.get(module, module.removesuffix("_client"))
        at_work = getattr(getattr(instrumentor, "_instance", None), "is_instrumented_by_opentelemetry", False)
        (traced if at_work else idle).add(name)
    return traced, idle - traced
