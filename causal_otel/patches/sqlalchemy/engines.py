"""What an engine says of its database: attributes, the dialect of its SQL, and whose patch traces its statements."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from causal_otel.engine import context
from causal_otel.instrument.applying import at_work
from causal_otel.instrument.errors import Errors, error_name
from causal_otel.instrument.instrumented import instrumented
from causal_otel.names import (
    DB_NAMESPACE,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.statements import sql

__all__ = ["ERRORS", "Place", "place_of", "place_of_dialect", "place_of_pool", "silent_below", "traced_below"]

_PATCHES = {"asyncpg": "asyncpg", "psycopg": "psycopg"}
"""Of drivers, as dialects name them, the patches that trace their statements."""

_SYSTEMS = {
    "cockroachdb": "cockroachdb",
    "mariadb": "mariadb",
    "mssql": "microsoft.sql_server",
    "mysql": "mysql",
    "oracle": "oracle.db",
    "postgresql": "postgresql",
    "redshift": "aws.redshift",
    "sqlite": "sqlite",
}
"""``db.system.name`` by the name of the dialect; any other one is ``other_sql``, as the conventions have it."""

_PORTS = {"cockroachdb": 26257, "mariadb": 3306, "mssql": 1433, "mysql": 3306, "oracle": 1521, "postgresql": 5432}


def traced_below(dialect: Any) -> bool:
    """Whether a patch of the driver makes the spans of statements and transactions. Only this decides it."""
    return _PATCHES.get(getattr(dialect, "driver", "")) in at_work


def silent_below(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of what has a dialect, in which an instrumentor of the driver makes no span: ours is made around it."""

    @functools.wraps(original)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not (instrumented and _driver_of(self) in instrumented):
            return original(self, *args, **kwargs)
        with context.suppress():
            return original(self, *args, **kwargs)

    return call


def _driver_of(owner: Any) -> str:
    """The package of the driver: its module may be one inside, such as ``sqlite3.dbapi2``."""
    module = getattr(getattr(getattr(owner, "dialect", owner), "dbapi", None), "__name__", "")
    return str(module).partition(".")[0]


class Place:
    """The database of an engine.

    Attributes:
        system: its ``db.system.name``.
        namespace: the name of the database; empty: it has none.
        attributes: the attributes of all that is done there.
        pool_name: the name of a pool of connections to it, as the conventions have it.
    """

    def __init__(self, engine: Any) -> None:
        dialect = engine.dialect
        self._dialect = weakref.ref(dialect)
        url = engine.url
        self.system = _SYSTEMS.get(dialect.name, "other_sql")
        self.namespace = url.database or ""
        self.attributes: dict[str, Any] = {DB_SYSTEM_NAME: self.system}
        if self.namespace:
            self.attributes[DB_NAMESPACE] = self.namespace
        host = url.host or url.query.get("host")
        if isinstance(host, str):
            self.attributes[SERVER_ADDRESS] = host
            if url.port is not None and url.port != _PORTS.get(dialect.name):
                self.attributes[SERVER_PORT] = url.port
        port = url.port or _PORTS.get(dialect.name)
        self.pool_name = f"{host}:{port}/{self.namespace}" if isinstance(host, str) else self.namespace or self.system
        self._sql: sql.Dialect | None = None

    @property
    def sql(self) -> sql.Dialect:
        """The dialect of its statements, known after the first connection, which tells the server's settings.

        A database that is neither PostgreSQL nor MySQL has the generic one, which hides whatever may be a value.
        """
        if self._sql is None:
            dialect = self._dialect()
            escapes = getattr(dialect, "_backslash_escapes", None)
            if self.system in ("mysql", "mariadb"):
                quotes = bool(getattr(dialect, "_server_ansiquotes", False))
                self._sql = sql.mysql(no_backslash_escapes=escapes is False, ansi_quotes=quotes)
            elif self.system in ("postgresql", "cockroachdb") and not escapes:
                self._sql = sql.POSTGRESQL
            else:
                self._sql = sql.GENERIC
        return self._sql


_places: weakref.WeakKeyDictionary[Any, Place] = weakref.WeakKeyDictionary()
"""By dialect, which an engine has for itself, and shares with what its ``execution_options()`` return."""


def place_of(engine: Any) -> Place:
    """The database of an engine, looked at once."""
    place = _places.get(engine.dialect)
    if place is None:
        place = _places[engine.dialect] = Place(engine)
    return place


def place_of_pool(pool: Any) -> Place | None:
    """The database of a pool; None: no engine of it has been looked at."""
    return place_of_dialect(getattr(pool, "_dialect", None))


def place_of_dialect(dialect: Any) -> Place | None:
    """The database of a dialect; None: no engine of it has been looked at."""
    return None if dialect is None else _places.get(dialect)


def _driver_error(error: BaseException) -> BaseException:
    """What the driver raised. SQLAlchemy's adapters of asyncio drivers wrap it once more."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error


def _code(error: BaseException) -> str:
    """The server's code: an SQLSTATE, SQLite's name of it, or MySQL's number."""
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return code
    arguments = error.args
    if arguments and type(error).__module__.partition(".")[0] in _NUMBERING and type(arguments[0]) is int:
        return str(arguments[0])
    return error_name(error)


_NUMBERING = frozenset({"MySQLdb", "aiomysql", "asyncmy", "mariadb", "mysql", "pymysql"})

ERRORS = Errors(_code, DB_RESPONSE_STATUS_CODE, _driver_error)
"""How errors are told: by the server's code, or the driver's class."""
