"""psycopg on a real PostgreSQL, sync and async: one span a statement, with nothing secret in it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from opentelemetry.sdk.trace import sampling
from psycopg import sql
from psycopg.rows import dict_row

from causal_otel.engine.context import suppress
from causal_otel.patches.psycopg import PATCH, PsycopgOptions
from causal_otel.patches.psycopg.query_text import query_text
from tests.patches.checks import assert_undone
from tests.patches.either import settle
from tests.patches.psycopg_steps import SECRET, Driver, connection, driver, each, entered, one, place
from tests.recording import Recording, recording
from tests.span_relations import assert_children, assert_inside, assert_span, traceparent, untimed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["connection", "driver"]

pytestmark = pytest.mark.asyncio


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """What is done inside spans: what makes the server ready for a test is not."""
    with recording({"psycopg": PsycopgOptions(require_parent=True)}) as record:
        yield record


async def test_attributes(recorded: Recording, connection: Any, postgres_url: str) -> None:
    """A statement's span has the stable database attributes, and nothing else."""
    span = await one(recorded, lambda: connection.execute("SELECT count(*) FROM items WHERE id = %s", (5,)))
    assert span.name == "SELECT items"
    assert untimed(span.attributes or {}) == place(postgres_url) | {
        "db.query.text": "SELECT count(*) FROM items WHERE id = %s",
        "db.query.summary": "SELECT items",
        "db.response.returned_rows": 1,
    }


async def test_ways_to_run_a_statement(recorded: Recording, driver: Driver, connection: Any) -> None:
    """Connection, cursor, client-side cursor, binary, prepared, with a row factory: one span, the same rows."""
    query = "SELECT %s::int AS one FROM pg_sleep(0.01)"
    for run in (
        lambda: connection.execute(query, (1,)),
        lambda: connection.execute(query=query, params=[1]),
        lambda: connection.execute(query, (1,), prepare=True),
        lambda: connection.execute(query, (1,), binary=True),
        lambda: connection.cursor().execute(query, (1,)),
        lambda: connection.cursor(row_factory=dict_row).execute(query.replace("%s", "%(one)s"), {"one": 1}),
        lambda: driver.client_cursor(connection).execute(query, (1,)),
    ):
        found: list[Any] = []

        async def call(run: Any = run, found: list[Any] = found) -> None:
            cursor = await settle(run())
            found.append(await settle(cursor.fetchone()))

        span = await one(recorded, call, lasts=0.01)
        assert (span.name, (span.attributes or {})["db.response.returned_rows"]) == ("SELECT pg_sleep", 1)
        assert found in ([(1,)], [{"one": 1}])


async def test_a_statement_that_returns_no_rows_tells_of_none(recorded: Recording, connection: Any) -> None:
    """INSERT without RETURNING affects rows and returns none."""
    span = await one(recorded, lambda: connection.execute(f"INSERT INTO items VALUES (1, '{SECRET}')"))
    assert span.name == "INSERT items"
    assert "db.response.returned_rows" not in (span.attributes or {})
    assert SECRET not in span.to_json()


async def test_composed_statements(recorded: Recording, connection: Any) -> None:
    """What is composed, and bytes, are told as text; no literal is rendered, so no adapter of the program's runs."""
    query = sql.SQL("SELECT {}, {} FROM {} WHERE name = {}").format(
        sql.Identifier("id"), sql.Literal(SECRET), sql.Identifier("items"), sql.Placeholder()
    )
    span = await one(recorded, lambda: connection.execute(query, ("a",)))
    assert (span.name, (span.attributes or {})["db.query.text"]) == (
        'SELECT "items"',
        'SELECT "id", ? FROM "items" WHERE name = %s',
    )
    span = await one(recorded, lambda: connection.execute(f"SELECT '{SECRET}' FROM items".encode()))
    assert (span.name, (span.attributes or {})["db.query.text"]) == ("SELECT items", "SELECT ? FROM items")


class _Interpolation:
    def __init__(self, value: Any, format_spec: str = "") -> None:
        self.value = value
        self.format_spec = format_spec


class Template:
    """As Python 3.14 has it."""

    def __init__(self, strings: tuple[str, ...], *interpolations: _Interpolation) -> None:
        self.strings = strings
        self.interpolations = interpolations


async def test_template_strings() -> None:
    """A template string is told with placeholders for values, and identifiers quoted; what is no statement is none."""
    inner = Template(("name = ", ""), _Interpolation(SECRET))
    template = Template(
        ("SELECT ", ", ", " FROM ", " WHERE ", ""),
        _Interpolation("id", "i"),
        _Interpolation(SECRET, "l"),
        _Interpolation(sql.Identifier("shop", "items"), "i"),
        _Interpolation(inner, "q"),
    )
    assert query_text(template) == 'SELECT "id", \'\' FROM "shop"."items" WHERE name = %s'
    assert query_text(sql.SQL("a") + sql.Placeholder("b")) == "a%(b)s"
    assert query_text(5) is None


async def test_batches(recorded: Recording, connection: Any) -> None:
    """executemany() is one span that says how many operations it is, one of which is no batch."""
    insert = "INSERT INTO items VALUES (%s, %s)"
    cursor = connection.cursor()
    span = await one(recorded, lambda: cursor.executemany(insert, [(1, "a"), (2, "b")]))
    assert (span.name, (span.attributes or {})["db.operation.batch.size"]) == ("INSERT items", 2)
    for given in ([(3, "c")], iter([(4, "d"), (5, "e")])):
        span = await one(recorded, partial(cursor.executemany, query=insert, params_seq=given))
        assert "db.operation.batch.size" not in (span.attributes or {})
    waiting = partial(cursor.executemany, "SELECT %s::int FROM pg_sleep(0.01)", [(1,), (2,)], returning=True)
    await one(recorded, waiting, lasts=0.02)
    assert await settle(cursor.fetchall()) == [(1,)]


async def test_stream(recorded: Recording, connection: Any) -> None:
    """stream() is one span, which ends with the last row, and does not count what is done between two rows."""

    async def read() -> None:
        rows = await each(connection.cursor().stream("SELECT generate_series(0, 9) FROM pg_sleep(0.01)"))
        assert rows == [(number,) for number in range(10)]

    span = await one(recorded, read, lasts=0.01)
    assert span.name == "SELECT pg_sleep"
    assert {key: (span.attributes or {})[key] for key in ("db.response.returned_rows", "causal.round_trips")} == {
        "db.response.returned_rows": 10,
        "causal.round_trips": 1,
    }


async def test_stream_that_is_left(recorded: Recording, connection: Any) -> None:
    """A stream that is left is marked so, and the connection can be used again."""

    async def leave() -> None:
        rows = connection.cursor().stream("SELECT generate_series(0, 99999)")
        if hasattr(rows, "__aiter__"):
            await anext(rows)
            await rows.aclose()
        else:
            next(rows)
            rows.close()

    span = await one(recorded, leave, abandoned=True)
    assert (span.attributes or {})["db.response.returned_rows"] == 1
    await one(recorded, lambda: connection.execute("SELECT 1"))


async def test_copy(recorded: Recording, connection: Any) -> None:
    """COPY in and out is one span each, without the values; what it writes and reads is what it would without us."""

    async def write() -> None:
        async with entered(connection.cursor().copy("COPY items FROM STDIN")) as copying:
            await settle(copying.write_row((1, SECRET)))
            await settle(copying.write(f"2\t{SECRET}\n"))

    span = await one(recorded, write)
    assert (span.name, (span.attributes or {})["db.query.text"]) == ("COPY items", "COPY items FROM STDIN")
    assert SECRET not in span.to_json()
    read: list[Any] = []

    async def copy_out() -> None:
        query = f"COPY (SELECT items.* FROM items, pg_sleep(0.01) WHERE name = '{SECRET}') TO STDOUT"
        async with entered(connection.cursor().copy(query)) as copying:
            read.extend(await each(copying.rows()))

    span = await one(recorded, copy_out, lasts=0.01)
    assert span.name == "COPY SELECT items pg_sleep"
    assert SECRET not in span.to_json()
    assert sorted(read) == [("1", SECRET), ("2", SECRET)]


async def test_copy_whose_block_raises_has_failed(recorded: Recording, connection: Any) -> None:
    """An exception in the block undoes the COPY, is its failure, and reaches the caller as it is."""
    mistake = ValueError("mine")

    async def write() -> None:
        with pytest.raises(ValueError, match="mine") as caught:
            async with entered(connection.cursor().copy("COPY items FROM STDIN")):
                raise mistake
        assert caught.value is mistake

    span = await one(recorded, write, error="ValueError")
    assert (span.attributes or {})["db.query.text"] == "COPY items FROM STDIN"


async def test_server_side_cursor(recorded: Recording, connection: Any) -> None:
    """A server-side cursor is one span, with its rows and round trips, and ends with its last row."""

    async def read() -> None:
        async with entered(connection.transaction()), entered(connection.cursor("numbers")) as cursor:
            cursor.itersize = 4
            await settle(cursor.execute("SELECT generate_series(1, %s) FROM pg_sleep(0.01)", (10,)))
            assert len(await each(cursor)) == 10
            assert (await settle(cursor.fetchall())) == []

    span = await one(recorded, read, lasts=0.01)
    assert span.name == "SELECT pg_sleep"
    assert ((span.attributes or {})["db.response.returned_rows"], (span.attributes or {})["causal.round_trips"]) == (
        10,
        3,
    )


@pytest.mark.parametrize("way", ["close", "commit", "again"])
async def test_server_side_cursor_that_is_not_read_on(recorded: Recording, connection: Any, way: str) -> None:
    """It ends where it is closed, with its transaction, or where it is declared anew."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with entered(connection.transaction()):
            cursor = connection.cursor("numbers", scrollable=True)
            await settle(cursor.execute("SELECT generate_series(1, 10)"))
            assert len(await settle(cursor.fetchmany(3))) == 3
            await settle(cursor.scroll(-1))
            assert await settle(cursor.fetchone()) == (3,)
            if way == "again":
                await settle(cursor.execute("SELECT 1"))
                assert await settle(cursor.fetchall()) == [(1,)]
            if way != "commit":
                await settle(cursor.close())
        spans = recorded.spans
        await settle(cursor.close())
    assert [(span.attributes or {})["db.response.returned_rows"] for span in spans] == [4, 1][: len(spans)]
    assert [(span.attributes or {})["causal.round_trips"] for span in spans] == [3, 1][: len(spans)]
    assert len(spans) == (2 if way == "again" else 1)
    for span in spans:
        assert_span(span, root)


async def test_what_is_well_is_silent(recorded: Recording, driver: Driver, postgres_url: str) -> None:
    """Connecting, transactions, savepoints, commits, rollbacks, closing and the implicit BEGIN make no spans."""
    with recorded.tracer.start_as_current_span("root") as root:
        async with entered(await driver.connect(postgres_url)) as made:
            await settle(made.execute("SELECT 1"))
            await settle(made.commit())
            async with entered(made.transaction()), entered(made.transaction()):
                await settle(made.execute("SELECT 2"))
            await settle(made.execute(""))
    slow = {"CONNECT postgres", "BEGIN postgres", "COMMIT postgres"}  # on a busy machine
    spans = [span for span in recorded.spans if span.name not in slow]
    assert [span.name for span in spans] == ["SELECT", "SELECT", "root"]
    for span in spans[:2]:
        assert_span(span, root)


async def test_not_sampled(postgres_url: str, driver: Driver) -> None:
    """Where nothing is sampled there are no spans, and the results are the same."""
    with recording(["psycopg"], sampler=sampling.ALWAYS_OFF) as recorded:
        async with entered(await driver.connect(postgres_url)) as made:
            assert await settle((await settle(made.execute("SELECT 1"))).fetchone()) == (1,)
            async with entered(made.pipeline()):
                await settle(made.execute("SELECT 2"))
            assert await each(made.cursor().stream("SELECT 3")) == [(3,)]
        assert recorded.spans == []


async def test_roots(postgres_url: str, driver: Driver) -> None:
    """Outside any span a statement is a trace of its own; a ping is none."""
    with recording({"psycopg": PsycopgOptions(slow_plumbing=60.0)}) as recorded:
        async with entered(await driver.connect(postgres_url)) as made:
            await settle(made.execute("SELECT 1"))
            await settle(made.execute(""))
        assert_children(recorded.spans, "SELECT")


async def test_excluded(connection: Any) -> None:
    """Statements that are excluded by name or text have no spans, in a pipeline either."""
    options = PsycopgOptions(excluded=("SELECT items", "SELECT pg_sleep*"))
    with recording({"psycopg": options}) as recorded:
        await settle(connection.execute("SELECT * FROM items"))
        await settle(connection.execute("SELECT pg_sleep(0)"))
        async with entered(connection.pipeline()):
            await settle(connection.execute("SELECT pg_sleep(0)"))
        assert recorded.spans == []


async def test_parameters_and_traceparent(connection: Any, driver: Driver) -> None:
    """Parameters are recorded if asked for; a statement that is not prepared carries its trace in a comment."""
    with recording({"psycopg": PsycopgOptions(parameters=True, traceparent=True)}) as recorded:
        shown = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid() AND %s = 'x'"
        await settle(connection.execute("SELECT %(n)s::int", {"n": 5}))
        cursor = await settle(connection.execute(shown, ("x",), prepare=False))
        (text,) = await settle(cursor.fetchone())
        first, second = recorded.spans
        for span in (first, second):
            assert_span(span, None)
        assert (first.attributes or {})["db.query.parameter.n"] == "5"
        assert (second.attributes or {})["db.query.parameter.0"] == "x"
        assert f"/*traceparent='{traceparent(second)}'*/" in text
        cursor = await settle(connection.execute(shown, ("x",)))
        assert "traceparent" not in (await settle(cursor.fetchone()))[0]


async def test_concurrent_tasks(recorded: Recording, postgres_url: str) -> None:
    """Statements of tasks are children of their own spans; connections do not mix them up."""

    async def task(number: int) -> None:
        made = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
        with recorded.tracer.start_as_current_span(f"task {number}"):
            for _ in range(5):
                await made.execute(f"SELECT 1 AS n{number}")
        await made.close()

    await asyncio.gather(*map(task, range(5)))
    for number in range(5):
        text = f"SELECT ? AS n{number}"
        statements = [span for span in recorded.spans if (span.attributes or {}).get("db.query.text") == text]
        assert len(statements) == 5
        assert_inside(recorded.only(f"task {number}"), *statements)


async def test_undoing_is_exact() -> None:
    """Everything that is replaced is put back as it was, the class methods and the module's function, too."""
    before = vars(psycopg.Connection)["connect"], vars(psycopg.AsyncConnection)["connect"], psycopg.connect
    with recording(["psycopg"]):
        assert psycopg.connect == psycopg.Connection.connect
        assert vars(psycopg.Connection)["connect"] is not before[0]
    after = vars(psycopg.Connection)["connect"], vars(psycopg.AsyncConnection)["connect"], psycopg.connect
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert_undone(PATCH)


async def test_methods_look_the_same(recorded: Recording) -> None:
    """Replaced methods are of the same kind, with name and signature, and can be copied and pickled."""
    assert inspect.iscoroutinefunction(psycopg.AsyncCursor.execute)
    assert inspect.iscoroutinefunction(psycopg.AsyncConnection.connect)
    assert list(inspect.signature(psycopg.Cursor.executemany).parameters) == [
        "self",
        "query",
        "params_seq",
        "returning",
    ]
    assert pickle.loads(pickle.dumps(psycopg.Cursor.execute)) is psycopg.Cursor.execute
    assert copy.deepcopy(psycopg.Cursor.stream) is psycopg.Cursor.stream


async def test_subclasses(recorded: Recording, postgres_url: str) -> None:
    """A class of the program's own connects, and runs one statement, as what it inherits from."""

    class Own(psycopg.AsyncConnection[Any]):
        pass

    with suppress():
        made = await Own.connect(postgres_url)
    assert type(made) is Own
    span = await one(recorded, lambda: made.execute("SELECT 1 FROM pg_sleep(0.01)"), lasts=0.01)
    assert (span.attributes or {})["db.query.text"] == "SELECT ? FROM pg_sleep(?)"
    await made.close()
