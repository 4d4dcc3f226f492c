"""SQLAlchemy on psycopg, sync and asyncio, with both patches: a statement is one span, psycopg's, and knows the ORM."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import exc, insert, select, text

from causal_otel.engine.context import suppress as untraced
from tests.faults.scripted import refused_port
from tests.patches.any_engine import AnyEngine, any_engine, url_of
from tests.patches.authors import Author, Base, Book, root
from tests.span_relations import attributes

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from tests.recording import Recording

PATCHES = ["psycopg", "sqlalchemy"]

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("driver", ["psycopg", "psycopg_async"])]


async def _filled(engine: AnyEngine) -> None:
    def add(session: Session) -> None:
        Base.metadata.drop_all(session.connection())
        Base.metadata.create_all(session.connection())
        session.add_all(Author(id=number, name="x", books=[Book(id=number)]) for number in range(3))
        session.commit()

    with untraced():
        await engine.in_session(add)


async def test_statements(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """Each is one span of psycopg's with its origin; getting a connection, pings, BEGIN and COMMIT are none."""

    def lazily(session: Session) -> None:
        for author in session.scalars(select(Author).order_by(Author.id)):
            assert len(author.books) == 1
        session.commit()

    async with any_engine(url_of(driver, postgres_url, tmp_path), pool_pre_ping=True) as engine:
        await _filled(engine)
        with root(recorded) as spans:
            await engine.in_session(lazily)
    assert [attributes(span).get("causal.orm.origin") for span in spans] == ["select Author", *["Author.books"] * 3]
    assert [attributes(span)["db.query.summary"] for span in spans] == ["SELECT authors", *["SELECT books"] * 3]
    scopes = {span.instrumentation_scope.name for span in spans if span.instrumentation_scope is not None}
    assert scopes == {"causal_otel.psycopg"}


async def test_batch_and_stream(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A batch of parameters, and a server-side cursor, are one span each."""

    def add(session: Session) -> None:
        session.execute(insert(Book), [{"id": 11, "author_id": 1}, {"id": 12, "author_id": 1}])
        query = select(Author).execution_options(yield_per=2)
        assert len(list(session.scalars(query))) == 3

    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        await _filled(engine)
        with root(recorded) as spans:
            await engine.in_session(add)
    batch, stream = spans
    assert (batch.name, attributes(batch)["db.operation.batch.size"]) == ("INSERT books", 2)
    assert (stream.name, attributes(stream)["db.response.returned_rows"]) == ("SELECT authors", 3)
    assert attributes(stream)["causal.orm.origin"] == "select Author"


async def _told(recorded: Recording, engine: AnyEngine, do: Any) -> list[str]:
    """The events of the current span."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root"):
        await engine.in_session(do)
    return [event.name for event in recorded.only("root").events]


async def test_rolled_back(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A rollback that is asked for, or that an exception brings, is an event, once; the pool's reset is none."""

    def read(session: Session) -> None:
        session.scalars(select(Author)).all()

    def savepoint(session: Session) -> None:
        read(session)
        session.begin_nested().rollback()
        session.commit()

    def ask(session: Session) -> None:
        read(session)
        session.rollback()

    def leave(session: Session) -> None:
        with suppress(KeyError), session.begin():
            read(session)
            raise KeyError

    async with any_engine(url_of(driver, postgres_url, tmp_path), pool_pre_ping=True) as engine:
        await _filled(engine)
        for do, times in ((read, 0), (savepoint, 0), (ask, 1), (leave, 1)):
            assert await _told(recorded, engine, do) == ["causal.transaction.rolled_back"] * times, do.__name__


async def test_failures(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A statement that fails, and a server that is not there, is one failed span, psycopg's."""

    def fail(session: Session) -> None:
        with pytest.raises(exc.ProgrammingError):
            session.execute(text("SELECT * FROM missing"))

    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        with root(recorded) as spans:
            await engine.in_session(fail)
    assert [(span.name, attributes(span)["error.type"]) for span in spans] == [("SELECT missing", "42P01")]
    with refused_port() as port:
        async with any_engine(url_of(driver, postgres_url, tmp_path, port), known=False) as engine:
            with root(recorded) as spans, pytest.raises(exc.OperationalError):
                await engine.connected()
    (span,) = spans
    assert span.name.startswith("CONNECT ")
    assert attributes(span)["error.type"] == "psycopg.OperationalError"
