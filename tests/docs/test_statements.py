"""The page about statements shows what we make of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from causal_otel.statements import cypher, sql

PAGE = Path(__file__).parents[2] / "docs/explanation/statements.md"
_ROW = re.compile(r"^\| `(.+)` \| `(.+)` \|$", re.MULTILINE)


def _rows(heading: str) -> list[tuple[str, str]]:
    (section,) = [part for part in PAGE.read_text(encoding="utf-8").split("\n## ") if part.startswith(heading)]
    return _ROW.findall(section)


@pytest.mark.parametrize(("statement", "summary"), _rows("Summaries of SQL"))
def test_summaries_of_sql(statement: str, summary: str) -> None:
    """Each row has the summary of its statement."""
    assert sql.describe(statement, sql.POSTGRESQL).summary == summary


@pytest.mark.parametrize(("statement", "summary"), _rows("Summaries of Cypher"))
def test_summaries_of_cypher(statement: str, summary: str) -> None:
    """Each row has the summary of its statement."""
    assert cypher.describe(statement).summary == summary


@pytest.mark.parametrize(("statement", "text"), _rows("Texts"))
def test_texts(statement: str, text: str) -> None:
    """Each row has the text of its statement."""
    assert sql.describe(statement, sql.POSTGRESQL).text == text
