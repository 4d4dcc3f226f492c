"""asyncpg's plumbing on a real PostgreSQL: silent when it goes well, and exactly one span when it does not."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import socket
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from asyncpg.connect_utils import SessionAttribute
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind, StatusCode

from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.faults.scripted import refused_port
from tests.recording import Recording, recording
from tests.services.slow import SlowServer, slow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

SECRET = "p4ssw0rd-planted"

since_0_32 = pytest.mark.skipif(not hasattr(asyncpg.Pool, "_maintain_min_size"), reason="since asyncpg 0.32")


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording(["asyncpg"]) as record:
        yield record


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "DROP TABLE IF EXISTS pairs; CREATE TABLE pairs (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, n int)"
    )
    yield connection
    await connection.close()


@pytest.fixture
def late(postgres_url: str) -> Iterator[SlowServer]:
    """A server whose answers can be made to come late, and that can go away."""
    parts = urlsplit(postgres_url)
    with slow(parts.hostname or "127.0.0.1", parts.port or 5432) as server:
        yield server


def via(postgres_url: str, port: int, **changed: str) -> str:
    """The same URL with another port, or another ``user`` and so on."""
    parts = urlsplit(postgres_url)
    user = changed.get("user", parts.username or "postgres")
    return f"postgresql://{user}:{SECRET}@127.0.0.1:{port}/{changed.get('database', parts.path.strip('/'))}"


@dataclass(frozen=True)
class Failure:
    """The one span that a failing call has left, and how long the call took."""

    span: ReadableSpan
    error: BaseException
    elapsed: float

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(self.span.attributes or {})

    @property
    def seconds(self) -> float:
        return (self.span.end_time - self.span.start_time) / 1e9  # type: ignore[operator]


async def fails(recorded: Recording, call: Callable[[], Awaitable[Any]], *others: str) -> Failure:
    """What the one failed span inside a root is, besides spans named ``others`` that went well.

    It is a CLIENT span under the root, ERROR with ``error.type``, tells the error's SQLSTATE, and took no longer than
    the call.
    """
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        began = perf_counter()
        with pytest.raises(Exception) as caught:  # each test says which one
            await call()
        elapsed = perf_counter() - began
    bad = [span for span in recorded.spans if span.status.status_code is StatusCode.ERROR and span.name != "root"]
    good = [span.name for span in recorded.spans if span not in bad]
    assert sorted(good) == sorted([*others, "root"])
    (span,) = bad
    assert span.parent == root.get_span_context()
    assert span.kind is SpanKind.CLIENT
    failure = Failure(span, caught.value, elapsed)
    state = getattr(caught.value, "sqlstate", None)
    assert failure.attributes.get("db.response.status_code") == state
    if state:
        assert failure.attributes["error.type"] == state
    assert failure.attributes["db.system.name"] == "postgresql"
    assert 0 <= failure.seconds <= elapsed
    assert span.start_time >= root.start_time  # type: ignore[attr-defined]
    assert span.status.description == type(caught.value).__name__
    assert SECRET not in span.to_json()
    return failure


# -- transactions -------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["block", "methods", "own"])
async def test_commit_that_is_refused(recorded: Recording, connection: asyncpg.Connection[Any], way: str) -> None:
    """A deferred constraint that fails at COMMIT is a span of that, however the transaction is ended."""

    async def work() -> None:
        twice = "INSERT INTO pairs VALUES (1, 1), (1, 2)"
        if way == "block":
            async with connection.transaction():
                await connection.execute(twice)
        elif way == "methods":
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(twice)
            await transaction.commit()
        else:
            await connection.execute("BEGIN;")
            await connection.execute(twice)
            await connection.execute("COMMIT;")

    failure = await fails(recorded, work, "INSERT pairs")
    host, port = connection._addr  # type: ignore[attr-defined]
    assert isinstance(failure.error, asyncpg.UniqueViolationError)
    assert failure.span.name == "COMMIT postgres"
    assert failure.attributes == {
        "db.system.name": "postgresql",
        "db.namespace": "postgres",
        "db.operation.name": "COMMIT",
        "server.address": host,
        "server.port": port,
        "error.type": "23505",
        "db.response.status_code": "23505",
    }


@pytest.mark.asyncio
async def test_commit_that_cannot_be_serialized(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """A serialization failure at COMMIT is a span of that, which a caller who retries wants to count."""
    await connection.execute("INSERT INTO pairs VALUES (1, 1), (2, 2)")
    other = await asyncpg.connect(postgres_url)

    async def work() -> None:
        async with connection.transaction(isolation="serializable"):
            total = await connection.fetchval("SELECT sum(n) FROM pairs")
            async with other.transaction(isolation="serializable"):
                await other.fetchval("SELECT sum(n) FROM pairs")
                await connection.execute("INSERT INTO pairs VALUES (3, $1)", total)
                await other.execute("INSERT INTO pairs VALUES (4, $1)", total)

    failure = await fails(recorded, work, *["SELECT pairs", "INSERT pairs"] * 2)
    await other.close()
    assert (failure.span.name, failure.attributes["error.type"]) == ("COMMIT postgres", "40001")


@pytest.mark.asyncio
async def test_savepoint_that_cannot_be_set(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A savepoint in a transaction that has failed meanwhile is a failure of its own."""

    async def work() -> None:
        async with connection.transaction():
            with contextlib.suppress(asyncpg.PostgresError):
                await connection.execute("SELECT * FROM missing")
            async with connection.transaction():
                pass

    recorded.clear()
    with recorded.tracer.start_as_current_span("root"), pytest.raises(asyncpg.InFailedSQLTransactionError):
        await work()
    names = [(span.name, (span.attributes or {}).get("error.type")) for span in recorded.spans]
    assert names == [("SELECT missing", "42P01"), ("SAVEPOINT postgres", "25P02"), ("root", None)]


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["start", "commit", "rollback"])
async def test_what_the_driver_itself_refuses(
    recorded: Recording, connection: asyncpg.Connection[Any], method: str
) -> None:
    """A transaction that is used in the wrong order fails without the server, and has a span by the error's class."""
    transaction = connection.transaction()
    await transaction.start()
    await transaction.rollback()
    failure = await fails(recorded, getattr(transaction, method))
    assert failure.span.name == f"{ {'start': 'BEGIN'}.get(method, method.upper()) } postgres"
    assert failure.attributes["error.type"] == "asyncpg.exceptions._base.InterfaceError"


@pytest.mark.asyncio
async def test_block_whose_connection_has_gone(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """Where the connection breaks inside a transaction, the query that noticed and the block's end are a span each."""
    victim = await asyncpg.connect(postgres_url)

    async def work() -> None:
        async with victim.transaction():
            await connection.execute("SELECT pg_terminate_backend($1)", victim.get_server_pid())
            await victim.fetchval("SELECT 1")

    recorded.clear()
    with recorded.tracer.start_as_current_span("root"), pytest.raises(asyncpg.InterfaceError):
        await work()
    found = [(span.name, span.status.status_code.name) for span in recorded.spans]
    assert found == [("SELECT", "UNSET"), ("SELECT", "ERROR"), ("ROLLBACK postgres", "ERROR"), ("root", "UNSET")]
    failure = await fails(recorded, lambda: victim.add_listener("news", print))
    assert failure.span.name == "LISTEN postgres"
    failure = await fails(recorded, victim.reset)
    assert failure.span.name == "RESET postgres"


@pytest.mark.asyncio
async def test_begin_on_a_connection_that_has_gone(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """A transaction that cannot begin has a span, and so has a listener that cannot be added.

    The listener's is its query, or its own where the connection knew by then that it had gone.
    """
    for number, expected in enumerate((["BEGIN postgres"], ['LISTEN "news"', "LISTEN postgres"])):
        victim = await asyncpg.connect(postgres_url)
        await connection.execute("SELECT pg_terminate_backend($1)", victim.get_server_pid())
        call = victim.transaction().start if number == 0 else lambda victim=victim: victim.add_listener("news", print)
        failure = await fails(recorded, call)
        assert failure.span.name in expected
        await victim.close()


@pytest.mark.asyncio
async def test_cancelled_commit(recorded: Recording, postgres_url: str, late: SlowServer) -> None:
    """A COMMIT that is cancelled while the server is slow has a span from its call on, unset and marked."""
    connection = await asyncpg.connect(via(postgres_url, late.port))
    transaction = connection.transaction()
    await transaction.start()
    with recorded.tracer.start_as_current_span("root") as root:
        late.delay = 0.5
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transaction.commit()
    late.delay = 0
    connection.terminate()
    span = recorded.only("COMMIT postgres")
    assert span.parent == root.get_span_context()
    assert dict(span.attributes or {})["causal.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET
    assert span.end_time - span.start_time >= 90_000_000  # type: ignore[operator]


# -- connecting ---------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["connect", "module", "imported before", "pool", "pool.fetchval", "pool.acquire"])
async def test_server_that_is_not_there(recorded: Recording, postgres_url: str, way: str) -> None:
    """A refused connection is one span, whoever wanted it, with the address that was tried."""
    from asyncpg.connection import connect

    with refused_port() as port:
        url = via(postgres_url, port, database="shop")

        async def work() -> None:
            if way == "connect":
                await asyncpg.connect(url)
            elif way == "module":
                await connect(url)
            elif way == "imported before":
                await BEFORE(url)
            elif way == "pool":
                await asyncpg.create_pool(url)
            else:
                async with asyncpg.create_pool(url, min_size=0) as pool:
                    await (pool.fetchval("SELECT 1") if way == "pool.fetchval" else pool.acquire(timeout=20))

        failure = await fails(recorded, work)
    assert isinstance(failure.error, ConnectionRefusedError)
    assert failure.span.name == "CONNECT shop"
    assert failure.attributes == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.operation.name": "CONNECT",
        "server.address": "127.0.0.1",
        "server.port": port,
        "error.type": "ConnectionRefusedError",
    }


BEFORE = asyncpg.connect  # as a program has it that imported the name before the patches were installed


@pytest.mark.asyncio
@pytest.mark.parametrize("pool", [False, True], ids=["connect", "pool"])
async def test_wrong_database_and_user(recorded: Recording, postgres_url: str, pool: bool) -> None:
    """What the server says to a connection is the span's SQLSTATE."""
    port = urlsplit(postgres_url).port or 5432

    async def work(url: str) -> None:
        if pool:
            async with asyncpg.create_pool(url, min_size=0) as opened:
                await opened.execute("SELECT 1")
        else:
            await asyncpg.connect(url)

    failure = await fails(recorded, lambda: work(via(postgres_url, port, database="missing")))
    assert (failure.span.name, failure.attributes["error.type"]) == ("CONNECT missing", "3D000")
    failure = await fails(recorded, lambda: work(via(postgres_url, port, user="nobody")))
    assert (failure.span.name, failure.attributes["error.type"]) == ("CONNECT postgres", "28000")


@pytest_asyncio.fixture
async def locked(connection: asyncpg.Connection[Any], postgres_url: str) -> AsyncIterator[str]:
    """The URL of a role with another password, which the server asks for."""
    path = await connection.fetchval("SHOW hba_file")
    rules = await connection.fetchval("SELECT pg_read_file($1)", path)

    async def write(text: str) -> None:
        lines = ", ".join("'" + line.replace("'", "''") + "'" for line in text.splitlines() if line.strip())
        await connection.execute(f"COPY (SELECT unnest(ARRAY[{lines}])) TO '{path}'; SELECT pg_reload_conf()")

    await connection.execute("DROP ROLE IF EXISTS locked; CREATE ROLE locked LOGIN PASSWORD 'another'")
    await write("host all locked 127.0.0.1/32 scram-sha-256\n" + rules.replace("\t", " "))
    url = via(postgres_url, urlsplit(postgres_url).port or 5432, user="locked")
    for _ in range(600):  # until the server has read its file
        try:
            await (await asyncpg.connect(url)).close()
        except asyncpg.InvalidPasswordError:
            break
        await asyncio.sleep(0.05)
    yield url
    await write(rules.replace("\t", " "))
    await connection.execute("DROP ROLE locked")


@pytest.mark.asyncio
async def test_wrong_password(recorded: Recording, locked: str) -> None:
    """A password that the server refuses is a span with that SQLSTATE, and in none of it is the password."""
    failure = await fails(recorded, lambda: asyncpg.connect(locked))
    assert (failure.span.name, failure.attributes["error.type"]) == ("CONNECT postgres", "28P01")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["connect", "pool", "acquire"])
async def test_connecting_that_takes_too_long(recorded: Recording, postgres_url: str, way: str) -> None:
    """A timeout of the driver's own is an error of the call that has it, after that time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never says anything
        url = via(postgres_url, silent.getsockname()[1])

        async def work() -> None:
            if way == "connect":
                await asyncpg.connect(url, timeout=0.1)
            else:
                timeout = 0.1 if way == "pool" else 60
                async with asyncpg.create_pool(url, min_size=0, timeout=timeout) as pool:
                    await pool.acquire(timeout=0.1 if way == "acquire" else None)

        # Where not connecting has the timeout but who waits for it, connecting is cancelled and says so.
        others = ["CONNECT postgres"] if way == "acquire" else []
        failure = await fails(recorded, work, *others)
    assert isinstance(failure.error, TimeoutError)
    assert failure.attributes["error.type"] == "TimeoutError"
    assert failure.span.name == ("ACQUIRE" if way == "acquire" else "CONNECT postgres")
    assert failure.seconds >= 0.09
    for span in recorded.spans:
        if span.name in others:
            assert dict(span.attributes or {})["causal.cancelled"] is True


@pytest.mark.asyncio
async def test_cancelled_connecting(recorded: Recording, postgres_url: str) -> None:
    """A connection that the caller gives up is one span, unset and marked, whether or not a pool wanted it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = via(postgres_url, silent.getsockname()[1])
        for timeout in (None, 60):
            recorded.clear()
            async with asyncpg.create_pool(url, min_size=0) as pool:
                with recorded.tracer.start_as_current_span("root"), pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await pool.acquire(timeout=timeout)
            assert recorded.names() == ["CONNECT postgres", "root"]
            span = recorded.spans[0]
            assert dict(span.attributes or {})["causal.cancelled"] is True
            assert span.status.status_code is StatusCode.UNSET
            assert span.end_time - span.start_time >= 90_000_000  # type: ignore[operator]


@pytest.mark.asyncio
async def test_host_that_is_no_primary(recorded: Recording, postgres_url: str) -> None:
    """What asyncpg asks a host before it takes it is no query of the user's; that no host is fit is one span."""
    failure = await fails(
        recorded, lambda: asyncpg.connect(postgres_url, target_session_attrs=SessionAttribute.standby)
    )
    assert failure.span.name == "CONNECT postgres"
    assert failure.attributes["error.type"].endswith("TargetServerAttributeNotMatched")


@pytest.mark.asyncio
async def test_arguments_that_the_driver_refuses(recorded: Recording) -> None:
    """A connection that is not even tried has a span without an address, and nothing of its arguments."""
    failure = await fails(recorded, lambda: asyncpg.connect(f"nonsense://a:{SECRET}@h/d"))
    assert (failure.span.name, "server.address" in failure.attributes) == ("CONNECT", False)


# -- pools --------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_pool_without_a_free_connection(recorded: Recording, postgres_url: str) -> None:
    """A connection that cannot be had in time is a span of that, with the wait and the server of the others."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool, pool.acquire():
        failure = await fails(recorded, lambda: pool.acquire(timeout=0.1))
    assert failure.span.name == "ACQUIRE postgres"
    assert failure.seconds >= 0.09
    assert failure.attributes["error.type"] == "TimeoutError"
    assert failure.attributes["server.port"] == urlsplit(postgres_url).port
    failure = await fails(recorded, lambda: pool.fetchval("SELECT 1"))
    assert failure.span.name.startswith("ACQUIRE")
    assert str(failure.error) == "pool is closed"


@pytest.mark.asyncio
@pytest.mark.parametrize("callback", ["init", "setup"])
async def test_callback_of_a_pool(recorded: Recording, postgres_url: str, callback: str) -> None:
    """A query that fails in a pool's callback is the one span of that; any other exception there is the pool's."""

    async def query(connection: Any) -> None:
        await connection.execute("SELECT * FROM missing")

    async def other(connection: Any) -> None:
        raise LookupError(SECRET)

    async def acquire(function: Any) -> None:
        arguments: dict[str, Any] = {callback: function}
        async with asyncpg.create_pool(postgres_url, min_size=0, **arguments) as pool:
            await pool.fetchval("SELECT 1")

    failure = await fails(recorded, lambda: acquire(query))
    assert (failure.span.name, failure.attributes["error.type"]) == ("SELECT missing", "42P01")
    failure = await fails(recorded, lambda: acquire(other))
    assert failure.span.name.startswith("ACQUIRE")
    assert failure.attributes["error.type"] == "LookupError"


@pytest.mark.asyncio
async def test_connection_that_is_released_broken(
    recorded: Recording, connection: asyncpg.Connection[Any], postgres_url: str
) -> None:
    """A reset that fails when a connection goes back to its pool is one span."""
    async with asyncpg.create_pool(postgres_url, min_size=0) as pool:
        borrowed = await pool.acquire()
        failure = await fails(recorded, lambda: pool.release(borrowed, timeout=1e-9))
    assert failure.span.name == "RESET postgres"
    assert failure.attributes["error.type"] == "TimeoutError"
    failure = await fails(recorded, lambda: pool.release(connection))  # type: ignore[arg-type]
    assert failure.span.name.startswith("RELEASE")


@pytest.mark.asyncio
@since_0_32
async def test_what_a_pool_does_in_the_background(
    recorded: Recording, postgres_url: str, late: SlowServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that a pool tries to restore by itself are no business of the request that noticed."""
    pool = await asyncpg.create_pool(via(postgres_url, late.port), min_size=1, max_size=2)
    late.close()
    with caplog.at_level(logging.WARNING, "asyncpg"):
        await fails(recorded, lambda: pool.fetchval("SELECT 1"))
        for _ in range(600):
            if any("restore the pool" in message for message in caplog.messages):
                break
            await asyncio.sleep(0.05)
    pool.terminate()
    assert len(recorded.spans) == 2


# -- statements, cursors, COPY and the rest -----------------------------------------------------------------------


@pytest.mark.asyncio
async def test_statement_that_cannot_be_prepared(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A statement that the server does not take is a span when it is prepared, with its text and no literal."""
    failure = await fails(recorded, lambda: connection.prepare(f"SELECT '{SECRET}' FROM missing"))
    assert failure.span.name == "PREPARE SELECT missing"
    assert failure.attributes["db.query.text"] == "SELECT ? FROM missing"
    assert (failure.attributes["db.operation.name"], failure.attributes["error.type"]) == ("PREPARE", "42P01")


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


@pytest.mark.asyncio
@since_0_32
async def test_connection_that_does_not_close(recorded: Recording, postgres_url: str, late: SlowServer) -> None:
    """Closing a connection whose server takes too long is an error of that."""
    connection = await asyncpg.connect(via(postgres_url, late.port))
    late.delay = 0.5
    task = asyncio.create_task(connection.execute("SELECT 1"))
    await asyncio.sleep(0)
    failure = await fails(recorded, lambda: connection.close(timeout=0.05))
    assert failure.span.name == "CLOSE postgres"
    await asyncio.gather(task, return_exceptions=True)


# -- and nothing else ---------------------------------------------------------------------------------------------


async def _everything(url: str) -> None:
    """All the plumbing, and it goes well."""

    async def callback(connection: Any) -> None:
        pass

    pool = await asyncpg.create_pool(url, min_size=1, max_size=2, init=callback, setup=callback)
    async with pool, pool.acquire(timeout=30) as connection:
        async with connection.transaction(isolation="serializable"), connection.transaction():
            statement = await connection.prepare("SELECT generate_series(1, 5)")
            cursor = await statement.cursor()
            assert await cursor.forward(2) == 2
            assert [row[0] async for row in statement.cursor()] == [1, 2, 3, 4, 5]
        transaction = connection.transaction()
        await transaction.start()
        await transaction.rollback()
        await connection.add_listener("news", print)
        await connection.remove_listener("news", print)
        await connection.set_type_codec("json", encoder=str, decoder=str, schema="pg_catalog")
        await connection.reset_type_codec("json", schema="pg_catalog")
        await connection.reset()
    primary = await asyncpg.connect(url, target_session_attrs=SessionAttribute.primary, timeout=30)
    await primary.close()


@pytest.mark.asyncio
async def test_silent_when_well(recorded: Recording, postgres_url: str) -> None:
    """What goes well has no span: the queries have."""
    with recorded.tracer.start_as_current_span("root"):
        await _everything(postgres_url)
    assert recorded.names() == ["SELECT", 'LISTEN "news"', "UNLISTEN", "root"]


@pytest.mark.asyncio
async def test_failures_without_a_recorded_parent(postgres_url: str) -> None:
    """Outside any span a failure is a trace of its own; where a query would not be recorded, it is not either."""
    with refused_port() as port:
        url = via(postgres_url, port)
        with recording({"asyncpg": AsyncpgOptions(require_parent=True)}) as recorded:
            with pytest.raises(ConnectionRefusedError):
                await asyncpg.connect(url)
            assert recorded.names() == []
        with recording(["asyncpg"], sampler=sampling.ALWAYS_OFF) as recorded:
            with pytest.raises(ConnectionRefusedError), recorded.tracer.start_as_current_span("root"):
                await asyncpg.connect(url)
            assert recorded.names() == []
        with recording(["asyncpg"]) as recorded:
            for connect in (lambda: asyncpg.connect(url), lambda: asyncpg.create_pool(url)):
                with pytest.raises(ConnectionRefusedError):
                    await connect()
                span = recorded.only()
                assert (span.name, span.parent, span.status.status_code) == ("CONNECT postgres", None, StatusCode.ERROR)
                assert dict(span.attributes or {})["error.type"] == "ConnectionRefusedError"
                recorded.clear()
        with recording({"asyncpg": AsyncpgOptions(excluded=("CONNECT *",))}) as recorded:
            with pytest.raises(ConnectionRefusedError), recorded.tracer.start_as_current_span("root"):
                await asyncpg.connect(url)
            assert recorded.names() == ["root"]


@pytest.mark.asyncio
async def test_the_error_is_the_driver_s_own(postgres_url: str) -> None:
    """What is raised is what is raised without us: type, arguments, causes, and nothing that we left on it."""

    async def failing() -> list[tuple[Any, ...]]:
        found = []
        with refused_port() as port:
            pool = await asyncpg.create_pool(via(postgres_url, port), min_size=0)
            calls = (
                lambda: asyncpg.connect(via(postgres_url, port)),
                lambda: pool.fetchval("SELECT 1"),
                lambda: asyncpg.connect(via(postgres_url, urlsplit(postgres_url).port or 0, database="missing")),
            )
            for call in calls:
                with pytest.raises(Exception) as caught:
                    await call()
                error = caught.value
                chain = type(error.__cause__), type(error.__context__), sorted(vars(error))
                found.append((type(error), str(error).replace(str(port), "PORT"), *chain))
            await pool.close()
        return found

    bare = await failing()
    with recording(["asyncpg"]) as recorded, recorded.tracer.start_as_current_span("root"):
        assert await failing() == bare
    assert len(recorded.spans) == 4
