"""Authors and their books in a PostgreSQL that takes its time, and what the spans of SQLAlchemy's queries tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tests.span_relations import assert_span, attributes, untimed

if TYPE_CHECKING:
    import asyncpg
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

    from tests.recording import Recording

__all__ = [
    "LATE",
    "SCHEMA",
    "SECRET",
    "Author",
    "Book",
    "Check",
    "connected",
    "for_sqlalchemy",
    "knows_that_it_is_closed",
    "raw_connection",
    "root",
]

SECRET = "p4ssw0rd-planted"
LATE = 0.1
"""For how long the server sleeps in each statement that is measured, in seconds."""

# A statement that changes `authors` sleeps first. An author without a name is refused, after another sleep, at COMMIT.
SCHEMA = f"""
    DROP TABLE IF EXISTS books, authors;
    CREATE TABLE authors (id int PRIMARY KEY, name text);
    CREATE TABLE books (id int PRIMARY KEY, author_id int REFERENCES authors);
    CREATE OR REPLACE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep({LATE}); RETURN NULL; END';
    CREATE TRIGGER nap BEFORE INSERT OR UPDATE OR DELETE ON authors FOR EACH STATEMENT EXECUTE FUNCTION nap();
    CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep({LATE}); RAISE EXCEPTION ''no name'' USING ERRCODE = ''23514''; END';
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON authors DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.name IS NULL) EXECUTE FUNCTION refuse();
"""


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str | None]
    books: Mapped[list[Book]] = relationship()


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[AsyncEngine]:
    """An engine that has connected once, and so knows its server."""
    engine = create_async_engine(url, **options)
    try:
        async with engine.connect():
            pass
        yield engine
    finally:
        await engine.dispose()


async def raw_connection(connection: AsyncConnection) -> asyncpg.Connection[Any]:
    """The connection of asyncpg under one of SQLAlchemy."""
    raw: asyncpg.Connection[Any] | None = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    return raw


async def knows_that_it_is_closed(connection: asyncpg.Connection[Any]) -> None:
    """Wait until a connection whose server has ended it has read so."""
    async with asyncio.timeout(60):
        while not connection.is_closed():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)


def for_sqlalchemy(postgres_url: str, port: int | None = None) -> str:
    """The URL as SQLAlchemy has it, with another port, and a password, where one is given."""
    parts = urlsplit(postgres_url)
    if port is not None:
        parts = parts._replace(netloc=f"{parts.username}:{SECRET}@127.0.0.1:{port}")
    return parts._replace(scheme="postgresql+asyncpg").geturl()


@contextmanager
def root(recorded: Recording) -> Iterator[list[ReadableSpan]]:
    """A block in a root span. The list has, after it, the spans that were made inside, in the order of their ends.

    Each of them is a CLIENT span, a child of the root, took no longer than the block, and tells no secret.
    """
    recorded.clear()
    found: list[ReadableSpan] = []
    began = perf_counter()
    with recorded.tracer.start_as_current_span("root") as parent:
        yield found
        elapsed = perf_counter() - began
        found += recorded.spans
    for span in found:
        _assert_outcome(span, parent, within=elapsed)
        assert span.kind is SpanKind.CLIENT
        assert SECRET not in span.to_json()


def _assert_outcome(span: ReadableSpan, parent: Span, within: float) -> None:
    """Assert what holds whatever the outcome is, which :class:`Check` asserts."""
    told = attributes(span)
    assert_span(span, parent, error=told.get("error.type"), cancelled="causal.cancelled" in told, within=within)


class Check:
    """Asserts all that a span tells.

    Args:
        postgres_url: where the server is to have been.
    """

    def __init__(self, postgres_url: str) -> None:
        parts = urlsplit(postgres_url)
        self._database = parts.path.strip("/")
        self._server = {
            "db.system.name": "postgresql",
            "db.namespace": self._database,
            "server.address": parts.hostname,
            "server.port": parts.port,
        }

    def __call__(
        self,
        span: ReadableSpan,
        name: str,
        statement: str | None,
        *,
        lasts: float = LATE,
        error: str | None = None,
        summarised: bool = True,
        **more: str | int | bool,
    ) -> dict[str, Any]:
        """Assert it, and return all that the span tells: how much was read and how long each part took as well.

        Args:
            span: the span.
            name: its name and the query's summary; where it is no query, the operation.
            statement: the query as it is recorded; None: it is no query.
            lasts: how long it took at least, in seconds.
            error: how its failure is told, by an SQLSTATE or a class; None: it went well, or was cancelled.
            summarised: whether the query has a summary; without one, the database stands in the name for it.
            more: further attributes, with ``_`` for each dot.
        """
        expected = dict(self._server)
        if statement is None:
            expected["db.operation.name"] = name
        else:
            expected["db.query.text"] = statement
            if summarised:
                expected["db.query.summary"] = name
        if error is not None:
            expected["error.type"] = error
            if len(error) == 5:  # an SQLSTATE
                expected["db.response.status_code"] = error
        assert span.name == (name if statement is not None and summarised else f"{name} {self._database}")
        cancelled = bool(more.get("causal_cancelled"))
        told = assert_span(span, span.parent, error=error, cancelled=cancelled, lasts=lasts)
        counts = ("db.response.returned_rows", "causal.round_trips")
        found = {key: value for key, value in untimed(told).items() if key not in counts}
        assert found == expected | {key.replace("_", "."): value for key, value in more.items()}
        return told
