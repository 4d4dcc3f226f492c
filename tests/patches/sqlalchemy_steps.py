"""Steps of the sequences for SQLAlchemy, of an engine with any driver."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, exc, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, selectinload

from tests.patches.any_engine import AnyEngine, any_engine
from tests.patches.authors import Author, Book
from tests.patches.sequences import given_up

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ASYNC", "BOTH", "POSTGRES", "State"]

_NUMBERS = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 7) SELECT {} FROM n"
_ALL = text(_NUMBERS.format("n"))
_SOME_FAIL = text(_NUMBERS.format("1 / (4 - n)"))
_SLEEP = text("SELECT pg_sleep(3)")


@dataclass
class State:
    """What a sequence uses.

    Attributes:
        url: the database's.
        engine: an engine of two connections, with three authors that have a book each.
        connections: connections that were not closed.
        sessions: sessions that were not closed.
    """

    url: str
    engine: AnyEngine
    connections: list[Any]
    sessions: list[Any]


def _connected(step: Callable[[Connection], Any]) -> Callable[[State], Any]:
    return lambda state: state.engine.connected(step)


def _committed(step: Callable[[Connection], Any]) -> Callable[[State], Any]:
    return lambda state: state.engine.committed(step)


def _in_session(step: Callable[[Session], Any]) -> Callable[[State], Any]:
    return lambda state: state.engine.in_session(step)


# -- statements ---------------------------------------------------------------------------------------------------


def _query(connection: Connection) -> Any:
    return connection.execute(text("SELECT :n + 1 AS n"), {"n": 1}).mappings().all()


def _scalars(connection: Connection) -> Any:
    return connection.scalars(_ALL).all()


def _not_one(connection: Connection) -> Any:
    return connection.execute(_ALL).one()


def _batch(connection: Connection) -> Any:
    rows = [{"id": number, "name": "many"} for number in (10, 11)]
    return connection.execute(insert(Author), rows).rowcount


def _many_with_returning(connection: Connection) -> Any:
    rows = [{"id": number, "name": "many"} for number in (10, 11)]
    return sorted(connection.scalars(insert(Author).returning(Author.id), rows))


def _update(connection: Connection) -> Any:
    return connection.execute(update(Author).values(name="new")).rowcount


def _unique(connection: Connection) -> Any:
    return connection.execute(insert(Author).values(id=1, name="again"))


def _syntax(connection: Connection) -> Any:
    return connection.execute(text("SELEC 1"))


def _after_an_error(connection: Connection) -> Any:
    with suppress(exc.DBAPIError):
        _syntax(connection)
    return _scalars(connection)


def _missing_parameter(connection: Connection) -> Any:
    return connection.execute(text("SELECT :n"))


def _wrong_parameter(connection: Connection) -> Any:
    return connection.execute(text("SELECT :n"), {"n": object()})


def _closed_result(connection: Connection) -> Any:
    result = connection.execute(_ALL)
    result.close()
    return result.fetchone()


def _closed_connection(connection: Connection) -> Any:
    connection.close()
    return connection.execute(_ALL)


def _invalidated(connection: Connection) -> Any:
    connection.invalidate()
    return _scalars(connection)


# -- streams ------------------------------------------------------------------------------------------------------


def _streamed(statement: Any = _ALL) -> Callable[[Connection], Any]:
    def stream(connection: Connection) -> Any:
        return [row[0] for row in connection.execution_options(yield_per=2).execute(statement)]

    return stream


def _stream_left(connection: Connection) -> Any:
    with connection.execution_options(stream_results=True, max_row_buffer=2).execute(_ALL) as result:
        return result.fetchone(), result.fetchmany(2)


def _stream_dropped(connection: Connection) -> Any:
    result = connection.execution_options(yield_per=2).execute(_ALL)
    found = result.fetchone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of psycopg's
        del result
        gc.collect()
    return found


def _partitions(connection: Connection) -> Any:
    return [len(each) for each in connection.execution_options(yield_per=3).execute(_ALL).partitions()]


# -- transactions -------------------------------------------------------------------------------------------------


def _rolled_back(connection: Connection) -> Any:
    _update(connection)
    connection.rollback()
    return _query(connection)


def _own_error(connection: Connection) -> Any:
    _update(connection)
    raise KeyError("mine")


def _savepoint(connection: Connection) -> Any:
    with connection.begin_nested():
        return _update(connection)


def _savepoint_rolled_back(connection: Connection) -> Any:
    with suppress(exc.IntegrityError), connection.begin_nested():
        _unique(connection)
    return _scalars(connection)


def _begun_twice(connection: Connection) -> Any:
    with connection.begin():
        return connection.begin()


# -- the ORM ------------------------------------------------------------------------------------------------------


def _lazily(session: Session) -> Any:
    return [len(author.books) for author in session.scalars(select(Author).order_by(Author.id))]


def _eagerly(session: Session) -> Any:
    return [len(author.books) for author in session.scalars(select(Author).options(selectinload(Author.books)))]


def _got(session: Session) -> Any:
    return session.get(Author, 1) is session.get(Author, 1), session.get(Author, 99)


def _flush_that_fails(session: Session) -> Any:
    session.add(Author(id=1, name="again"))
    session.flush()


def _session_after_an_error(session: Session) -> Any:
    with suppress(exc.IntegrityError):
        _flush_that_fails(session)
    session.rollback()
    return _lazily(session)


def _nested(session: Session) -> Any:
    with suppress(exc.IntegrityError), session.begin_nested():
        _flush_that_fails(session)
    session.add(Book(id=77, author_id=2))
    session.flush()
    return _lazily(session)


def _detached(session: Session) -> Any:
    author = session.get_one(Author, 1)
    session.close()
    return author.books


# -- pools, and what is dropped -----------------------------------------------------------------------------------


async def _pool_timeout(state: State) -> Any:
    if state.engine.asyncio is None:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(state.engine.sync.connect())
        return
    async with AsyncExitStack() as several:
        for _ in range(3):
            await several.enter_async_context(state.engine.asyncio.connect())


async def _keep(state: State) -> Any:
    if state.engine.asyncio is None:
        connection: Any = state.engine.sync.connect()
        session: Any = Session(state.engine.sync)
        found = connection.scalars(_ALL).first(), len(session.scalars(select(Author)).all())
    else:
        connection = await state.engine.asyncio.connect()
        session = AsyncSession(state.engine.asyncio)
        found = (await connection.scalars(_ALL)).first(), len((await session.scalars(select(Author))).all())
    state.connections.append(connection)
    state.sessions.append(session)
    return found


async def _drop(state: State) -> Any:
    """SQLAlchemy warns of it, as it should."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state.connections.clear()
        state.sessions.clear()
        gc.collect()
    await asyncio.sleep(0)  # in which the event loop closes the sockets
    await asyncio.sleep(0)


async def _dispose(state: State) -> Any:
    await state.engine.dispose()


async def _refused(state: State) -> Any:
    driver = state.url.partition("://")[0]
    place = "/missing/folder/shop.db" if driver.startswith("sqlite") else "app:secret@127.0.0.1:1/shop"
    async with any_engine(f"{driver}://{place}", known=False) as engine:
        return await engine.connected(_query)


BOTH: dict[str, Callable[[State], Any]] = {
    "query": _connected(_query),
    "scalars": _connected(_scalars),
    "not one": _connected(_not_one),
    "batch": _connected(_batch),
    "many with returning": _connected(_many_with_returning),
    "update": _committed(_update),
    "unique": _committed(_unique),
    "syntax": _connected(_syntax),
    "after an error": _connected(_after_an_error),
    "missing parameter": _connected(_missing_parameter),
    "wrong parameter": _connected(_wrong_parameter),
    "closed result": _connected(_closed_result),
    "closed connection": _connected(_closed_connection),
    "invalidated": _connected(_invalidated),
    "stream": _connected(_streamed()),
    "stream left": _connected(_stream_left),
    "stream dropped": _connected(_stream_dropped),
    "partitions": _connected(_partitions),
    "rolled back": _connected(_rolled_back),
    "own error": _committed(_own_error),
    "savepoint": _committed(_savepoint),
    "savepoint rolled back": _committed(_savepoint_rolled_back),
    "begun twice": _connected(_begun_twice),
    "lazily": _in_session(_lazily),
    "eagerly": _in_session(_eagerly),
    "get": _in_session(_got),
    "flush that fails": _in_session(_flush_that_fails),
    "session after an error": _in_session(_session_after_an_error),
    "nested": _in_session(_nested),
    "detached": _in_session(_detached),
    "keep": _keep,
    "drop": _drop,
    "pool timeout": _pool_timeout,
    "dispose": _dispose,
    "refused": _refused,
}


# -- what can be awaited ------------------------------------------------------------------------------------------


async def _async_stream(state: State) -> Any:
    assert state.engine.asyncio is not None
    async with state.engine.asyncio.connect() as connection:
        return [row[0] async for row in await connection.stream(_ALL)]


async def _async_stream_left(state: State) -> Any:
    assert state.engine.asyncio is not None
    async with state.engine.asyncio.connect() as connection, connection.stream(_ALL) as result:
        async for row in result:
            return row
    return None


async def _without_greenlet(state: State) -> Any:
    assert state.engine.asyncio is not None
    async with AsyncSession(state.engine.asyncio) as session:
        return (await session.get_one(Author, 1)).books


async def _wait_given_up(state: State) -> Any:
    async with any_engine(state.url, pool_size=1, max_overflow=0, pool_timeout=60) as engine:
        assert engine.asyncio is not None
        async with engine.asyncio.connect():
            found = await given_up(engine.connected(_query), 0.01)
        return found, await engine.connected(_query)


# -- what only PostgreSQL can do ----------------------------------------------------------------------------------


def _statement_timeout(connection: Connection) -> Any:
    connection.execute(text("SET LOCAL statement_timeout = 10"))
    return connection.execute(_SLEEP)


async def _given_up(state: State) -> Any:
    assert state.engine.asyncio is not None
    async with state.engine.asyncio.connect() as connection:
        return await given_up(connection.execute(_SLEEP))


POSTGRES: dict[str, Callable[[State], Any]] = {
    "statement timeout": _connected(_statement_timeout),
    "stream that fails": _connected(_streamed(_SOME_FAIL)),
}
ASYNC: dict[str, Callable[[State], Any]] = {
    "async stream": _async_stream,
    "async stream left": _async_stream_left,
    "without a greenlet": _without_greenlet,
    "given up": _given_up,
    "wait for a pool given up": _wait_given_up,
}
"""What only asynchronous engines can do."""
