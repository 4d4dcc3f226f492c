"""The text of a SQL statement as it is shown: of a list of values the first one, of rows the first one.

So a statement has one text, however many values a program puts into it: ``IN (1, 2, 3)`` is ``IN (?)``, as the semantic
conventions have it, and so are other literals between parentheses; of ``VALUES ($1, $2), ($3, $4)`` remains
``VALUES ($1, $2)``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from causal_otel.statements.dialects import Dialect
    from causal_otel.statements.sql_summary import SqlSummary

__all__ = ["SqlText"]

_LITERALS = re.compile(r"\(\s*+\?(?:\s*+,\s*+\?)++\s*+\)")
_NUMBERED = re.compile(r"\$[0-9]{1,5}")


class _Bracket:
    """What is known inside a bracket, or outside all of them.

    Attributes:
        begin: how many tokens are shown before what is in it.
        clauses: how many clauses the summary had by then.
        lists: whether it encloses a list of values, or of rows.
        valued: whether a value has been shown of it.
        row: whether it encloses a row.
        again: whether a row comes before that.
        rows: how many tokens were shown up to the end of the last row directly in it; -1: none has ended.
        upto: how many tokens remain if nothing more of the list, or of the row, is shown; -1: that is not known.
    """

    __slots__ = ("again", "begin", "clauses", "lists", "row", "rows", "upto", "valued")

    def __init__(self, begin: int, clauses: int, lists: bool, row: bool, again: bool, upto: int) -> None:
        self.begin = begin
        self.clauses = clauses
        self.lists = lists
        self.valued = False
        self.row = row
        self.again = again
        self.rows = -1
        self.upto = upto


class SqlText:
    """Collects the tokens of a statement that are shown.

    Args:
        query: the statement.
        end: how many characters of it are read.
        dialect: whose SQL it is.
        summary: is told the same tokens, afterwards.

    Attributes:
        tokens: what is shown, without commas and values: these are added by methods.
    """

    __slots__ = ("_bracket", "_brackets", "_dialect", "_dropped", "_end", "_query", "_summary", "tokens")

    def __init__(self, query: str, end: int, dialect: Dialect, summary: SqlSummary) -> None:
        self.tokens: list[str] = []
        self._query = query
        self._end = end
        self._dialect = dialect
        self._bracket = _Bracket(0, 0, lists=False, row=False, again=False, upto=-1)
        self._brackets: list[_Bracket] = []
        self._dropped = False
        self._summary = summary

    def value(self, shown: str) -> None:
        """A literal or a placeholder."""
        bracket = self._bracket
        if bracket.lists and not bracket.valued:
            bracket.valued = True
            if len(self.tokens) <= bracket.begin + 2 and "".join(self.tokens[bracket.begin :]).strip() in (
                "",
                "+",
                "-",
            ):
                del self.tokens[bracket.begin :]  # a sign belongs to the value
        self.tokens.append(shown)

    def opened(self, mark: str, before: str) -> None:
        """A bracket opens.

        Args:
            mark: which one.
            before: the token before it: a word in capitals or a mark.
        """
        outer, tokens = self._bracket, self.tokens
        again = before == "," and 0 <= outer.rows >= len(tokens) - 3
        self._brackets.append(outer)
        self._bracket = _Bracket(
            len(tokens) + 1,
            len(self._summary.clauses),
            lists=mark == "[" or before == "IN",
            row=again or before == "VALUES" or (outer.lists and before in ("(", "[")),
            again=again,
            upto=outer.rows if again else -1,
        )
        tokens.append(mark)

    def closed(self, mark: str, at: int) -> int:
        """A bracket has closed before ``at``; returns where the text goes on."""
        tokens = self.tokens
        tokens.append(mark)
        if not self._brackets:
            return at
        bracket = self._bracket
        outer = self._bracket = self._brackets.pop()
        if not bracket.row:
            return at
        if bracket.again and bracket.clauses == len(self._summary.clauses):
            del tokens[bracket.upto :]
            self._dropped = True
        outer.rows = len(tokens)
        return self._drop(self._dialect.rows, at)

    def comma(self, start: int, at: int) -> int:
        """A comma from ``start`` to ``at``; returns where the text goes on."""
        bracket = self._bracket
        if bracket.lists and bracket.valued and not self._summary.in_query:
            if self.tokens[-1] == " ":
                self.tokens.pop()
            if bracket.upto < 0:
                bracket.upto = len(self.tokens)
            after = self._drop(self._dialect.values, start)
            if after > start:
                return after
        self.tokens.append(",")
        return at

    def _drop(self, pattern: re.Pattern[str], at: int) -> int:
        more = pattern.match(self._query, at, self._end)
        if more is None:
            return at
        self._dropped = True
        return more.end()

    def result(self, truncated: bool) -> str:
        """The text.

        Args:
            truncated: whether the statement goes on: then what is left of its last list or row is not shown.
        """
        tokens = self.tokens
        if truncated:
            for bracket in (*self._brackets, self._bracket):
                if bracket.upto >= 0:
                    del tokens[bracket.upto :]
                    self._dropped = True
                    break
        if self._dropped and self._dialect.numbered:
            tokens = _renumbered(tokens)
        return _LITERALS.sub("(?)", "".join(tokens).strip())


def _renumbered(tokens: list[str]) -> list[str]:
    """The same with placeholders that have no gaps: their numbers tell how many values came before."""
    numbers = sorted({int(token[1:]) for token in tokens if token[:1] == "$" and _NUMBERED.fullmatch(token)})
    new = {f"${number}": f"${rank}" for rank, number in enumerate(numbers, 1)}
    return [new.get(token, token) for token in tokens]
