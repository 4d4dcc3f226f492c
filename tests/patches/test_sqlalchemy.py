"""SQLAlchemy on asyncpg, on a real PostgreSQL: statements it prepares, cursors and transactions, through greenlets.

These tests and those of ``test_sqlalchemy_failures.py`` suit SQLAlchemy 2.0 as well as the installed 2.1:
``test_driver_versions.py`` runs them on that, too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from opentelemetry.trace import SpanKind
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload

from tests.patches.authors import LATE, SECRET, Author, Book, Check, connected, for_sqlalchemy, root
from tests.recording import Recording, recording
from tests.services.slow import slow
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from sqlalchemy.orm import Session


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(["asyncpg"]) as record:
        yield record


@pytest.mark.asyncio
async def test_engine(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """A query is one span, be it prepared for the first time or not; PREPARE, BEGIN and COMMIT are none."""
    query = text(f"SELECT pg_sleep({LATE}), '{SECRET}' WHERE :value = '{SECRET}'")
    for _ in range(2):
        with root(recorded) as spans:
            async with engine.begin() as connection:
                assert len((await connection.execute(query, {"value": SECRET})).all()) == 1
        (span,) = spans
        check(span, "SELECT pg_sleep", "SELECT pg_sleep(?), ? WHERE $1 = ?")


@pytest.mark.asyncio
async def test_first_connection(recorded: Recording, postgres_url: str, check: Check) -> None:
    """An engine that connects for the first time asks its server four questions, which are queries like others."""
    parts = urlsplit(postgres_url)
    with slow(parts.hostname or "", parts.port or 0) as server:
        engine = create_async_engine(for_sqlalchemy(postgres_url, server.port))
        server.delay = LATE
        with root(recorded) as spans:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        server.delay = 0
        await engine.dispose()
    expected = [
        ("SELECT pg_catalog.version", "select pg_catalog.version()"),
        ("SELECT current_schema", "select current_schema()"),
        ("SHOW", "show transaction isolation level"),
        ("SHOW", "show standard_conforming_strings"),
        ("SELECT", "SELECT ?"),
    ]
    for span, (name, statement) in zip(spans, expected, strict=True):
        found = assert_span(span, span.parent, lasts=LATE)
        assert (span.name, found["db.query.text"]) == (name, statement)
        assert found["server.port"] == server.port


@pytest.mark.asyncio
async def test_many(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """Several sets of parameters are one span, a batch; with RETURNING, a statement whose first row is shown."""
    rows = [{"id": 1, "name": SECRET}, {"id": 2, "name": "b"}]
    with root(recorded) as spans:
        async with engine.begin() as connection:
            await connection.execute(insert(Author), rows)
    (span,) = spans
    statement = "INSERT INTO authors (id, name) VALUES ($1::INTEGER, $2::VARCHAR)"
    check(span, "INSERT authors", statement, lasts=2 * LATE, db_operation_batch_size=2)

    rows = [{"id": 3, "name": SECRET}, {"id": 4, "name": "d"}]
    with root(recorded) as spans:
        async with engine.begin() as connection:
            result = await connection.execute(insert(Author).returning(Author.id), rows)
            assert sorted(result.scalars()) == [3, 4]
    (span,) = spans
    statement = f"{statement} RETURNING authors.id"
    check(span, "INSERT authors", statement)


@pytest.mark.asyncio
async def test_session(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """A session's flush is one span a statement, a query one, an eager load one more; the commit is none."""
    with root(recorded) as spans:
        async with AsyncSession(engine) as session, session.begin():
            session.add(Author(id=1, name=SECRET, books=[Book(id=7)]))
    authors, books = spans
    check(authors, "INSERT authors", "INSERT INTO authors (id, name) VALUES ($1::INTEGER, $2::VARCHAR)")
    check(books, "INSERT books", "INSERT INTO books (id, author_id) VALUES ($1::INTEGER, $2::INTEGER)", lasts=0)

    slowly = func.pg_sleep(LATE).is_not(None)
    with root(recorded) as spans:
        async with AsyncSession(engine) as session:
            mine = select(Author).where(Author.name == SECRET, slowly).options(selectinload(Author.books))
            (author,) = (await session.scalars(mine)).all()
            assert [book.id for book in author.books] == [7]
            author.name = "another"
            await session.commit()
    query, eager, update = spans
    columns = "SELECT authors.id, authors.name FROM authors"
    check(query, "SELECT authors", f"{columns} WHERE authors.name = $1::VARCHAR AND pg_sleep($2::FLOAT) IS NOT NULL")
    assert query.attributes is not None
    assert eager.attributes is not None
    check(eager, "SELECT books", str(eager.attributes["db.query.text"]), lasts=0)  # 2.0 names the columns anew
    check(update, "UPDATE authors", "UPDATE authors SET name=$1::VARCHAR WHERE authors.id = $2::INTEGER")


@pytest.mark.asyncio
async def test_stream(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """A server-side cursor is one span, as long as fetching its rows takes, and no other."""
    query = text("SELECT n, pg_sleep(0.002) FROM generate_series(1, 120) AS n")
    with root(recorded) as spans:
        async with engine.connect() as connection:
            rows = await connection.stream(query, execution_options={"yield_per": 50})
            fetched = [row.n async for row in rows]
    assert fetched == list(range(1, 121))
    statement = "SELECT n, pg_sleep(?) FROM generate_series(?) AS n"
    (span,) = spans
    read = check(span, "SELECT generate_series", statement, lasts=120 * 0.002)
    assert (read["db.response.returned_rows"], read["causal.round_trips"]) == (120, 3)


@pytest.mark.asyncio
async def test_stream_that_is_left(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """Rows that nobody fetches are no span, nor is what closes the cursor; what was fetched has ended well."""
    with root(recorded) as spans:
        async with AsyncSession(engine) as session:
            query = text("SELECT n, pg_sleep(0.002) FROM generate_series(1, 1000) AS n")
            result = await session.stream_scalars(query, execution_options={"yield_per": 50})
            async for number in result:
                assert number == 1
                break
    (span,) = spans
    check(span, "SELECT generate_series", "SELECT n, pg_sleep(?) FROM generate_series(?) AS n")


@pytest.mark.asyncio
async def test_rollback(recorded: Recording, engine: AsyncEngine, check: Check) -> None:
    """A transaction that is rolled back is the spans of its queries, which went well."""

    async def change_of_mind() -> None:
        async with AsyncSession(engine) as session, session.begin():
            session.add(Author(id=1, name=SECRET))
            await session.flush()
            raise KeyError("mine")

    with root(recorded) as spans:
        with pytest.raises(KeyError, match="mine"):
            await change_of_mind()
        async with AsyncSession(engine) as session:
            assert (await session.scalar(select(func.count()).select_from(Author))) == 0
    inserted, counted = spans
    check(inserted, "INSERT authors", "INSERT INTO authors (id, name) VALUES ($1::INTEGER, $2::VARCHAR)")
    check(counted, "SELECT authors", "SELECT count(*) AS count_1 FROM authors", lasts=0)


@pytest.mark.asyncio
async def test_greenlets_keep_contexts(recorded: Recording, postgres_url: str, check: Check) -> None:
    """A query in ``run_sync()`` is a child of the span that is current there, which afterwards is so no longer."""
    tracer = recorded.tracer

    def inner(session: Session) -> None:
        with tracer.start_as_current_span("inner"):
            session.execute(text(f"SELECT pg_sleep({LATE}) AS inner"))

    async def outer(engine: AsyncEngine, number: int) -> None:
        with tracer.start_as_current_span(f"outer {number}"):
            async with AsyncSession(engine) as session:
                await session.run_sync(inner)
                await session.execute(text(f"SELECT pg_sleep({LATE}) AS outer"))

    async with connected(for_sqlalchemy(postgres_url), pool_size=4) as engine:
        await asyncio.gather(*(outer(engine, number) for number in range(12)))
    by_id = {span.context.span_id: span for span in recorded.spans if span.context}

    def above(span: ReadableSpan) -> list[str]:
        if span.parent is None:
            return []
        parent = by_id[span.parent.span_id]
        return [parent.name, *above(parent)]

    queries = [span for span in recorded.spans if span.kind is SpanKind.CLIENT and span.parent is not None]
    for span in queries:
        place = above(span)[0].split()[0]
        check(span, "SELECT pg_sleep", f"SELECT pg_sleep(?) AS {place}")
    expected = [names for number in range(12) for names in (["inner", f"outer {number}"], [f"outer {number}"])]
    assert sorted(map(above, queries)) == sorted(expected)
