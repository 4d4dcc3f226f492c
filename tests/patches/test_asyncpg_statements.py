"""Statements, cursors, COPY and codecs of asyncpg that fail are one failed span each, with the server's code."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.patches.asyncpg_failing import SECRET, fails

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.recording import Recording

PATCHES = ["asyncpg"]

pytestmark = pytest.mark.usefixtures("pairs")


@pytest.mark.asyncio
async def test_statement_that_cannot_be_prepared(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A statement that the server does not take is a span when it is prepared, with its text and no literal."""
    failure = await fails(recorded, lambda: connection.prepare(f"SELECT '{SECRET}' FROM missing"))
    assert failure.span.name == "PREPARE SELECT missing"
    assert failure.attributes["db.query.text"] == "SELECT ? FROM missing"
    assert (failure.attributes["db.operation.name"], failure.attributes["error.type"]) == ("PREPARE", "42P01")


@pytest.mark.asyncio
@pytest.mark.parametrize("operation", ["", "PREPARE", "COPY"])
async def test_statement_that_has_no_summary(
    recorded: Recording, connection: asyncpg.Connection[Any], operation: str
) -> None:
    """A statement of which nothing is known is named by its database, whatever is done with it, and has no summary."""
    query = f"SELEC '{SECRET}'"
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "": lambda: connection.execute(query),
        "PREPARE": lambda: connection.prepare(query),
        "COPY": lambda: connection.copy_from_query(query, output=io.BytesIO()),
    }
    failure = await fails(recorded, calls[operation])
    database = await connection.fetchval("SELECT current_database()")
    assert failure.span.name == f"{operation} {database}".strip()
    assert "db.query.summary" not in failure.attributes
    assert failure.attributes["db.query.text"] == "SELEC ?"
    assert failure.attributes.get("db.operation.name", "") == operation
    assert failure.attributes["error.type"] == "42601"


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["await", "iterate"])
@pytest.mark.parametrize(
    ("query", "code"),
    [("SELECT id FROM missing WHERE id > $1", "42P01"), ("SELECT n FROM pairs WHERE n > $1", "22000")],
    ids=["table", "argument"],
)
async def test_cursor_that_cannot_be_opened(
    recorded: Recording, connection: asyncpg.Connection[Any], way: str, query: str, code: str
) -> None:
    """A cursor on a table that is missing, or with an argument of the wrong type, is a span of its query."""

    async def work() -> None:
        async with connection.transaction():
            if way == "await":
                await connection.cursor(query, "no number")
            else:
                async for _ in connection.cursor(query, "no number"):
                    pass

    failure = await fails(recorded, work)
    assert failure.span.name == ("SELECT missing" if "missing" in query else "SELECT pairs")
    assert failure.attributes["db.query.text"] == query
    assert failure.attributes["error.type"] == code


@pytest.mark.asyncio
async def test_cursor_that_is_moved_too_late(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A cursor whose transaction has ended cannot be moved, which is a span."""
    async with connection.transaction():
        cursor = await connection.cursor("SELECT generate_series(1, 5)")
    failure = await fails(recorded, lambda: cursor.forward(2))
    assert failure.span.name == "MOVE postgres"


@pytest.mark.asyncio
async def test_bind_error(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """An argument of the wrong type is an error of the statement that it was given to."""
    statement = await connection.prepare("SELECT n FROM pairs WHERE n > $1")
    for call in (
        lambda: statement.fetch("no number"),
        lambda: connection.fetch("SELECT n FROM pairs WHERE n > $1", SECRET),
    ):
        failure = await fails(recorded, call)
        assert failure.span.name == "SELECT pairs"
        assert failure.attributes["error.type"] == "22000"


@pytest.mark.asyncio
async def test_copy_that_fails(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """COPY of a table or query that is missing is a span with its code, and no second one of what it prepares."""
    failure = await fails(recorded, lambda: connection.copy_from_table("missing", output=io.BytesIO()))
    assert (failure.span.name, failure.attributes["error.type"]) == ("COPY missing", "42P01")
    failure = await fails(
        recorded, lambda: connection.copy_from_query("SELECT $1 FROM missing", 1, output=io.BytesIO())
    )
    assert (failure.span.name, failure.attributes["error.type"]) == ("COPY SELECT missing", "42P01")
    failure = await fails(recorded, lambda: connection.copy_records_to_table("missing", records=[(1,)]))
    assert (failure.span.name, failure.attributes["error.type"]) == ("COPY missing", "42P01")


@pytest.mark.asyncio
async def test_codec_of_an_unknown_type(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A type that the server does not know is an error of the call that wants it."""
    failure = await fails(recorded, lambda: connection.set_type_codec("nothing", encoder=str, decoder=str))
    assert failure.span.name == "SET TYPE CODEC postgres"


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["transaction", "cursor", "prepared"])
async def test_refused_at_once_by_a_closed_connection(recorded: Recording, postgres_url: str, way: str) -> None:
    """What a closed connection does not even begin, without anything to await, is a failed span as well."""
    connection = await asyncpg.connect(postgres_url)
    statement = await connection.prepare("SELECT 1")
    await connection.close()

    async def work() -> None:
        if way == "transaction":
            connection.transaction()
        elif way == "cursor":
            connection.cursor("SELECT 1")
        else:
            statement.cursor()

    failure = await fails(recorded, work)
    assert failure.span.name == ("BEGIN postgres" if way == "transaction" else "SELECT")
    assert failure.attributes["error.type"] == "asyncpg.exceptions._base.InterfaceError"


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["fetch", "fetchval", "fetchrow"])  # execute() itself stumbles over it
async def test_empty_query(recorded: Recording, postgres_url: str, method: str) -> None:
    """A query without anything in it, with which a pool tries a connection, is a span only if it fails."""
    connection = await asyncpg.connect(postgres_url)
    with recorded.tracer.start_as_current_span("root"):
        for query in (";", " ; ; ", "", "-- ping", "/* ping */;"):
            await getattr(connection, method)(query)
    assert recorded.names() == ["root"]
    await connection.close()
    failure = await fails(recorded, lambda: getattr(connection, method)(";"))
    assert failure.span.name == "PING postgres"
    assert failure.attributes["db.operation.name"] == "PING"
    assert failure.attributes["error.type"] == "asyncpg.exceptions._base.InterfaceError"
