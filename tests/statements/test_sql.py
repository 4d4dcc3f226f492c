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
        ("SELECT * FROM t WHERE a IN (1, 2,3) OR b IN ($1, $2)", "SELECT * FROM t WHERE a IN (?) OR b IN ($1)"),
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
    ("query", "text"),
    [
        ("INSERT INTO t VALUES (1, 'x'), (2, 'y') RETURNING a", "INSERT INTO t VALUES (?) RETURNING a"),
        ("INSERT INTO t VALUES ($1, $2), ($3, $4), ($5,$6) ON CONFLICT DO UPDATE SET a = $7",
         "INSERT INTO t VALUES ($1, $2) ON CONFLICT DO UPDATE SET a = $3"),
        ("INSERT INTO t VALUES ($1, $2) ON CONFLICT (a), (b) DO NOTHING",
         "INSERT INTO t VALUES ($1, $2) ON CONFLICT (a), (b) DO NOTHING"),
        ("INSERT INTO t VALUES (1, now()), (2, f(g(3, $1), 'x')), (3, DEFAULT)", "INSERT INTO t VALUES (?, now())"),
        ("INSERT INTO t VALUES (1, (SELECT a FROM u)), (2, (SELECT b FROM v))",
         "INSERT INTO t VALUES (?, (SELECT a FROM u)), (?, (SELECT b FROM v))"),
        ("INSERT INTO t SELECT p::text FROM (VALUES ($1::text, 0), ($2::text, 1)) AS x (p, n) RETURNING t.id",
         "INSERT INTO t SELECT p::text FROM (VALUES ($1::text, ?)) AS x (p, n) RETURNING t.id"),
        ("SELECT * FROM t WHERE a IN ($1, $2, $3) AND b = $4", "SELECT * FROM t WHERE a IN ($1) AND b = $2"),
        ("SELECT * FROM t WHERE a IN ($2::int, $3::int) AND b = $1", "SELECT * FROM t WHERE a IN ($2::int) AND b = $1"),
        ("a NOT IN ($1::TIMESTAMP(3) WITHOUT TIME ZONE, $2::NUMERIC(10, 2)[], NULL)",
         "a NOT IN ($1::TIMESTAMP(?) WITHOUT TIME ZONE)"),
        ("a IN (-1, +2, true) AND b IN ( 'x' , 'y')", "a IN (?) AND b IN (?)"),
        ("a IN (DATE '2020-01-01', DATE '2020-01-02')", "a IN (DATE ?)"),
        ("(a, b) IN ((1, 2), (3, 4), (5, x))", "(a, b) IN ((?))"),
        ("a IN (b, 1, 2, c, 3, 4)", "a IN (b, ?, c)"),
        ("a IN (1 + 2, 3, 4)", "a IN (? + ?)"),
        ("a IN (SELECT 'x', 'y', b FROM t)", "a IN (SELECT ?, ?, b FROM t)"),
        ("a IN (%s, %s) OR b IN (%(x_1)s, %(x_2)s) OR c IN (:x, :y) OR d IN (?, ?)",
         "a IN (%s) OR b IN (%(x_1)s) OR c IN (:x) OR d IN (?)"),
        ("SELECT ARRAY[0.1, -0.2, 3e-5], ARRAY[[1,2],[-3,4]], a[1:2], b <-> '[0.1, 0.2]'",
         "SELECT ARRAY[?], ARRAY[[?]], a[?:?], b <-> ?"),
        ("SELECT f(1, 2, $1), (1, 2)", "SELECT f(?, ?, $1), (?)"),
    ],
)  # fmt: skip
def test_of_several_values_one_is_shown(query: str, text: str) -> None:
    """Of the values in a list, and of the rows of VALUES, the first one stays; placeholders are numbered anew."""
    assert describe(query, POSTGRESQL).text == text


@pytest.mark.parametrize(
    ("head", "item", "text"),
    [
        ("INSERT INTO t VALUES (0, 'x')", ", ({}, 'x')", "INSERT INTO t VALUES (?)"),
        ("INSERT INTO t VALUES (f(0), 'x')", ", (f({}), 'x')", "INSERT INTO t VALUES (f(?), ?)"),
        ("SELECT * FROM t WHERE a IN (0", ", {}", "SELECT * FROM t WHERE a IN (?"),
        ("SELECT * FROM t WHERE a IN ($1", ", ${}", "SELECT * FROM t WHERE a IN ($1"),
        ("SELECT ARRAY[0.5", ", -{}.5", "SELECT ARRAY[?"),
        ("SELECT ARRAY[[0.5]", ", [-{}.5, 1]", "SELECT ARRAY[[?]"),
    ],
)
def test_a_statement_has_one_text_wherever_it_is_cut(head: str, item: str, text: str) -> None:
    """Of a statement that is cut within a list, nothing is left of the value or the row that is cut."""
    query = head + "".join(item.format(number) for number in range(2, 3000))
    assert len(query) > MAX_TEXT + 100
    for more in range(40):
        statement = describe(head + " " * more + query[len(head) :], POSTGRESQL)
        assert (statement.text, statement.truncated) == (text, True)


def test_what_is_cut_says_so() -> None:
    """A statement of one character too many is cut, also if only that one of the rest is given; another one is not."""
    query = f"SELECT {'a' * (MAX_TEXT - 7)}"
    assert not describe(query, POSTGRESQL).truncated
    assert describe(f"{query}a", POSTGRESQL) == describe(f"{query}aaa FROM t", POSTGRESQL)
    assert describe(f"{query}a", POSTGRESQL).truncated


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
