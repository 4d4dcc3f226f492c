"""A cursor of asyncpg is one span, however it is read and wherever it is left."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from causal_otel.patches.asyncpg import AsyncpgOptions
from tests.recording import Recording, recording
from tests.span_relations import assert_span, seconds
from tests.waiting import cancelled_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.sdk.trace import ReadableSpan

    Connection = asyncpg.Connection[Any]

PATCHES = ["asyncpg"]

FIVE = "SELECT generate_series(1, 5)"


async def _read_all(connection: Connection) -> None:
    assert [row[0] async for row in connection.cursor(FIVE, prefetch=2)] == [1, 2, 3, 4, 5]


async def _read_prepared(connection: Connection) -> None:
    statement = await connection.prepare(FIVE)
    assert len([row async for row in statement.cursor(prefetch=2)]) == 5


async def _read_by_hand(connection: Connection) -> None:
    cursor = await connection.cursor(FIVE)
    assert len(await cursor.fetch(2)) == 2
    assert await cursor.forward(1) == 1
    assert await cursor.fetchrow()
    assert len(await cursor.fetch(2)) == 1
    assert await cursor.fetch(2) == []  # the driver knows that there are no more, and asks nobody


async def _read_by_hand_until_the_end_of_the_transaction(connection: Connection) -> None:
    cursor = await connection.cursor(FIVE)
    async with connection.transaction():  # a savepoint, with which it is not over
        assert len(await cursor.fetch(2)) == 2
    assert await cursor.fetchrow()
    Kept.cursor = cursor


async def _break(connection: Connection) -> None:
    async for _ in connection.cursor(FIVE, prefetch=2):
        break


async def _open_and_drop(connection: Connection) -> None:
    await connection.cursor(FIVE)


class Kept:
    """What outlives a test's call."""

    cursor: Any = None


WAYS: dict[str, tuple[Callable[[Connection], Awaitable[None]], int, int, bool]] = {
    "async for": (_read_all, 5, 3, False),
    "prepared": (_read_prepared, 5, 3, False),
    "by hand": (_read_by_hand, 4, 4, False),
    "transaction": (_read_by_hand_until_the_end_of_the_transaction, 3, 2, False),
    "break": (_break, 2, 1, True),
    "dropped": (_open_and_drop, 0, 0, True),
}


async def _one(recorded: Recording, connection: Connection, way: Callable[[Connection], Awaitable[None]]) -> Any:
    """The one span that reading a cursor in a transaction makes, and the root."""
    recorded.clear()
    with recorded.tracer.start_as_current_span("root") as root:
        async with connection.transaction():
            await way(connection)
    span, _ = recorded.spans
    return span, root


@pytest.mark.asyncio
@pytest.mark.parametrize("way", WAYS)
async def test_one_span(recorded: Recording, connection: Connection, way: str) -> None:
    """All that is read is one span, with how many rows it was and how often the server was asked."""
    call, rows, round_trips, abandoned = WAYS[way]
    span, root = await _one(recorded, connection, call)
    found = assert_span(span, root, abandoned=abandoned)
    assert span.name == "SELECT generate_series"
    assert (found["db.response.returned_rows"] if rows else found.get("db.response.returned_rows", 0)) == rows
    assert found["causal.round_trips"] == round_trips


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["error", "timeout", "cancelled", "closed"])
async def test_cursor_that_fails(recorded: Recording, connection: Connection, postgres_url: str, how: str) -> None:
    """A cursor whose rows cannot all be read is one span, with those that could, and says why not."""
    victim = await asyncpg.connect(postgres_url)
    slow = "SELECT pg_sleep(CASE WHEN n > 2 THEN 30 ELSE 0 END) FROM generate_series(1, 5) AS n"
    query = "SELECT 1 / (3 - n) FROM generate_series(1, 5) AS n" if how == "error" else slow

    async def read() -> None:
        async for _ in victim.cursor(query, prefetch=2, timeout=0.1 if how == "timeout" else None):
            if how == "closed":
                await connection.execute("SELECT pg_terminate_backend($1, 60000)", victim.get_server_pid())

    async def work() -> None:
        async with victim.transaction():
            await (cancelled_after(0.1, read()) if how == "cancelled" else read())

    expected = {"error": "22012", "timeout": "TimeoutError", "cancelled": None, "closed": "*"}[how]
    with recorded.tracer.start_as_current_span("root") as root:
        if how == "cancelled":
            await work()
        else:
            with pytest.raises(Exception) as caught:
                await work()
            assert how != "timeout" or isinstance(caught.value, TimeoutError)
    (span,) = [each for each in recorded.spans if "generate_series" in each.name]
    found = assert_span(span, root, error=expected, cancelled=how == "cancelled", lasts=0.09 if how == "timeout" else 0)
    assert found["db.response.returned_rows"] == 2
    victim.terminate()


@pytest.mark.asyncio
async def test_cursor_that_is_collected(recorded: Recording, connection: Connection) -> None:
    """A cursor in a cycle that nobody refers to ends when Python collects it, marked."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with connection.transaction():
            cycle: list[Any] = []
            iterator = aiter(connection.cursor(FIVE, prefetch=2))
            cycle += [cycle, iterator]
            assert (await anext(iterator))[0] == 1
            del iterator, cycle
            await asyncio.sleep(0.1)
            gc.collect()
            assert [span.name for span in recorded.spans] == ["SELECT generate_series"]
    assert_span(recorded.only("SELECT generate_series"), root, abandoned=True)


@pytest.mark.asyncio
async def test_program_that_takes_its_time(recorded: Recording, connection: Connection) -> None:
    """What the program does between rows is no time of the cursor's, and what it traces there is not inside it."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with connection.transaction():
            async for _ in connection.cursor(FIVE, prefetch=2):
                with recorded.tracer.start_as_current_span("own"):
                    await asyncio.sleep(0.05)
    *own, root_span = [span for span in recorded.spans if span.name != "SELECT generate_series"]
    for span in own:
        assert_span(span, root)
    cursor = recorded.only("SELECT generate_series")
    assert_span(cursor, root)
    assert seconds(root_span) - seconds(cursor) >= 0.25


@pytest.mark.asyncio
async def test_cursors_of_one_connection(recorded: Recording, connection: Connection) -> None:
    """Cursors that are read by turns are a span each, and what runs in between is as well."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with connection.transaction():
            async for outer in connection.cursor("SELECT generate_series(1, 3) AS n", prefetch=1):
                inner = [row[0] async for row in connection.cursor("SELECT $1::int * 2", outer["n"])]
                assert inner == [await connection.fetchval("SELECT 2 * $1::int", outer["n"])]
    spans: list[ReadableSpan] = recorded.spans[:-1]
    for span in spans:
        assert_span(span, root)
    assert [dict(span.attributes or {}).get("db.response.returned_rows") for span in spans] == [1, None] * 3 + [3]


@pytest.mark.asyncio
async def test_cursor_of_which_nothing_is_recorded(connection: Connection) -> None:
    """Excluded, and without a parent where one is required, a cursor reads the same, and is no span."""
    for options in (AsyncpgOptions(excluded=("SELECT *generate_series*",)), AsyncpgOptions(require_parent=True)):
        with recording({"asyncpg": options}) as recorded:
            if options.excluded:
                with recorded.tracer.start_as_current_span("root"):
                    async with connection.transaction():
                        await _read_all(connection)
                assert recorded.names() == ["root"]
            else:
                async with connection.transaction():
                    await _read_all(connection)
                assert recorded.names() == []


@pytest.mark.asyncio
async def test_installed_while_a_cursor_is_read(connection: Connection) -> None:
    """A cursor that is half read when the patch comes, or goes, is read on."""
    async with connection.transaction():
        before = aiter(connection.cursor(FIVE, prefetch=1))
        assert (await anext(before))[0] == 1
        with recording(["asyncpg"]) as recorded, recorded.tracer.start_as_current_span("root") as root:
            assert (await anext(before))[0] == 2
            inside = aiter(connection.cursor(FIVE, prefetch=1))
            assert (await anext(inside))[0] == 1
            assert [row[0] async for row in before] == [3, 4, 5]
            assert_span(recorded.only("SELECT generate_series"), root)
        assert [row[0] async for row in inside] == [2, 3, 4, 5]
