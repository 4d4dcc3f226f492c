"""However many different statements a program makes, what is remembered of them is bounded."""

from __future__ import annotations

import functools
import gc
import importlib
import pkgutil
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import redis
import sqlalchemy
from opentelemetry.trace import SpanKind

import causal_otel
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.encoder import Encoder
from causal_otel.export.privacy import Policy
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.cells import LIMIT, Cells
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.metrics.observer import Metrics
from causal_otel.names import DB_QUERY_SUMMARY, DB_QUERY_TEXT
from causal_otel.patches.asyncpg import operations as asyncpg_operations
from causal_otel.patches.asyncpg.statements import described as asyncpg_described
from causal_otel.patches.neo4j import operations as neo4j_operations
from causal_otel.patches.redis import RedisOptions
from causal_otel.patches.redis import operations as redis_operations
from causal_otel.patches.sqlalchemy import SqlalchemyOptions
from causal_otel.patches.sqlalchemy import statements as sqlalchemy_statements
from causal_otel.statements.comment import with_traceparent
from causal_otel.statements.sql import MAX_TEXT, POSTGRESQL, describe

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20


class _Program:
    """Runs statements that are never the same, as a patch sees them: described, measured, recorded and encoded."""

    def __init__(self) -> None:
        self.cells = Cells()
        self.metrics = Metrics(self.cells, {SpanKind.CLIENT: DATABASE_CLIENT})
        self.tracer: Any = TracerProvider().get_tracer("tests")
        self.encoder = Encoder(redaction=Policy())
        self.operation = functools.lru_cache(1024)(self._operation)  # as patches have it
        self.number = 0

    def _operation(self, query: str) -> Operation:
        statement = describe(query, POSTGRESQL)
        attributes: dict[str, Any] = {DB_QUERY_TEXT: statement.text, DB_QUERY_SUMMARY: statement.summary}
        return Operation(statement.summary, attributes)

    def run(self, requests: int) -> None:
        """Run requests of a hundred statements each."""
        for _ in range(requests):
            spans: list[Any] = []
            with self.tracer.start_as_current_span("request"):
                for number in range(self.number, self.number + 100):
                    operation = self.operation(f"SELECT a{number} FROM t{number} WHERE b = 'x{number}'")
                    self.metrics.ended(operation, 0.001, None, None, rows=1)
                    span = self.tracer.start_leaf(operation.name, operation.kind, operation.attributes)
                    span.end()
                    spans.append(span)
            ((body, encoded),) = self.encoder.encode(spans)
            assert encoded == 100
            assert f"SELECT a{self.number} FROM".encode() in body
            self.number += 100

    def known(self) -> list[int]:
        """How many sets of labels the metrics know."""
        return [len(family.known()) for family in self.cells.families()]


def test_what_is_remembered_is_bounded() -> None:
    """Metrics know 2,000 summaries and no more, and the text of a statement has no more than its limit."""
    program = _Program()
    program.run(LIMIT // 100 + 10)
    assert max(program.known()) == LIMIT
    assert program.operation.cache_info().currsize == 1024
    assert len(program.operation("SELECT " + "a, " * MAX_TEXT).attributes[DB_QUERY_TEXT]) <= MAX_TEXT


def _asyncpg() -> Callable[[int], object]:
    known = asyncpg_operations.queries(text=True)

    def describe(number: int) -> None:
        asyncpg_described(known.sent, (("db", 5432), "shop"), f"SELECT a{number} FROM t{number} WHERE b = 'x'")
        asyncpg_operations.copy_operation(("db", 5432), "shop", f"t{number}")

    return describe


def _closed_connection() -> sqlalchemy.Connection:
    """A connection of SQLAlchemy's of which nothing is left open."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        pass
    engine.dispose()
    return connection


def _sqlalchemy() -> Callable[[int], object]:
    describe, connection = sqlalchemy_statements._Describe(SqlalchemyOptions()), _closed_connection()
    return lambda number: describe.of(connection, f"SELECT a{number} FROM t{number} WHERE b = 'x'", f"Order.x{number}")


def _neo4j() -> Callable[[int], object]:
    return lambda number: neo4j_operations.query_operation(("db", 7687), "shop", f"MATCH (n:L{number}) RETURN n.a")


def _redis() -> Callable[[int], object]:
    client, tracing = redis.Redis(), Tracing(TracerProvider().get_tracer("tests"), RedisOptions(), lambda _: True)
    describe = redis_operations.command_of(RedisOptions(keys=True))
    return lambda number: describe(tracing, client, ("EVALSHA", f"{number:040x}", 1, f"key{number}"), {})


def test_a_trace_in_a_comment_makes_no_other_statement() -> None:
    """SQLAlchemy's patch describes a statement once, whatever trace it carries."""
    describe, connection = sqlalchemy_statements._Describe(SqlalchemyOptions()), _closed_connection()
    operation = describe.of(connection, "SELECT 1", None)
    for number in range(1, 9):
        commented = with_traceparent("SELECT 1", f"00-{number:032x}-{number:016x}-01")
        assert describe.of(connection, commented, None) is operation


@pytest.mark.long
@pytest.mark.parametrize("driver", [_asyncpg, _sqlalchemy, _neo4j, _redis])
def test_each_patch_remembers_no_more_than_its_caches_hold(driver: Callable[[], Callable[[int], object]]) -> None:
    """When the caches of a patch are full, thousands of statements more leave nothing behind."""
    describe = driver()
    tracemalloc.start()
    try:
        for number in range(3000):
            describe(number)
        gc.collect()
        full = tracemalloc.get_traced_memory()[0]
        for number in range(3000, 15000):
            describe(number)
        gc.collect()
        more = tracemalloc.get_traced_memory()[0] - full
    finally:
        tracemalloc.stop()
    assert more < MIB // 4  # one that remembered each of the twelve thousand would take ten times that


def test_every_cache_is_bounded() -> None:
    """What remembers anything by an argument has a bound, or an argument that has few values."""
    by_few_values = {
        "causal_otel.statements.dialects.mysql",
        "causal_otel.patches._postgresql.queries",
        "causal_otel.patches.asyncpg.operations.queries",
        "causal_otel.patches.psycopg.operations.queries",
        "causal_otel.patches.grpc.calls._names",
        "causal_otel.patches.httpx.bodies.sync_body",
        "causal_otel.patches.httpx.bodies.async_body",
    }
    folders = ("engine", "export", "instrument", "metrics", "patches", "statements")
    for name in [module.name for module in pkgutil.walk_packages(causal_otel.__path__, "causal_otel.")]:
        if name.split(".")[1] in folders:
            importlib.import_module(name)
    gc.unfreeze()  # what is imported with the tests
    # By their types: to be asked for their class, Django's settings, if they are there, have to be configured.
    caches = [each for each in gc.get_objects() if type(each) is functools._lru_cache_wrapper]
    gc.freeze()
    names = {
        f"{each.__module__}.{each.__qualname__}"
        for each in caches
        if each.cache_parameters()["maxsize"] is None and each.__module__.split(".")[:1] == ["causal_otel"]
    }
    assert {name for name in names if name.split(".")[1] in folders} == by_few_values


@pytest.mark.long
def test_a_hundred_thousand_statements() -> None:
    """When every cache is full, thousands more change no bound, and all that they leave is a few MiB."""
    program = _Program()
    program.run(700)
    tracemalloc.start()
    try:
        program.run(150)
        first = tracemalloc.get_traced_memory()[0]
        program.run(150)
        second = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert max(first, second) < 16 * MIB
    assert max(program.known()) == LIMIT
