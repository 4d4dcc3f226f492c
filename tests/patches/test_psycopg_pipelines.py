"""Pipelines of psycopg: the statements between two synchronisations are one span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from causal_otel.patches.psycopg import PsycopgOptions
from tests.patches.either import settle
from tests.patches.psycopg_steps import SECRET, Driver, connection, driver, entered, one, place
from tests.recording import Recording, recording
from tests.span_relations import assert_span, untimed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["connection", "driver"]

pytestmark = pytest.mark.asyncio

INSERT = "INSERT INTO items VALUES (%s, %s)"


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """What is done inside spans."""
    with recording({"psycopg": PsycopgOptions(require_parent=True, slow_plumbing=60.0)}) as record:
        yield record


async def test_statements_alike(recorded: Recording, connection: Any, postgres_url: str) -> None:
    """A batch of one kind has its summary and its text once, and says how many they are."""

    async def work() -> None:
        async with entered(connection.pipeline()):
            for number in range(3):
                await settle(connection.execute(INSERT, (number, SECRET)))

    span = await one(recorded, work)
    assert span.name == "BATCH INSERT items"
    assert untimed(span.attributes or {}) == place(postgres_url) | {
        "db.query.summary": "BATCH INSERT items",
        "db.query.text": INSERT,
        "db.operation.name": "BATCH",
        "db.operation.batch.size": 3,
    }


async def test_statements_that_differ(recorded: Recording, connection: Any) -> None:
    """A batch of several kinds has all their texts; one statement alone is no batch; rows are what they would be."""
    found: list[Any] = []

    async def work() -> None:
        async with entered(connection.pipeline()):
            cursor = await settle(connection.execute("SELECT %s::int FROM pg_sleep(0.01)", (7,)))
            found.append(await settle(cursor.fetchone()))
            await settle(connection.cursor().executemany(INSERT, [(1, "a"), (2, "b")]))

    span = await one(recorded, work, lasts=0.01)
    assert (span.name, found) == ("BATCH", [(7,)])
    assert (span.attributes or {})["db.query.text"] == f"SELECT %s::int FROM pg_sleep(?); {INSERT}"
    assert (span.attributes or {})["db.operation.batch.size"] == 3

    async def single() -> None:
        async with entered(connection.pipeline()):
            await settle(connection.execute(INSERT, (3, "c")))

    span = await one(recorded, single)
    assert (span.name, (span.attributes or {})["db.query.text"]) == ("INSERT items", INSERT)
    assert "db.operation.batch.size" not in (span.attributes or {})


async def test_each_synchronisation_ends_a_batch(recorded: Recording, connection: Any) -> None:
    """sync() is the end of one batch; what comes after is another; a pipeline with nothing in it is none."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with entered(connection.pipeline()) as pipeline:
            await settle(pipeline.sync())
            for number in range(2):
                await settle(connection.execute(INSERT, (number, "a")))
                await settle(connection.execute(INSERT, (number + 10, "a")))
                await settle(pipeline.sync())
    first, second, _ = recorded.spans
    for span in (first, second):
        assert_span(span, root)
        assert (span.name, (span.attributes or {})["db.operation.batch.size"]) == ("BATCH INSERT items", 2)


async def test_statement_that_fails(recorded: Recording, connection: Any) -> None:
    """A batch fails with the error of its first statement that does, once, and the caller has that very error."""

    async def work() -> None:
        async with entered(connection.pipeline()):
            await settle(connection.execute(INSERT, (1, "a")))
            await settle(connection.execute(INSERT, (1, SECRET)))
            await settle(connection.execute(INSERT, (2, "b")))

    async def failing() -> None:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await work()

    span = await one(recorded, failing, error="23505")
    assert span.name == "BATCH INSERT items"
    assert (span.attributes or {})["db.response.status_code"] == "23505"
    assert SECRET not in span.to_json()


async def test_transaction_in_a_pipeline(recorded: Recording, connection: Any) -> None:
    """A transaction's own statements are no part of a batch."""

    async def work() -> None:
        async with entered(connection.pipeline()), entered(connection.transaction()):
            await settle(connection.execute(INSERT, (1, "a")))

    span = await one(recorded, work)
    assert (span.attributes or {})["db.query.text"] == INSERT
    assert await settle((await settle(connection.execute("SELECT id FROM items"))).fetchall()) == [(1,)]


async def test_executemany_is_no_pipeline_of_the_program(recorded: Recording, driver: Driver, connection: Any) -> None:
    """The pipeline that executemany() makes for itself has no span beside it."""
    span = await one(recorded, lambda: connection.cursor().executemany(INSERT, [(1, "a"), (2, "b")]))
    assert (span.name, (span.attributes or {})["db.query.text"]) == ("INSERT items", INSERT)
