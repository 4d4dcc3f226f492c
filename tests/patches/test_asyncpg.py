"""asyncpg on a real PostgreSQL: one span an operation, with nothing secret in it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import io
import pickle
from time import perf_counter
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind

from causal_otel.engine.context import suppress
from causal_otel.patches.asyncpg import PATCH, AsyncpgOptions
from tests.patches.checks import assert_undone
from tests.recording import Recording, recording
from tests.span_relations import assert_children, assert_span, untimed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SECRET = "p4ssw0rd-planted"


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """What is done inside spans: what makes the server ready for a test is not."""
    with recording({"asyncpg": AsyncpgOptions(require_parent=True)}) as record:
        yield record


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("DROP TABLE IF EXISTS items; CREATE TABLE items (id int PRIMARY KEY, name text)")
    yield connection
    await connection.close()


async def _one(recorded: Recording, call: Any) -> Any:
    """Run ``call`` inside a root span and return the one span it made, which went well and took no longer."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        began = perf_counter()
        await call()
        elapsed = perf_counter() - began
    span, _ = recorded.spans
    assert_span(span, root, within=elapsed)
    assert span.kind is SpanKind.CLIENT
    return span


@pytest.mark.asyncio
async def test_attributes(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A query's span has the stable database attributes, and nothing else."""
    span = await _one(recorded, lambda: connection.fetchval("SELECT count(*) FROM items WHERE id = $1", 5))
    host, port = connection._addr  # type: ignore[attr-defined]
    assert span.name == "SELECT items"
    assert untimed(span.attributes) == {
        "db.system.name": "postgresql",
        "db.namespace": "postgres",
        "db.query.text": "SELECT count(*) FROM items WHERE id = $1",
        "db.query.summary": "SELECT items",
        "server.address": host,
        "server.port": port,
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["execute", "fetch", "fetchval", "fetchrow"])
async def test_query_methods(recorded: Recording, connection: asyncpg.Connection[Any], method: str) -> None:
    """Each way to run a query is one span, with the query by position or by name, and returns what it returns."""
    call = getattr(connection, method)
    expected = await call("SELECT 1 AS one")
    span = await _one(recorded, lambda: call("SELECT 1 AS one"))
    assert (span.name, span.attributes["db.query.text"]) == ("SELECT", "SELECT ? AS one")
    await _one(recorded, lambda: call(query="SELECT 1 AS one"))
    with recorded.tracer.start_as_current_span("root"):
        assert await call("SELECT 1 AS one") == expected


@pytest.mark.asyncio
async def test_batches(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """executemany() says how many operations it is, one of which is no batch."""
    insert = "INSERT INTO items VALUES ($1, $2)"
    span = await _one(recorded, lambda: connection.executemany(insert, [(1, "a"), (2, "b")]))
    assert (span.name, span.attributes["db.operation.batch.size"]) == ("INSERT items", 2)
    span = await _one(recorded, lambda: connection.executemany(command=insert, args=[(3, "c")]))
    assert "db.operation.batch.size" not in span.attributes
    span = await _one(recorded, lambda: connection.executemany(insert, iter([(4, "d")])))
    assert "db.operation.batch.size" not in span.attributes


@pytest.mark.asyncio
async def test_prepared_statement(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """Each execution of a prepared statement is one span."""
    statement = await connection.prepare("SELECT name FROM items WHERE id = $1")
    for call in (statement.fetch, statement.fetchval, statement.fetchrow):
        span = await _one(recorded, lambda call=call: call(1))
        assert (span.name, span.attributes["db.namespace"]) == ("SELECT items", "postgres")
    insert = await connection.prepare("INSERT INTO items VALUES ($1, 'x')")
    span = await _one(recorded, lambda: insert.executemany([(10,), (11,)]))
    assert (span.name, span.attributes["db.operation.batch.size"]) == ("INSERT items", 2)


@pytest.mark.asyncio
async def test_fetchmany(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """fetchmany() says how many operations it is, too, on a connection and on a prepared statement."""
    span = await _one(recorded, lambda: connection.fetchmany("SELECT $1::int", [(1,), (2,), (3,)]))
    assert (span.name, span.attributes["db.operation.batch.size"]) == ("SELECT", 3)
    statement = await connection.prepare("SELECT name FROM items WHERE id = $1")
    span = await _one(recorded, lambda: statement.fetchmany([(1,), (2,)]))
    assert (span.name, span.attributes["db.operation.batch.size"]) == ("SELECT items", 2)


@pytest.mark.asyncio
async def test_copy(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """The four COPY methods are one span each, by table or query, without the values."""
    span = await _one(recorded, lambda: connection.copy_records_to_table("items", records=[(1, SECRET), (2, "b")]))
    assert (span.name, span.attributes["db.collection.name"]) == ("COPY items", "items")
    output = io.BytesIO()
    span = await _one(recorded, lambda: connection.copy_from_table("items", schema_name="public", output=output))
    assert (span.name, span.attributes["db.operation.name"]) == ("COPY public.items", "COPY")
    assert SECRET.encode() in output.getvalue()
    query = f"SELECT id FROM items WHERE name <> '{SECRET}' AND id < $1"
    span = await _one(recorded, lambda: connection.copy_from_query(query, 5, output=output))
    assert span.name == "COPY SELECT items"
    assert SECRET not in span.to_json()
    span = await _one(recorded, lambda: connection.copy_to_table("items", source=io.BytesIO(b"7\tx\n")))
    assert span.name == "COPY items"


@pytest.mark.asyncio
async def test_pool(recorded: Recording, postgres_url: str) -> None:
    """A pool's queries are one span each; acquiring, resetting and releasing make none, nor do transactions."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as pool:
        span = await _one(recorded, lambda: pool.fetchval("SELECT 1"))
        assert span.name == "SELECT"
        recorded.clear()
        with recorded.tracer.start_as_current_span("root"):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT 2")
    assert_children(recorded.spans, "SELECT", "root")


@pytest.mark.asyncio
async def test_user_s_own_begin_with_more_is_traced(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """Only what a Transaction sends is left out: a script that begins with BEGIN is a query."""
    span = await _one(recorded, lambda: connection.execute("BEGIN; UPDATE items SET name = 'x'; COMMIT;"))
    assert span.name == "BEGIN UPDATE items COMMIT"


@pytest.mark.asyncio
async def test_error(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A failing query ends in ERROR with its SQLSTATE, and the server's message, which repeats values, is not there."""
    await connection.execute("INSERT INTO items VALUES (1, 'a')")
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO items VALUES ($1, $2)", 1, SECRET)
        with pytest.raises(asyncpg.InvalidTextRepresentationError, match=SECRET):
            await connection.execute(f"SELECT '{SECRET}'::int")
    first, second, _ = recorded.spans
    for span, code in ((first, "23505"), (second, "22P02")):
        assert assert_span(span, root, error=code)["db.response.status_code"] == code
    assert first.status.description == "UniqueViolationError"
    assert first.events == ()
    assert SECRET not in first.to_json() + second.to_json()


@pytest.mark.asyncio
async def test_error_of_the_driver(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """An error without an SQLSTATE is told by its class."""
    with pytest.raises(asyncpg.InterfaceError), recorded.tracer.start_as_current_span("root") as root:
        await connection.fetchval("SELECT $1::int", 1, 2)
    found = assert_span(recorded.only("SELECT"), root, error="asyncpg.exceptions._base.InterfaceError")
    assert "db.response.status_code" not in found


@pytest.mark.asyncio
async def test_cancelled_and_timed_out(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """Cancellation by the caller is marked and no error; the driver's own timeout is an error."""
    with recorded.tracer.start_as_current_span("root") as root:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.execute("SELECT pg_sleep(30)")
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT pg_sleep(30)", timeout=0.05)
    cancelled, timed_out, _ = recorded.spans
    assert_span(cancelled, root, cancelled=True)
    assert_span(timed_out, root, error="TimeoutError", lasts=0.04)


@pytest.mark.asyncio
async def test_nothing_unsampled_suppressed_or_without_a_required_parent(postgres_url: str) -> None:
    """No parent where one is required, an unsampled one or suppress: no span."""
    connection = await asyncpg.connect(postgres_url)
    with recording({"asyncpg": AsyncpgOptions(require_parent=True)}) as recorded:
        await connection.execute("SELECT 1")
        with recorded.tracer.start_as_current_span("root"), suppress():
            await connection.execute("SELECT 1")
        assert recorded.names() == ["root"]
    with recording(["asyncpg"], sampler=sampling.ALWAYS_OFF) as recorded:
        with recorded.tracer.start_as_current_span("root"):
            await connection.execute("SELECT 1")
        await connection.execute("SELECT 1")
        assert recorded.names() == []
    with recording(["asyncpg"]) as recorded:
        with suppress():
            await connection.execute("SELECT 1")
        assert recorded.names() == []
    await connection.close()


@pytest.mark.asyncio
async def test_wrong_call_fails_as_it_does_untraced(recorded: Recording, connection: asyncpg.Connection[Any]) -> None:
    """A call that the driver refuses is refused by the driver, in its own words."""
    with recorded.tracer.start_as_current_span("root"):
        with pytest.raises(TypeError, match="query"):
            await connection.fetch()  # type: ignore[call-overload]
        with pytest.raises(Exception, match=r"(?i)str|int|encode"):
            await connection.fetch(123)  # type: ignore[call-overload]
    assert recorded.names() == ["root"]


@pytest.mark.asyncio
async def test_concurrent_requests_keep_their_parents(recorded: Recording, postgres_url: str) -> None:
    """Two hundred concurrent tasks on a pool of four: every query is the child of its own task's span."""
    async with asyncpg.create_pool(postgres_url, min_size=4, max_size=4) as pool:

        async def request(number: int) -> None:
            with recorded.tracer.start_as_current_span(f"request {number}"):
                assert await pool.fetchval("SELECT $1::int", number) == number

        await asyncio.gather(*(request(number) for number in range(200)))
    roots = {span.context.span_id: span for span in recorded.spans if span.parent is None and span.context}
    parents = []
    for span in recorded.spans:
        if span.parent is not None:
            parent = roots[span.parent.span_id]
            assert_span(span, parent)
            parents.append(parent.name)
    assert sorted(parents) == sorted(f"request {number}" for number in range(200))


def test_uninstall_restores_the_very_objects() -> None:
    """After uninstall() each attribute is what it was, and in between each is ours."""
    assert_undone(PATCH)


def test_introspection_stays_true() -> None:
    """Signatures, kinds, pickling and copying of patched methods are as without us."""
    before = {
        name: inspect.signature(getattr(asyncpg.Connection, name)) for name in ("execute", "fetch", "executemany")
    }
    with recording(["asyncpg"]):
        for name, signature in before.items():
            method = getattr(asyncpg.Connection, name)
            assert inspect.signature(method) == signature
            assert inspect.iscoroutinefunction(method)
            assert pickle.loads(pickle.dumps(method)) is method
            assert copy.deepcopy(method) is method
