"""The comment that carries a trace context in a statement."""

from __future__ import annotations

import asyncpg
import pytest

from causal_otel.statements.comment import to_describe, with_traceparent
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


OTHERS = f"/*db_driver='x',traceparent='{TRACEPARENT}',route='%2F'*/"


@pytest.mark.parametrize("comment", [COMMENT, OTHERS])
@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT 1;", "SELECT 1;\n", "SELECT '/*' -- x", "SELECT 1 /*b*/;"])
def test_the_comment_is_not_described(statement: str, comment: str) -> None:
    """Wherever a comment with a trace stands, at the end or in front, the rest of the statement is what is read."""
    words = statement.rstrip("; \n")
    for text in (f"{words} {comment}{statement[len(words) :]}", f"{comment} {statement}", f"{comment}\n{statement}"):
        assert to_describe(text) == statement
        assert with_traceparent(text, TRACEPARENT) is text
    assert to_describe(statement) is statement


@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT '{COMMENT}'",
        f"SELECT 1 {COMMENT} + 1",
        f"SELECT 1 /* {COMMENT} */",
        "/*! SELECT traceparent='a' */",
        "/*+ x traceparent='a' */ SELECT 1",
        "SELECT traceparent='a'",
    ],
)
def test_other_text_is_described(statement: str) -> None:
    """What is in a literal, in the middle, in another comment or executed is left for the description to see."""
    assert to_describe(statement) == statement


def test_no_more_is_described_than_the_limit() -> None:
    """Of a long statement its beginning is read; a comment before it does not count, and one after it is not sought."""
    words = "SELECT " + "1, " * MAX_TEXT + "1"
    for text in (words, f"{COMMENT} {words}", with_traceparent(words, TRACEPARENT)):
        assert to_describe(text) == words[: MAX_TEXT + 1]
    whole = words[:MAX_TEXT]
    assert to_describe(with_traceparent(whole, TRACEPARENT)) == whole


def test_looking_for_the_comment_is_bounded() -> None:
    """Nothing that is written into a statement makes looking for a comment expensive."""
    for piece in (" ", "/*", "/*traceparent='", "traceparent='", "'", "*/"):
        for text in (piece * 1_000_000, f"/*{piece * 1_000_000}", f"/*traceparent='{piece * 100_000}*/"):
            assert len(to_describe(text)) <= MAX_TEXT + 1
