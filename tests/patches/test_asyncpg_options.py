"""The options of the asyncpg patch: texts, parameters, and the trace in the server's own log."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from causal_otel.patches.asyncpg import AsyncpgOptions
from causal_otel.patches.asyncpg.operations import queries
from causal_otel.statements import sql
from tests.recording import recording
from tests.span_relations import assert_span, attributes, traceparent

if TYPE_CHECKING:
    Connection = asyncpg.Connection[Any]


@pytest.mark.asyncio
async def test_without_texts(connection: Connection) -> None:
    """Without ``query_text`` a span has the summary, and no statement."""
    with recording({"asyncpg": AsyncpgOptions(query_text=False)}) as recorded:
        with recorded.tracer.start_as_current_span("root") as root:
            await connection.fetchval("SELECT count(*) FROM pg_class")
            async with connection.transaction():
                assert [row[0] async for row in connection.cursor("SELECT 1 FROM pg_class LIMIT 1")]
        first, second, _ = recorded.spans
        for span in (first, second):
            assert "db.query.text" not in assert_span(span, root)
            assert span.name == "SELECT pg_class"


@pytest.mark.asyncio
async def test_parameters(connection: Connection, postgres_url: str) -> None:
    """``parameters`` are recorded by position, none of them long, of all but batches; by default none is."""

    class Odd:
        def __repr__(self) -> str:
            raise LookupError

    async def run(pool: Any) -> None:
        await connection.fetchval("SELECT $1::text", "x" * 1000)
        await connection.execute("SELECT $1::bytea", b"bytes")
        await (await connection.prepare("SELECT $1::int")).fetch(3)
        async with connection.transaction():
            assert [row[0] async for row in connection.cursor("SELECT $1::int", 4)] == [4]
        await pool.fetchrow("SELECT $1::int, $2::text", 5, None)
        with pytest.raises(LookupError):  # which the driver shows, too
            await connection.fetch("SELECT $1::int", Odd())
        await connection.executemany("SELECT $1::int", [(1,), (2,)])

    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        for given in (True, False):
            with recording({"asyncpg": AsyncpgOptions(parameters=given)}) as recorded:
                with recorded.tracer.start_as_current_span("root"):
                    await run(pool)
                found = [
                    {key: value for key, value in attributes(span).items() if key.startswith("db.query.parameter")}
                    for span in recorded.spans
                ]
            texts = [["x" * 256], ["b'bytes'"], ["3"], ["4"], ["5", "None"], ["<Odd>"], [], []]
            expected = [{f"db.query.parameter.{number}": text for number, text in enumerate(each)} for each in texts]
            assert found == (expected if given else [{}] * 8)


@pytest.mark.asyncio
@pytest.mark.parametrize("on", ["connection", "keyword", "pool"])
async def test_traceparent(connection: Connection, postgres_url: str, on: str) -> None:
    """With ``traceparent`` the server sees the span in a statement that is not prepared, and we record it without."""
    query = "DO $$ BEGIN PERFORM pg_notify('seen', query) FROM pg_stat_activity WHERE pid = pg_backend_pid(); END $$"
    seen: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener("seen", lambda *notification: seen.put_nowait(notification[3]))
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool, pool.acquire() as borrowed:
        with recording({"asyncpg": AsyncpgOptions(traceparent=True)}) as recorded:
            with recorded.tracer.start_as_current_span("root"):
                if on == "keyword":
                    await borrowed.execute(query=query)
                elif on == "connection":
                    await borrowed.execute(query)
                else:
                    await pool.release(borrowed)
                    await pool.execute(query)
            told = await asyncio.wait_for(seen.get(), 60)
            span = recorded.only("DO")
            assert told == f"{query} /*traceparent='{traceparent(span)}'*/"
            assert "traceparent" not in attributes(span)["db.query.text"]


@pytest.mark.asyncio
async def test_statements_without_traceparent(connection: Connection) -> None:
    """What is prepared, what has a comment already, and what is not recorded goes to the server as it is."""
    seen: list[str] = []
    connection.add_query_logger(lambda record: seen.append(record.query))
    statements = ("SELECT 1 /* mine */", "SELECT 1 -- mine", "SELECT $1::int")
    with recording({"asyncpg": AsyncpgOptions(traceparent=True, require_parent=True)}) as recorded:
        with recorded.tracer.start_as_current_span("root"):
            for statement in statements:
                await connection.execute(statement, *([3] if "$1" in statement else []))
            await connection.fetchval("SELECT 4")
            async with connection.transaction():
                pass
        await connection.execute("SELECT 5")
        await connection.fetchval("SELECT 6")
    await asyncio.sleep(0)  # loggers are called soon
    assert [query for query in seen if not re.match("BEGIN|COMMIT", query)] == [
        *statements,
        "SELECT 4",
        "SELECT 5",
        "SELECT 6",
    ]
    assert seen.count("BEGIN;") == seen.count("COMMIT;") == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("traceparent", [False, True])
async def test_statements_with_traces_of_others(connection: Connection, traceparent: bool) -> None:
    """A statement that a library above has commented with each request's trace is described once, and sent as it is."""
    seen: list[str] = []
    connection.add_query_logger(lambda record: seen.append(record.query))
    words = f"SELECT {int(traceparent)} AS commented_above"
    sent = [f"{words} /*traceparent='00-{number:032x}-{number:016x}-01'*/" for number in range(1, 21)]
    caches: tuple[Any, ...] = queries(text=True)

    def described() -> list[int]:
        """How many texts have been described so far, by each of the two."""
        return [each.cache_info().misses for each in caches]

    with recording({"asyncpg": AsyncpgOptions(traceparent=traceparent)}) as recorded:
        with recorded.tracer.start_as_current_span("root"):
            before = described()
            for statement in sent:
                await connection.execute(statement)
                await connection.prepare(statement)
        *spans, root = recorded.spans
    assert described() == [misses + 1 for misses in before]
    assert len(spans) == 20
    for span in spans:
        assert assert_span(span, root)["db.query.text"] == "SELECT ? AS commented_above"
    await asyncio.sleep(0)  # loggers are called soon
    assert seen == sent


@pytest.mark.asyncio
async def test_statement_that_was_cut(connection: Connection) -> None:
    """A statement that is too long to be recorded as a whole says so."""
    with recording(["asyncpg"]) as recorded:
        for length, cut in ((sql.MAX_TEXT, None), (sql.MAX_TEXT + 1, True)):
            recorded.clear()
            query = "SELECT 1 AS "
            await connection.fetchval(query + "a" * (length - len(query)))
            assert attributes(recorded.only()).get("causal.query.truncated") is cut
