"""PostgreSQL's statements: sanitised text and summary."""

from __future__ import annotations

import functools
import random

import asyncpg
import pytest

from causal_otel.statements.sql import MAX_TEXT, POSTGRESQL, describe
from tests.statements.cost import cost


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT 1", "SELECT ?"),
        ("SELECT 'it''s', 1.5, -2e10, .5, 0xFF", "SELECT ?, ?, -?, ?, ?"),
        (r"SELECT E'it\'s', 'after'", "SELECT ?, ?"),
        (r"SELECT 'C:\', 'second'", "SELECT ?, ?"),
        ("SELECT $$pass$word$$, $tag$ it's $$ $tag$", "SELECT ?, ?"),
        ("SELECT B'01', X'ff', N'x', U&'x'", "SELECT ?, ?, ?, ?"),
        ("SELECT a1, t2.c3 FROM t2 WHERE x = $1 AND y = $22", "SELECT a1, t2.c3 FROM t2 WHERE x = $1 AND y = $22"),
        ('SELECT "we""ird 1" FROM "T 1"', 'SELECT "we""ird 1" FROM "T 1"'),
        ("SELECT 1 -- password 'x'\nFROM t /* 'secret' */ LIMIT 5", "SELECT ? FROM t LIMIT ?"),
        ("SELECT * FROM t WHERE a IN (1, 2,3) OR b IN ($1, $2)", "SELECT * FROM t WHERE a IN (?) OR b IN ($1, $2)"),
        ("SELECT 'never closed", "SELECT ?"),
        ("SELECT * FROM \"never closed WHERE password = 'secret'", "SELECT * FROM ?"),
        ("SELECT $x$ never closed", "SELECT ?"),
        ("SELECT 1 /* never closed 'secret'", "SELECT ?"),
        ("SELECT E'a'\n  'b\\' secret', x", "SELECT ?, x"),
        ("SELECT E'a' -- it's\r\n-- 'x\n\t'b\\' secret', x", "SELECT ?, x"),
        ("SELECT 'a'\n'b', x", "SELECT ?, x"),
        ("SELECT 'a' 'b', x", "SELECT ? ?, x"),
        ("SELECT 1 /* a /* b's */ c's secret' */, x", "SELECT ? , x"),
        ("SELECT 1 /*/* */ secret", "SELECT ?"),
        ("SELECT $\u00e9$ it's \u00e9$$ secret $\u00e9$, x", "SELECT ?, x"),
        ("SELECT x.a$q$ , '$q$ secret '", "SELECT x.a$q$ , ?"),
        ("SELECT x.\u00a0$q$ , '$q$ secret '", "SELECT x.\u00a0$q$ , ?"),
        ("SELECT 1 -- it's\r, 'secret'", "SELECT ? , ?"),
        ("SELECT 1$q$ secret $q$, 2a$q$ , '$q$ secret'", "SELECT ??, ? , ?"),
        ("  SELECT\n\t1  ", "SELECT ?"),
        ("", ""),
    ],
)
def test_literals_and_comments_go(query: str, text: str) -> None:
    """Every literal becomes ``?``; names and parameters stay."""
    assert describe(query, POSTGRESQL).text == text


@pytest.mark.parametrize(
    ("query", "summary"),
    [
        ("select * from users where id = $1", "SELECT users"),
        ("SELECT * FROM s.users u JOIN public.orders o ON o.user_id = u.id", "SELECT s.users public.orders"),
        ('SELECT * FROM "Weird T" w', 'SELECT "Weird T"'),
        ("INSERT INTO archive (a) SELECT a FROM live WHERE b.c = 1", "INSERT archive SELECT live"),
        ("UPDATE users SET name = $1 FROM x WHERE x.id = users.id", "UPDATE users x"),
        ("DELETE FROM users USING gone WHERE 1=1", "DELETE users gone"),
        ("WITH recent AS (SELECT * FROM events) SELECT count(*) FROM recent", "SELECT events SELECT recent"),
        ("SELECT extract(year FROM born), substring(name FROM 1) FROM people", "SELECT people"),
        ("/* hint */ (SELECT a FROM b) -- x", "SELECT b"),
        ("CREATE TABLE IF NOT EXISTS shop.orders (id int)", "CREATE TABLE shop.orders"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (x)", "CREATE INDEX i"),
        ("ALTER TABLE ONLY t ADD COLUMN x int", "ALTER TABLE t"),
        ("TRUNCATE t", "TRUNCATE t"),
        ("SELECT create_hypertable('metrics', 'time')", "SELECT"),
        ("SET statement_timeout = 5", "SET"),
        ("LISTEN jobs", "LISTEN jobs"),
        ("BEGIN", "BEGIN"),
        ("", ""),
        ("42", ""),
    ],
)
def test_summary(query: str, summary: str) -> None:
    """Operations in capitals and their tables as written make the summary."""
    assert describe(query, POSTGRESQL).summary == summary


_LITERALS = (
    *("E'{}'", "e'a\\'{}'", "E'\\\\'\n'{}\\''", "E'a' -- '\n\r'\\'{}'", "E'--'\n'/*{}*/'"),
    *("'{}'", "'a''{}'", "'\\'\n'{}'", "'\t--'\r'{}'", "'$q$'\n'{}$q$'", "U&'{}'", "n'{}'"),
    *("$${}$$", "$q${}$q$", "$q$$a$'{}$q$", "$\u00e9${}$\u00e9$", "$_1$'{}'$_1$"),
)
_BETWEEN = (
    *(" ", "\n", "\r", "\f", "\t", "-- '\n", "-- $q$\r", "--/*\n"),
    *("/* ' */", "/* /* ' */ $q$ */", "/*/**/ E' */", "/*--*/"),
)
_NAMES = ("a", "a$q$", "\u00e9$", "\u00a0$q$", '"a\'b"', '"a""$q$"', "_$$", "e", "\u2028a$$")


@pytest.mark.asyncio
async def test_literals_end_where_postgresql_ends_them(postgres_url: str) -> None:
    """Whatever PostgreSQL takes for a value is not in the text, between all that it takes for comments and names."""
    connection = await asyncpg.connect(postgres_url)
    draw = random.Random(13)
    try:
        for _ in range(1500):
            columns = []
            for number in range(3):
                literal, name = draw.choice(_LITERALS).format(f"secret{number}"), draw.choice(_NAMES)
                columns.append(
                    f"{draw.choice(_BETWEEN)}{literal}{draw.choice(_BETWEEN)}AS {name}{draw.choice(_BETWEEN)}"
                )
            query = "SELECT " + ",".join(columns)
            (row,) = await connection.fetch(query)
            assert [f"secret{number}" in value for number, value in enumerate(row.values())] == [True] * 3, query
            assert "secret" not in describe(query, POSTGRESQL).text, query
    finally:
        await connection.close()


def test_summary_is_bounded() -> None:
    """A summary has 255 characters at most and ends with a whole word."""
    query = "SELECT * FROM t0 " + " ".join(f"JOIN table_number_{n} ON true" for n in range(100))
    summary = describe(query, POSTGRESQL).summary
    assert len(summary) <= 255
    assert summary.split()[-1].startswith("table_number_")


@pytest.mark.parametrize(
    "piece",
    ["'", "$a$ ", "/*", "/**/", "--\n", "'\n", "e''\r--\n", "(", "1", '"', "e'\\", "a.", "$1", "x(", "\x00", "é"],
)
def test_linear_time_and_bounded(piece: str) -> None:
    """No text, however hostile, takes longer than in proportion to its length, and only the beginning is looked at."""
    quarter, whole = piece * (MAX_TEXT // 4 // len(piece)), piece * MAX_TEXT * 4
    in_dialect = functools.partial(describe, dialect=POSTGRESQL)
    assert cost(in_dialect, whole) < 40 * max(cost(in_dialect, quarter), 1e-4)
    assert len(describe(whole, POSTGRESQL).text) <= MAX_TEXT
