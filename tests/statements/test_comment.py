"""The comment that carries a trace context in a statement."""

from __future__ import annotations

import asyncpg
import pytest

from causal_otel.statements.comment import with_traceparent
from causal_otel.statements.sql import MAX_TEXT

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COMMENT = f"/*traceparent='{TRACEPARENT}'*/"


@pytest.mark.parametrize(
    ("statement", "commented"),
    [
        ("SELECT 1", f"SELECT 1 {COMMENT}"),
        ("SELECT 1;", f"SELECT 1 {COMMENT};"),
        ("SELECT 1 ;\n ; ", f"SELECT 1 {COMMENT} ;\n ; "),
        ("SELECT 1\n", f"SELECT 1 {COMMENT}\n"),
        ("SELECT 1; SELECT 2;", f"SELECT 1; SELECT 2 {COMMENT};"),
        ("SELECT ';'", f"SELECT ';' {COMMENT}"),
        ("SELECT '--', '/*'", f"SELECT '--', '/*' {COMMENT}"),
        ('SELECT 1 AS "--;"', f'SELECT 1 AS "--;" {COMMENT}'),
        ("DO $$ BEGIN -- nothing\nEND $$;", f"DO $$ BEGIN -- nothing\nEND $$ {COMMENT};"),
        ("SELECT a->>'b', c - -1 FROM t", f"SELECT a->>'b', c - -1 FROM t {COMMENT}"),
    ],
)
def test_the_comment_is_the_last_word(statement: str, commented: str) -> None:
    """The comment stands at the end, before semicolons and white space."""
    assert with_traceparent(statement, TRACEPARENT) == commented


@pytest.mark.parametrize(
    "statement",
    [
        *("", ";", " \n; ", "SELECT 1 -- one", "SELECT 1 --", "SELECT 1 -- one;\n", "-- one\nSELECT 1", "SELECT 1;--"),
        *("/*+ SeqScan(t) */ SELECT * FROM t", f"SELECT 1 {COMMENT}", "SELECT 1 /* /* one */", "SELECT \"--, 'one'"),
        *("SELECT 1 --'\n", "SELECT '/*' /* one */;", "SELECT $a$--$a$ -- one"),
    ],
)
def test_a_statement_with_a_comment_stays_as_it_is(statement: str) -> None:
    """What has nothing in it, or a comment of its own already, is returned as it is."""
    assert with_traceparent(statement, TRACEPARENT) is statement


def test_values_are_escaped() -> None:
    """Nothing in the value can end the comment, or its quotes."""
    assert with_traceparent("SELECT 1", "it's */ DROP\\") == "SELECT 1 /*traceparent='it%27s%20%2A%2F%20DROP%5C'*/"


def test_work_is_bounded() -> None:
    """A statement beyond the limit is not looked through: it gets a comment if it has no mark of one."""
    values = f"SELECT {'1, ' * MAX_TEXT}1"
    assert with_traceparent(values, TRACEPARENT) == f"{values} {COMMENT}"
    assert with_traceparent(f"{values}, '--'", TRACEPARENT) == f"{values}, '--'"


@pytest.mark.asyncio
async def test_the_server_sees_the_comment(postgres_url: str) -> None:
    """PostgreSQL runs the same statement, whatever is in it, and shows it with its trace."""
    connection = await asyncpg.connect(postgres_url)
    try:
        for statement in (
            "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid() AND '--' <> $$/*$$;",
        ):
            commented = with_traceparent(statement, TRACEPARENT)
            assert await connection.fetchval(commented) == commented
            assert COMMENT in commented
    finally:
        await connection.close()
