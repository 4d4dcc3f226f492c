"""psycopg where something fails, is cancelled or is late: one failed span for each failure, with the server's code."""

from __future__ import annotations

import asyncio
from contextlib import suppress as suppress_errors
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from opentelemetry.trace import SpanKind

from causal_otel.engine.context import suppress
from causal_otel.patches.psycopg import PsycopgOptions
from tests.patches.asyncpg_failing import via
from tests.patches.either import settle
from tests.patches.psycopg_steps import SECRET, Driver, connection, driver, each, entered, one
from tests.recording import Recording, recording
from tests.span_relations import assert_span
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.slow import SlowServer

__all__ = ["connection", "driver"]

pytestmark = pytest.mark.asyncio


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """What is done inside spans; plumbing that goes well is never slow."""
    with recording({"psycopg": PsycopgOptions(require_parent=True, slow_plumbing=60.0)}) as record:
        yield record


async def _fails(recorded: Recording, call: Any, error: str, **outcome: Any) -> tuple[Any, BaseException]:
    """The one failed span that a call inside a root has left, and what it raised."""
    raised: list[BaseException] = []

    async def failing() -> None:
        with pytest.raises(psycopg.Error) as caught:
            await settle(call())
        raised.append(caught.value)

    span = await one(recorded, failing, error=error, **outcome)
    assert span.status.description == type(raised[0]).__name__
    assert (span.attributes or {}).get("db.response.status_code") == raised[0].sqlstate  # type: ignore[attr-defined]
    assert SECRET not in span.to_json()
    return span, raised[0]


async def test_errors(recorded: Recording, connection: Any) -> None:
    """A failing statement ends in ERROR with its SQLSTATE; the server's message, which repeats values, is not there."""
    await settle(connection.execute("INSERT INTO items VALUES (1, 'a')"))
    insert = "INSERT INTO items VALUES (%s, %s)"
    for call, code in (
        (lambda: connection.execute(insert, (1, SECRET)), "23505"),
        (lambda: connection.execute(f"SELECT '{SECRET}'::int"), "22P02"),
        (lambda: connection.cursor().executemany(insert, [(2, "b"), (1, SECRET)]), "23505"),
        (lambda: each(connection.cursor().stream(f"SELECT '{SECRET}'::int")), "22P02"),
    ):
        _, error = await _fails(recorded, call, code)
        assert error.__context__ is None or not isinstance(error.__context__, psycopg.Error)


async def test_error_of_the_driver(recorded: Recording, connection: Any) -> None:
    """An error without an SQLSTATE is told by its class."""
    await _fails(recorded, lambda: connection.execute("SELECT %s", (1, 2)), "psycopg.ProgrammingError")


async def test_copy_and_cursor_that_fail(recorded: Recording, connection: Any) -> None:
    """COPY and a server-side cursor fail with the server's code, when they begin and in the middle."""

    async def copy(line: str) -> None:
        async with entered(connection.cursor().copy("COPY items FROM STDIN")) as copying:
            await settle(copying.write(line))

    await _fails(recorded, lambda: copy(f"{SECRET}\n"), "22P02")

    async def read(query: str) -> None:
        async with entered(connection.transaction()), entered(connection.cursor("c")) as cursor:
            await settle(cursor.execute(query))
            await settle(cursor.fetchall())

    await _fails(recorded, lambda: read("SELECT * FROM missing"), "42P01")
    await _fails(recorded, lambda: read("SELECT 1 / (2 - n) FROM generate_series(1, 3) n"), "22012")


async def test_cursor_without_a_span_that_fails(recorded: Recording, connection: Any) -> None:
    """FETCH from a cursor that is gone is plumbing that has failed."""

    async def read() -> None:
        cursor = connection.cursor("c")
        async with entered(connection.transaction()):
            with suppress():
                await settle(cursor.execute("SELECT 1"))
        try:
            await settle(cursor.fetchone())
        finally:
            await settle(cursor.close())

    span, _ = await _fails(recorded, read, "34000")
    assert span.name == "FETCH postgres"


async def test_cancelled(recorded: Recording, postgres_url: str) -> None:
    """A task that is cancelled leaves one span, cancelled and no error, and the connection can be used again."""
    made = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    query = "SELECT pg_sleep(60)"
    span = await one(recorded, lambda: cancelled_after(0.1, made.execute(query)), cancelled=True, lasts=0.1)
    assert span.name == "SELECT pg_sleep"

    async def pipelined() -> None:
        async with made.pipeline():
            await made.execute(query)

    await one(recorded, lambda: cancelled_after(0.1, pipelined()), cancelled=True, lasts=0.1)

    async def cursor() -> None:
        async with made.transaction(), made.cursor("c") as named:
            await named.execute("SELECT pg_sleep(60) FROM generate_series(1, 3)")
            await named.fetchone()

    await one(recorded, lambda: cancelled_after(0.1, cursor()), cancelled=True, lasts=0.1)
    await one(recorded, lambda: made.execute("SELECT 1"))
    await made.close()


async def test_statement_that_the_server_cancels(recorded: Recording, connection: Any) -> None:
    """The same code by the server's own timeout is an error."""
    await settle(connection.execute("SET statement_timeout = 50"))
    await _fails(recorded, lambda: connection.execute("SELECT pg_sleep(60)"), "57014", lasts=0.05)


async def test_connecting(recorded: Recording, driver: Driver, postgres_url: str) -> None:
    """A connection that is refused, not allowed or not to be found is one failed CONNECT, without credentials."""
    port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    for url, database, address in (
        (via(postgres_url, 1), "postgres", "127.0.0.1"),
        (via(postgres_url, port, database="missing"), "missing", "127.0.0.1"),
        (f"postgresql://u:{SECRET}@host.invalid/shop", "shop", "host.invalid"),
    ):
        span, _ = await _fails(recorded, lambda url=url: driver.connect(url), "psycopg.OperationalError")
        assert span.name == f"CONNECT {database}"
        assert (span.attributes or {})["server.address"] == address
    if not driver.is_async:
        await _fails(recorded, lambda: psycopg.connect(via(postgres_url, 1)), "psycopg.OperationalError")


async def test_late_server(driver: Driver, postgres_url: str, late_postgres: SlowServer) -> None:
    """What takes long is told in parts: a slow CONNECT, BEGIN with its statement, COMMIT."""
    late_postgres.delay = 0.05
    options = PsycopgOptions(slow_plumbing=0.04)
    with recording({"psycopg": options}) as recorded, recorded.tracer.start_as_current_span("root") as root:
        made = await driver.connect(via(postgres_url, late_postgres.port))
        await settle(made.execute("SELECT 1"))
        await settle(made.commit())
        await settle(made.close())
    connect, select, commit = recorded.spans[:3]
    for span, name, part in (
        (connect, "CONNECT postgres", "causal.connect"),
        (select, "SELECT", "causal.server"),
        (commit, "COMMIT postgres", "causal.server"),
    ):
        found = assert_span(span, root, lasts=0.05)
        assert (span.name, span.kind) == (name, SpanKind.CLIENT)
        assert found[part] >= 0.05
    assert assert_span(select, root)["causal.server"] >= 0.1  # BEGIN is sent and answered before


async def test_stream_counts_its_waits_only(recorded: Recording, postgres_url: str) -> None:
    """The program's own time between two rows is not in the span: it is shorter than the program's work."""
    made = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    with recorded.tracer.start_as_current_span("root") as root:
        async for _ in made.cursor().stream("SELECT generate_series(1, 2)"):
            await asyncio.sleep(0.2)
    stream, _ = recorded.spans
    assert assert_span(stream, root)["db.response.returned_rows"] == 2
    whole = recorded.only("root")
    assert stream.end_time is not None
    assert whole.end_time is not None
    assert whole.end_time - stream.end_time >= 0.4e9
    await made.close()


async def _undone(connection: Any, *, inside: bool) -> None:
    """A transaction that an exception leaves, and before it one inside."""
    async with entered(connection.transaction()):
        if inside:
            await settle(connection.execute("SELECT 1"))
            with suppress_errors(ValueError):
                async with entered(connection.transaction()):
                    raise ValueError
        raise ZeroDivisionError


@pytest.mark.parametrize("way", ["rollback", "exception", "commit of a failed one", "savepoint"])
async def test_rolled_back(recorded: Recording, connection: Any, way: str) -> None:
    """A transaction that is rolled back is an event of the current span; one that is over already is none."""
    await settle(connection.execute("SET client_min_messages = error"))
    with suppress():
        if hasattr(connection, "set_autocommit"):
            await settle(connection.set_autocommit(False))
        else:
            connection.autocommit = False
    with recorded.tracer.start_as_current_span("root"):
        if way == "rollback":
            await settle(connection.execute("SELECT 1"))
            await settle(connection.rollback())
            await settle(connection.rollback())
        elif way == "commit of a failed one":
            with pytest.raises(psycopg.Error):
                await settle(connection.execute("SELECT nothing"))
            await settle(connection.commit())
        else:
            with pytest.raises(ZeroDivisionError):
                await _undone(connection, inside=way == "savepoint")
    events = [dict(event.attributes or {}) for event in recorded.only("root").events]
    names = [event.name for event in recorded.only("root").events]
    assert set(names) == {"causal.transaction.rolled_back"}
    assert [event["db.operation.name"] for event in events] == {
        "rollback": ["ROLLBACK"],
        "exception": ["ROLLBACK"],
        "commit of a failed one": ["COMMIT"],
        "savepoint": ["ROLLBACK TO", "ROLLBACK"],
    }[way]


async def test_commit_that_fails(recorded: Recording, connection: Any) -> None:
    """A COMMIT that the server refuses is one failed span, and the transaction is rolled back."""
    await settle(connection.execute("CREATE TEMP TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))

    async def work() -> None:
        async with entered(connection.transaction()):
            with suppress():
                await settle(connection.cursor().executemany("INSERT INTO late VALUES (%s)", [(1,), (1,)]))

    span, _ = await _fails(recorded, work, "23505")
    assert span.name == "COMMIT postgres"
    assert [event.name for event in recorded.only("root").events] == ["causal.transaction.rolled_back"]
