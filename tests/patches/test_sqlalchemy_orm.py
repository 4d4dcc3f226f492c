"""What SQLAlchemy's ORM tells: whence a statement comes, and which transactions are rolled back; on whatever driver."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import exc, func, select, text, update
from sqlalchemy.orm import Session, aliased, joinedload, selectinload, subqueryload

from causal_otel.engine.context import suppress as untraced
from tests.patches.any_engine import AnyEngine, any_engine, url_of
from tests.patches.authors import Author, Base, Book, root
from tests.span_relations import attributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.recording import Recording

PATCHES = ["asyncpg", "sqlalchemy"]
DRIVERS = ["asyncpg", "psycopg", "aiosqlite"]


async def fill(engine: AnyEngine) -> None:
    """Three authors, each with a book."""

    def add(session: Session) -> None:
        Base.metadata.drop_all(session.connection())
        Base.metadata.create_all(session.connection())
        session.add_all(Author(id=number, name="x", books=[Book(id=number)]) for number in range(3))
        session.commit()

    with untraced():
        await engine.in_session(add)


def lazily(session: Session) -> None:
    for author in session.scalars(select(Author).order_by(Author.id)):
        assert len(author.books) == 1


def eagerly(option: Any) -> Callable[[Session], None]:
    def load(session: Session) -> None:
        for author in session.scalars(select(Author).options(option)).unique():
            assert len(author.books) == 1

    return load


def anew(session: Session) -> None:
    author = session.get(Author, 1)
    session.refresh(author)
    session.expire(author)
    assert author is not None
    assert author.name == "x"


def otherwise(session: Session) -> None:
    session.scalar(select(func.count()).select_from(Author))
    session.scalars(select(aliased(Author))).all()
    session.query(Book).filter_by(id=1).all()
    session.execute(update(Book).values(author_id=1))
    session.execute(text("SELECT 1"))
    session.execute(select(Author.__table__))


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("do", "origins"),
    [
        pytest.param(lazily, ["select Author", *["Author.books"] * 3], id="an N+1"),
        pytest.param(eagerly(selectinload(Author.books)), ["select Author", "Author.books"], id="selectinload"),
        pytest.param(eagerly(subqueryload(Author.books)), ["select Author", "Author.books"], id="subqueryload"),
        pytest.param(eagerly(joinedload(Author.books)), ["select Author"], id="joinedload"),
        pytest.param(anew, ["select Author"] * 3, id="refresh"),
        pytest.param(otherwise, ["select Author"] * 2 + ["select Book", "update Book", None, None], id="others"),
    ],
)
async def test_origin(
    recorded: Recording,
    postgres_url: str,
    tmp_path: Path,
    driver: str,
    do: Callable[[Session], None],
    origins: list[str | None],
) -> None:
    """A statement's one span names the relationship or the query that made the ORM issue it; so an N+1 names itself."""
    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        await fill(engine)
        for _ in range(2):  # the second time SQLAlchemy knows the statements
            with root(recorded) as spans:
                await engine.in_session(do)
            assert [attributes(span).get("causal.orm.origin") for span in spans] == origins


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_origin_of_a_stream(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A server-side cursor's span has the origin too, though its rows are read later."""

    def read(session: Session) -> None:
        query = select(Author).execution_options(yield_per=2)
        assert len(list(session.scalars(query))) == 3

    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        await fill(engine)
        with root(recorded) as spans:
            await engine.in_session(read)
    assert {attributes(span).get("causal.orm.origin") for span in spans} == {"select Author"}


async def _rolled_back(recorded: Recording, engine: AnyEngine, do: Callable[[Session], None]) -> int:
    """How many times the current span tells of a transaction that was rolled back."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root"):
        await engine.in_session(do)
    told = {span.name: [event.name for event in span.events] for span in recorded.spans if span.events}
    assert set(told) <= {"root"}
    assert set(told.get("root", [])) <= {"causal.transaction.rolled_back"}
    return len(told.get("root", []))


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", DRIVERS)
async def test_rolled_back(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """A rollback that is asked for or that an exception or a refused COMMIT brings is an event, once; no other is."""

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

    def fail(session: Session) -> None:
        session.add(Author(id=1, name="another"))
        with pytest.raises(exc.IntegrityError):
            session.flush()

    def refused(session: Session) -> None:
        if driver == "aiosqlite":
            session.execute(text("PRAGMA foreign_keys = ON"))
        session.execute(text("CREATE TEMP TABLE one (id int PRIMARY KEY)"))
        session.execute(text("CREATE TEMP TABLE two (id int REFERENCES one (id) DEFERRABLE INITIALLY DEFERRED)"))
        session.execute(text("INSERT INTO two VALUES (1)"))
        with pytest.raises(exc.IntegrityError):
            session.commit()

    async with any_engine(url_of(driver, postgres_url, tmp_path), pool_pre_ping=True) as engine:
        await fill(engine)
        found = [await _rolled_back(recorded, engine, each) for each in (read, savepoint, ask, leave, fail, refused)]
    assert found == [0, 0, 1, 1, 1, 1]
