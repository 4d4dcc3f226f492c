"""SQL of databases whose strings we do not know: whatever may be a value is hidden."""

from __future__ import annotations

import pytest

from causal_otel.statements import sql


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT :x, ?, @p FROM t WHERE c = 'it''s' AND d=1.5e3", "SELECT :x, ?, @p FROM t WHERE c = ? AND d=?"),
        ('SELECT "a" FROM `b c`', "SELECT ? FROM `b c`"),  # SQLite reads a name that it does not know as a string
        ("SELECT N'secret', x'ab' -- secret\nFROM t", "SELECT ?, ? FROM t"),
        (r"SELECT 'a\', 'secret' FROM t", "SELECT ?"),  # one string, or two
        ("SELECT q'[it's]' secret", "SELECT ?"),  # Oracle's
        ('SELECT """a"secret"""', "SELECT ?"),  # BigQuery's
        ("SELECT $$secret$$, secret", "SELECT ?"),
        ("SELECT 1 # secret", "SELECT ?"),
        ("SELECT 1 /* secret /* */ secret */ FROM t", "SELECT ? FROM t"),
        ("SELECT 'secret", "SELECT ?"),
        ("SELECT `secret", "SELECT ?"),
        ("SELECT x::int, y", "SELECT x::int, y"),
    ],
)  # fmt: skip
def test_values_are_hidden(statement: str, text: str) -> None:
    """A literal of any database is a question mark; where it is not clear where it ends, all the rest is."""
    assert sql.describe(statement, sql.GENERIC).text == text
