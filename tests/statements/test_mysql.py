"""MySQL's statements: literals, comments and names end where MySQL and MariaDB end them.

PyPI has no server to test against. The tests follow the reference manual (9.1 Literal Values, 9.2 Schema Object Names,
9.7 Comments) and the lexer of both servers, ``sql/sql_lex.cc``.
"""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_otel.statements.sql import MAX_TEXT, MYSQL, describe, mysql
from tests.statements.cost import cost


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (r"SELECT 'it\'s', 'after', x", "SELECT ?, ?, x"),
        (r"SELECT 'it''s \\', x", "SELECT ?, x"),
        ("SELECT \"it\\\"s\", \"it\"\"s\", \"it's\", x", "SELECT ?, ?, ?, x"),
        ("SELECT 'a' \"b\" 'c', x", "SELECT ? ? ?, x"),
        ("SELECT 1, -1.5e-3, .5, 0xFF, 0b01, 1_000, x", "SELECT ?, -?, ?, ?, ?, ?, x"),
        ("SELECT x'4D', X'4D', b'01', B'01', N'it', n'it', x", "SELECT ?, ?, ?, ?, ?, ?, x"),
        ("SELECT _utf8mb4'it', _latin1\"it\", _binary 'it', _utf8mb4 x'4D'", "SELECT ?, ?, _binary ?, _utf8mb4 ?"),
        ("SELECT a_utf8 'it', a_x'it'", "SELECT a_utf8 ?, a_x?"),
        ("SELECT `we``ird 'x'`, `C:\\` FROM `T 1`, t$1.$x", "SELECT `we``ird 'x'`, `C:\\` FROM `T 1`, t$1.$x"),
        ("SELECT 5--1, 5 --\t'x'\n, 5-- 'x'\n--", "SELECT ?--?, ? , ?"),
        ("SELECT a # it's\n, b #", "SELECT a , b"),
        ("SELECT a -- it's\r still 'secret'\n, b", "SELECT a , b"),
        ("SELECT a # it's\x00, 'secret', b", "SELECT a \x00, ?, b"),
        ("SELECT 1 /* a /* b's */, 'secret', x /*/ */", "SELECT ? , ?, x"),
        ("SELECT * FROM t WHERE a IN (1, 2,3) AND b = ?", "SELECT * FROM t WHERE a IN (?) AND b = ?"),
        ("SELECT @@sql_mode, @'it', @v := 'it', c->'$.a'", "SELECT @@sql_mode, @?, @v := ?, c->?"),
        ("GRANT ALL ON *.* TO 'ann'@'%' IDENTIFIED BY 'secret'", "GRANT ALL ON *.* TO ?@? IDENTIFIED BY ?"),
        ("CREATE FUNCTION f() LANGUAGE JAVASCRIPT AS $x$ `secret` // it's $x$",
         "CREATE FUNCTION f() LANGUAGE JAVASCRIPT AS ?"),
        ("SELECT * FROM `never closed WHERE password = 'secret'", "SELECT * FROM ?"),
        ("SELECT 'never closed", "SELECT ?"),
        ('SELECT "never closed \\', "SELECT ?"),
        ("SELECT 1 /* never closed 'secret'", "SELECT ?"),
        ("", ""),
    ],
)  # fmt: skip
def test_literals_and_comments_go(query: str, text: str) -> None:
    """Every literal becomes ``?`` and comments go, by MySQL's rules; names and placeholders stay."""
    assert describe(query, MYSQL).text == text


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT /*! STRAIGHT_JOIN */ a FROM t", "SELECT /*! STRAIGHT_JOIN */ a FROM t"),
        ("/*!40101 SET NAMES utf8 */", "/*! SET NAMES utf8 */"),
        ("/*M!100500 SET x = 'it' */, 'it'", "/*! SET x = ? */, ?"),
        ("SELECT /*!080000 1 + */ 2", "SELECT /*! ? + */ ?"),
        ("SELECT /*!501 1*/ x", "SELECT /*!? ?*/ x"),
        ("SELECT /*!*/ x", "SELECT /*!*/ x"),
        ("SELECT /*! a /* it's */ b */ x", "SELECT /*! a b */ x"),
        ("SELECT /*!99999 '*/ secret ' */, x", "SELECT /*! ?"),
        ("SELECT /*!99999 don't */ 'secret'", "SELECT /*! don?"),
        ("SELECT /*!99999 `a */ 'secret` */", "SELECT /*! ?"),
        ("SELECT /*! '/*' */ 'secret' */", "SELECT /*! ? ?"),
        ("SELECT /*! # a */ 'secret'\n */", "SELECT /*! ?"),
        ("SELECT /*! a /*! b */ 'secret' */", "SELECT /*! a ?"),
        ("SELECT /*! 'never closed", "SELECT /*! ?"),
        ("SELECT /*! never, 1", "SELECT /*! never, ?"),
    ],
)
def test_executable_comments(query: str, text: str) -> None:
    """An executable comment is code; where it would end elsewhere if skipped, the rest of the statement is hidden."""
    assert describe(query, MYSQL).text == text


@pytest.mark.parametrize(
    ("mode", "query", "text"),
    [
        ("no_backslash_escapes", r"SELECT 'C:\', 'secret', x", "SELECT ?, ?, x"),
        ("no_backslash_escapes", r'SELECT "C:\", "secret", x', "SELECT ?, ?, x"),
        ("ansi_quotes", r"""SELECT "we""ird", "C:\", 'it\'s', x""", r'SELECT "we""ird", "C:\", ?, x'),
        ("ansi_quotes", "SELECT \"never closed, 'secret'", "SELECT ?"),
    ],
)
def test_modes(mode: str, query: str, text: str) -> None:
    """The modes of a session that change its tokens are variants of the dialect."""
    assert describe(query, mysql(**{mode: True})).text == text


@pytest.mark.parametrize(
    ("query", "summary"),
    [
        ("select * from `users` where id = ?", "SELECT `users`"),
        ("SELECT * FROM `my shop`.`orders` o JOIN shop.carts", "SELECT `my shop`.`orders` shop.carts"),
        ("INSERT LOW_PRIORITY IGNORE INTO archive SELECT a FROM live", "INSERT archive SELECT live"),
        ("UPDATE IGNORE users SET name = \"FROM x\"", "UPDATE users"),
        ("DELETE QUICK FROM users # FROM x", "DELETE users"),
        ("REPLACE INTO users VALUES (1)", "REPLACE users"),
        ("REPLACE INTO users SELECT replace(a, 'x', 'y') FROM live", "REPLACE users SELECT live"),
        ("CREATE OR REPLACE VIEW v AS SELECT a FROM t", "CREATE VIEW v SELECT t"),
        ("/*!40101 SET NAMES utf8 */", "SET"),
    ],
)  # fmt: skip
def test_summary(query: str, summary: str) -> None:
    """Operations in capitals and their tables as written make the summary."""
    assert describe(query, MYSQL).summary == summary


_VALUES = (
    *("'{}'", "'a''{}'", "'\"{}'", "N'{}'", "n'{}'", "'a' '{}'", "'a' /* ' */ '{}'"),
    *("_utf8mb4'{}'", "_utf8mb4 '{}'", "'# {}'", "'-- {}'", "'/* {}'", "'*/{}'", "'`{}'", "'$$ {}'"),
    *("/*! '{}' */", "/*!40101 '{}' */", "/*!40101'{}'*/", "/*! /* ' */ '{}' */"),
)
_ESCAPED = (r"'\'{}'", r"'\\\'{}'", "'\\\n{}'", "'{}\\\\'", r"_utf8mb4'\'{}'", r"/*! '\'{}' */")
_NOT_ESCAPED = ("'\\' '{}'", "'{}\\'", "'\\\\\\''{}'", "/*! '{}\\' */")
_DOUBLE_QUOTED = ('"{}"', '"a""{}"', '"\'{}"', "'a'\n\"{}\"", '_latin1"{}"', '"`{}"', '"/*{}"', '/*! /* \' */ "{}" */')
_BETWEEN = (
    *(" ", "\n", "\t", "\r", "\f", "# '\n", '# `\r"\n', "-- '\n", '--\t"\n', "--\n", "--\x01'\n", "-- \\\n"),
    *("/* ' */", '/* " */', "/* /* ` */", "/**/", "/***/", "/*/ ' */", "/* \\*/", "/* -- */", "/* # */"),
)
_NAMES = (
    *("keep", "`keep`", "`'keep`", '`"keep`', "`keep\\`", "`k``'keep`", "`keep # `", "`/* keep`", "keep$"),
    "\u00e9keep",
)
_DOUBLE_QUOTED_NAMES = ('"keep"', '"keep\\"', '"k""\'keep"', '"`keep"', '"keep -- "')

_MODES: tuple[tuple[dict[str, bool], tuple[str, ...], tuple[str, ...]], ...] = (
    ({}, (*_VALUES, *_ESCAPED, *_DOUBLE_QUOTED, r'"\"{}"'), _NAMES),
    ({"no_backslash_escapes": True}, (*_VALUES, *_NOT_ESCAPED, *_DOUBLE_QUOTED, '"{}\\"'), _NAMES),
    ({"ansi_quotes": True}, (*_VALUES, *_ESCAPED), (*_NAMES, *_DOUBLE_QUOTED_NAMES)),
)


@pytest.mark.parametrize(("mode", "values", "names"), _MODES)
@given(data=st.data())
def test_planted_secrets_go_and_names_stay(
    mode: dict[str, bool], values: tuple[str, ...], names: tuple[str, ...], data: st.DataObject
) -> None:
    """Whatever values, comments and names stand next to each other, no value is in the text, and each name is."""
    column = st.builds(
        "{0}{1}{0}AS {2}{3}".format,
        st.sampled_from(_BETWEEN),
        st.sampled_from([value.format("secret") for value in values]),
        st.sampled_from(names),
        st.sampled_from(_BETWEEN),
    )
    query = "SELECT" + ",".join(data.draw(st.lists(column, min_size=1, max_size=4)))
    text = describe(query, mysql(**mode)).text
    assert "secret" not in text
    assert text.count("keep") == query.count("keep")


@pytest.mark.parametrize(
    "piece",
    [
        *("'", '"', "`", "\\", "'\\", "/*", "/*!", "/*! */", "/*!/*", "*/", "--", "-- ", "#", "#\n"),
        *("$$", "$", "_a", "_a'", "1", "("),
    ],
)
def test_linear_time_and_bounded(piece: str) -> None:
    """No text takes longer than in proportion to its length, and only its start is read."""
    quarter, whole = piece * (MAX_TEXT // 4 // len(piece)), piece * MAX_TEXT * 4
    in_dialect = functools.partial(describe, dialect=MYSQL)
    assert cost(in_dialect, whole) < 40 * max(cost(in_dialect, quarter), 1e-4)
    assert len(describe(whole, MYSQL).text) <= MAX_TEXT
