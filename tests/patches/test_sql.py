"""SQL made safe and short."""

from __future__ import annotations

import time

import pytest

from causal_otel.patches._sql import MAX_TEXT, describe


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
        ("SELECT $x$ never closed", "SELECT ?"),
        ("SELECT 1 /* never closed 'secret'", "SELECT ?"),
        ("  SELECT\n\t1  ", "SELECT ?"),
        ("", ""),
    ],
)
def test_literals_and_comments_go(query: str, text: str) -> None:
    """Every literal becomes ``?``; names and parameters stay."""
    assert describe(query).text == text


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
    assert describe(query).summary == summary


def test_summary_is_bounded() -> None:
    """A summary has 255 characters at most and ends with a whole word."""
    summary = describe("SELECT * FROM t0 " + " ".join(f"JOIN table_number_{n} ON true" for n in range(100))).summary
    assert len(summary) <= 255
    assert summary.split()[-1].startswith("table_number_")


@pytest.mark.parametrize("piece", ["'", "$a$ ", "/*", "--\n", "(", "1", '"', "e'\\", "a.", "$1", "x(", "\x00", "é"])
def test_linear_time_and_bounded(piece: str) -> None:
    """No text, however hostile, takes longer than in proportion to its length, and only the beginning is looked at."""

    def cost(query: str) -> float:
        best = float("inf")
        for _ in range(3):
            start = time.thread_time()
            describe(query)
            best = min(best, time.thread_time() - start)
        return best

    quarter, whole = piece * (MAX_TEXT // 4 // len(piece)), piece * MAX_TEXT * 4
    assert cost(whole) < 40 * max(cost(quarter), 1e-4)
    assert len(describe(whole).text) <= MAX_TEXT
