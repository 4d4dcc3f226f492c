"""SQLAlchemy with drivers that have no patch: psycopg, sync and asyncio, and SQLite. A statement is one span."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import Connection, exc, insert, text
from sqlalchemy.orm import Session

from causal_otel.engine.context import suppress as untraced
from causal_otel.patches.sqlalchemy import SqlalchemyOptions
from tests.patches.any_engine import AnyEngine, any_engine, url_of
from tests.patches.authors import LATE, SECRET, Author, Base, root
from tests.recording import Recording, recording
from tests.span_relations import assert_span, attributes, traceparent

if TYPE_CHECKING:
    from pathlib import Path

PATCHES = ["asyncpg", "sqlalchemy"]
PSYCOPG, SQLITE = ["psycopg", "psycopg_async"], ["aiosqlite", "pysqlite"]


@pytest.fixture
def place(postgres_url: str, tmp_path: Path) -> Any:
    """The attributes that say where a statement of a driver went."""
    parts = urlsplit(postgres_url)

    def of(driver: str) -> dict[str, Any]:
        if driver in SQLITE:
            return {"db.system.name": "sqlite", "db.namespace": str(tmp_path / "shop.db")}
        return {
            "db.system.name": "postgresql",
            "db.namespace": parts.path.strip("/"),
            "server.address": parts.hostname,
            "server.port": parts.port,
        }

    return of


def without_parts(span: Any) -> dict[str, Any]:
    """What a span tells besides how long its parts were, which depends on the machine."""
    return {key: value for key, value in attributes(span).items() if key not in ("causal.server", "causal.fetch")}


async def make_tables(engine: AnyEngine) -> None:
    """Make the tables of authors and books anew."""
    with untraced():
        await engine.committed(Base.metadata.drop_all)
        await engine.committed(Base.metadata.create_all)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", [*PSYCOPG, *SQLITE])
async def test_statement(recorded: Recording, postgres_url: str, tmp_path: Path, place: Any, driver: str) -> None:
    """A query is one span, without literals, parameters and credentials; beginning, ending and giving back are none."""
    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        await make_tables(engine)
        query = text(f"SELECT id, '{SECRET}' FROM authors WHERE name = :name OR name = '{SECRET}'")
        for do in (engine.committed, engine.connected):
            with root(recorded) as spans:
                assert await do(lambda connection: connection.execute(query, {"name": SECRET}).all()) == []
            (span,) = spans
            assert_span(span, span.parent)
            parameter = "?" if driver in SQLITE else "%(name)s"
            rows = {} if driver in SQLITE else {"db.response.returned_rows": 0}
            assert span.name == "SELECT authors"
            assert without_parts(span) == place(driver) | rows | {
                "db.query.summary": "SELECT authors",
                "db.query.text": f"SELECT id, ? FROM authors WHERE name = {parameter} OR name = ?",
            }


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", [*PSYCOPG, *SQLITE])
async def test_many(recorded: Recording, postgres_url: str, tmp_path: Path, place: Any, driver: str) -> None:
    """Several sets of parameters are one span, a batch; with RETURNING too, however many statements those are."""
    authors: Any = Author.__table__
    async with any_engine(url_of(driver, postgres_url, tmp_path), insertmanyvalues_page_size=2) as engine:
        await make_tables(engine)
        rows = [{"id": number, "name": SECRET} for number in range(5)]
        more = [{"id": number, "name": SECRET} for number in range(5, 10)]

        def insert_all(connection: Connection) -> None:
            connection.execute(insert(authors), rows)
            connection.execute(insert(authors).returning(authors.c.id), more)

        with root(recorded) as spans:
            await engine.committed(insert_all)
    assert [span.name for span in spans] == ["INSERT authors"] * 2
    for span in spans:
        assert_span(span, span.parent)
        told = without_parts(span)
        assert told["db.operation.batch.size"] == 5
        assert told["db.query.text"].startswith("INSERT INTO authors (id, name) VALUES (")
        assert told.items() >= place(driver).items()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("driver", "code"),
    [
        *((driver, "23505") for driver in PSYCOPG),
        *((driver, "SQLITE_CONSTRAINT_PRIMARYKEY") for driver in SQLITE),
    ],
)
async def test_error(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str, code: str) -> None:
    """What a constraint refuses is the statement's span, ERROR with the database's code; the ROLLBACK after is none."""
    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        await make_tables(engine)
        await engine.committed(lambda connection: connection.execute(insert(Author), {"id": 1, "name": "a"}))

        def flush(session: Session) -> None:
            session.add(Author(id=1, name=SECRET))
            session.flush()

        with root(recorded) as spans, pytest.raises(exc.IntegrityError) as caught:
            await engine.in_session(flush)
    (span,) = spans
    told = assert_span(span, span.parent, error=code)
    assert told["db.response.status_code"] == code
    assert span.name == "INSERT authors"
    assert caught.value.orig is not None
    assert span.status.description == type(caught.value.orig).__name__


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["psycopg", "pysqlite"])
async def test_no_summary(recorded: Recording, postgres_url: str, tmp_path: Path, place: Any, driver: str) -> None:
    """A statement of which nothing is known is named by its database, and has no summary."""
    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        with root(recorded) as spans, pytest.raises(exc.DBAPIError):
            await engine.connected(lambda connection: connection.exec_driver_sql(f"SELEC '{SECRET}'"))
    (span,) = spans
    told = assert_span(span, span.parent, error="SQLITE_ERROR" if driver in SQLITE else "42601")
    assert span.name == place(driver)["db.namespace"]
    assert told["db.query.text"] == "SELEC ?"
    assert "db.query.summary" not in told


@pytest.mark.asyncio
async def test_error_without_a_code(recorded: Recording, postgres_url: str, tmp_path: Path) -> None:
    """A failure that the driver has found is told by its class."""
    async with any_engine(url_of("pysqlite", postgres_url, tmp_path)) as engine:
        with root(recorded) as spans, pytest.raises(exc.ProgrammingError):
            await engine.connected(lambda connection: connection.exec_driver_sql("SELECT ?", ()))
    (span,) = spans
    told = assert_span(span, span.parent, error="sqlite3.ProgrammingError")
    assert "db.response.status_code" not in told


@pytest.mark.asyncio
async def test_cancelled(
    recorded: Recording, postgres_url: str, tmp_path: Path, authors: asyncpg.Connection[Any]
) -> None:
    """A statement that is cancelled is marked so, and is no error."""
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
    async with any_engine(url_of("psycopg_async", postgres_url, tmp_path)) as engine:
        with root(recorded) as spans:
            sleep = engine.connected(lambda connection: connection.execute(text("SELECT pg_sleep(600)")))
            task = asyncio.create_task(sleep)
            with untraced():
                async with asyncio.timeout(60):
                    while not await authors.fetchval(running):  # noqa: ASYNC110  # nothing tells
                        await asyncio.sleep(0.01)
                await authors.execute(f"SELECT pg_sleep({LATE})")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    (span,) = [span for span in spans if span.name.startswith("SELECT")]
    assert_span(span, span.parent, cancelled=True, lasts=LATE)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", PSYCOPG)
async def test_commit_that_fails(
    recorded: Recording, postgres_url: str, tmp_path: Path, authors: asyncpg.Connection[Any], place: Any, driver: str
) -> None:
    """A COMMIT that the server refuses is a span, ERROR with its SQLSTATE, as long as it took to find out."""
    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        with root(recorded) as spans, pytest.raises(exc.IntegrityError, match="no name"):
            await engine.committed(lambda connection: connection.execute(insert(Author), {"id": 1, "name": None}))
    inserted, commit = spans
    assert_span(inserted, inserted.parent)
    told = assert_span(commit, commit.parent, error="23514", lasts=LATE)
    assert commit.name == f"COMMIT {told['db.namespace']}"
    del told["causal.server"]
    assert told == place(driver) | {
        "db.operation.name": "COMMIT",
        "db.response.status_code": "23514",
        "error.type": "23514",
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", PSYCOPG)
async def test_connection_that_has_gone(
    recorded: Recording, postgres_url: str, tmp_path: Path, authors: asyncpg.Connection[Any], driver: str
) -> None:
    """A ping that finds no connection is a failed span; the statement on a new one goes well."""
    url = url_of(driver, postgres_url, tmp_path)

    async def end(pid: int) -> None:
        with untraced():
            assert await authors.fetchval("SELECT pg_terminate_backend($1, 60000)", pid)

    def pid(connection: Connection) -> Any:
        return connection.scalar(text("SELECT pg_backend_pid()"))

    async with any_engine(url, pool_size=1, pool_pre_ping=True) as engine:
        await end(await engine.connected(pid))
        with root(recorded) as spans:
            await engine.connected(pid)
    ping, statement = spans
    told = assert_span(ping, ping.parent, error="sqlalchemy.exc.InvalidatePoolError")
    assert told["db.operation.name"] == "PING"
    assert_span(statement, statement.parent)


@pytest.mark.asyncio
async def test_rollback_that_fails(
    recorded: Recording, postgres_url: str, tmp_path: Path, authors: asyncpg.Connection[Any]
) -> None:
    """A ROLLBACK whose connection has gone is a failed span, and the statement before it one that went well."""
    loop = asyncio.get_running_loop()

    async def end(pid: int) -> None:
        with untraced():
            assert await authors.fetchval("SELECT pg_terminate_backend($1, 60000)", pid)

    def end_and_roll_back(connection: Connection) -> None:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        asyncio.run_coroutine_threadsafe(end(pid), loop).result(60)
        with pytest.raises(exc.DBAPIError):
            connection.rollback()

    async with any_engine(url_of("psycopg", postgres_url, tmp_path)) as engine:

        def in_a_thread() -> None:
            with engine.sync.connect() as connection:
                end_and_roll_back(connection)

        with root(recorded) as spans:
            await asyncio.to_thread(in_a_thread)
    statement, rollback = spans
    assert_span(statement, statement.parent)
    assert assert_span(rollback, rollback.parent, error="*")["db.operation.name"] == "ROLLBACK"


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", *PSYCOPG, *SQLITE])
async def test_savepoints(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """Savepoints are no spans when they go well; a failed one is, named by what was to be done."""

    def nested(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        with connection.begin_nested():
            connection.execute(text("SELECT 2"))
        savepoint = connection.begin_nested()
        savepoint.rollback()
        savepoint = connection.begin_nested()
        connection.exec_driver_sql("RELEASE SAVEPOINT sa_savepoint_3")
        with suppress(exc.DBAPIError):
            savepoint.rollback()

    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        with root(recorded) as spans:
            await engine.connected(nested)
    first, second, released, failed = spans
    assert (first.name, second.name) == ("SELECT", "SELECT")
    assert released.name == "RELEASE SAVEPOINT"  # that was the program's own statement
    told = assert_span(failed, failed.parent, error="SQLITE_ERROR" if driver in SQLITE else "3B001")
    assert told["db.operation.name"].startswith("ROLLBACK")


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", PSYCOPG)
async def test_stream(recorded: Recording, postgres_url: str, tmp_path: Path, driver: str) -> None:
    """Rows of a server-side cursor are one span, however they are read: to the end, not, or until they fail."""
    query = text("SELECT generate_series(1, 120) AS n")
    options: Any = {"yield_per": 50}

    def read(connection: Connection) -> None:
        assert len(connection.execute(query, execution_options=options).all()) == 120

    def leave(connection: Connection) -> None:
        result = connection.execute(query, execution_options=options)
        assert result.scalar() == 1

    def fail(connection: Connection) -> None:
        failing = text("SELECT 1 / (70 - n) FROM generate_series(1, 1000) AS n")
        with pytest.raises(exc.DataError):
            connection.execute(failing, execution_options=options).all()

    async with any_engine(url_of(driver, postgres_url, tmp_path)) as engine:
        with root(recorded) as spans:
            for each in (read, leave, fail):
                await engine.connected(each)
    all_of_it, left, failed = spans
    assert assert_span(all_of_it, all_of_it.parent)["db.response.returned_rows"] == 120
    assert assert_span(left, left.parent)["db.response.returned_rows"] == 1
    assert_span(failed, failed.parent, error="22012")


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_stream_that_is_forgotten(recorded: Recording, postgres_url: str, tmp_path: Path) -> None:
    """A result that nobody closes ends its span when it goes, marked as abandoned."""

    def forget(connection: Connection) -> None:
        query = text("SELECT generate_series(1, 120) AS n")
        connection.execute(query, execution_options={"yield_per": 50}).fetchone()
        gc.collect()

    async with any_engine(url_of("psycopg", postgres_url, tmp_path)) as engine:
        with recorded.tracer.start_as_current_span("root"):
            await engine.connected(forget)
    span = recorded.only("SELECT generate_series")
    assert_span(span, span.parent, abandoned=True)


@pytest.mark.asyncio
async def test_options(postgres_url: str, tmp_path: Path) -> None:
    """Text can be left out and parameters recorded; what is excluded is no span; hooks see connection and result."""
    seen: list[Any] = []
    options = SqlalchemyOptions(
        query_text=False,
        parameters=True,
        excluded=("SELECT excluded",),
        request_hook=lambda span, connection, args, kwargs: seen.append((connection, args[1].statement)),
        response_hook=lambda span, connection, args, kwargs, result: seen.append(result),
    )
    with recording({"sqlalchemy": options}) as recorded:
        async with any_engine(url_of("pysqlite", postgres_url, tmp_path)) as engine:
            with untraced():
                await engine.committed(lambda connection: connection.execute(text("CREATE TABLE excluded (n int)")))

            def run(connection: Connection) -> Any:
                connection.execute(text("SELECT * FROM excluded"))
                return connection, connection.execute(text("SELECT :one, :long"), {"one": 1, "long": "x" * 300})

            connection, result = await engine.connected(run)
        span = recorded.only()
    told = attributes(span)
    assert "db.query.text" not in told
    assert told["db.query.parameter.0"] == "1"
    assert told["db.query.parameter.1"] == "x" * 256
    assert seen == [(connection, "SELECT ?, ?"), result]


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", PSYCOPG)
@pytest.mark.parametrize("prepares", [True, False])
async def test_traceparent(postgres_url: str, tmp_path: Path, driver: str, prepares: bool) -> None:
    """The server is told the statement's span in a comment, unless the driver prepares what it has seen before."""
    arguments = {} if prepares else {"prepare_threshold": None}
    with recording({"sqlalchemy": SqlalchemyOptions(traceparent=True)}) as recorded:
        async with any_engine(url_of(driver, postgres_url, tmp_path), connect_args=arguments) as engine:
            query = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            with root(recorded) as spans:
                sent = await engine.connected(lambda connection: connection.scalar(text(query)))
    (span,) = spans
    assert sent == (query if prepares else f"{query} /*traceparent='{traceparent(span)}'*/")
    assert attributes(span)["db.query.text"] == query
