"""What a SQL statement does, in few words: its operations and what they work on.

This is no parser. It reads names and punctuation one after the other and knows for each open bracket what may
come next: a statement, a table, columns. What it does not know adds nothing, so a column or an alias is
never taken for a table.
"""

from __future__ import annotations

from causal_otel.statements import _sql_words as words
from causal_otel.statements._statement import summary_of

__all__ = ["SqlSummary"]


class _Bracket:
    """What is known inside a bracket, or outside all of them.

    Attributes:
        state: what may come next.
        using: whether USING comes before a table.
        function: the clause that has a function, and where in it: as long as no FROM follows.
        awaited: the word that ends :data:`UNTIL`, and what comes after it.
        cte: the common table expression that is being defined.
        ctes: those that are known here.
        recursive: whether they are known inside themselves.
    """

    __slots__ = ("awaited", "cte", "ctes", "function", "recursive", "state", "using")

    def __init__(self, state: str) -> None:
        self.state = state
        self.using = self.recursive = False
        self.cte = ""
        self.ctes: list[str] = []
        self.function: tuple[list[str], int] | None = None
        self.awaited: tuple[str, str] | None = None


class SqlSummary:
    """Collects the operations of a statement with their targets.

    Args:
        modifiers: keywords of the dialect that may stand between an operation and its table, in capitals.

    Attributes:
        clauses: each is an operation, then what it works on.
    """

    __slots__ = ("_bracket", "_brackets", "_candidate", "_ctes", "_extends", "_modifiers", "clauses")

    def __init__(self, modifiers: frozenset[str]) -> None:
        self.clauses: list[list[str]] = []
        self._modifiers = modifiers
        self._bracket = _Bracket(words.BEGIN)
        self._brackets: list[_Bracket] = []
        self._ctes: dict[str, int] = {}  # how many brackets know one by this name
        self._extends = False  # whether a dot and a name belong to the last target
        self._candidate = ""  # what SELECT begins with: a function, if a parenthesis follows

    @property
    def in_query(self) -> bool:
        """Whether a query has begun in the bracket."""
        return self._bracket.state not in (words.QUERY, words.EXPRESSION)

    # -- tokens ---------------------------------------------------------------------------------------------------

    def name(self, name: str, word: str, before: str) -> None:
        """A keyword or a name.

        Args:
            name: as written.
            word: the same in capitals.
            before: the token before it, no dot: a word in capitals or a mark; empty: a value, or there is none.
        """
        self._extends = False
        self._candidate = ""
        bracket = self._bracket
        step = _STEPS.get(bracket.state)
        if step is not None:
            step(self, bracket, name, word, before)

    def value(self) -> None:
        """A literal, a placeholder, or a mark for which there is no other method. A dot is not told."""
        self._extends = False
        self._candidate = ""
        bracket = self._bracket
        if bracket.state in words.WITHOUT_NAME:
            bracket.state = words.WITHOUT_NAME[bracket.state]

    def dotted(self, name: str) -> None:
        """A name after a dot."""
        if self._extends:
            self.clauses[-1][-1] += f".{name}"
        elif self._candidate:
            self._candidate += f".{name}"

    def opened(self, mark: str) -> None:
        """A bracket opens."""
        bracket = self._bracket
        inside = words.QUERY
        if mark == "(":
            if self._candidate:
                self.clauses[-1].append(self._candidate)
                bracket.function = self.clauses[-1], len(self.clauses[-1]) - 1
            if bracket.state in words.IN_PARENTHESIS:
                inside, bracket.state = words.IN_PARENTHESIS[bracket.state]
        self._extends, self._candidate = False, ""
        self._brackets.append(bracket)
        self._bracket = _Bracket(inside)

    def closed(self) -> None:
        """A bracket closes."""
        self._extends, self._candidate = False, ""
        if self._brackets:
            for key in self._bracket.ctes:
                self._ctes[key] -= 1
                if not self._ctes[key]:
                    del self._ctes[key]
            bracket = self._bracket = self._brackets.pop()
            if bracket.cte and bracket.state == words.CTE_TAIL:
                self._know(bracket)

    def comma(self) -> None:
        """A comma."""
        self._extends, self._candidate = False, ""
        bracket = self._bracket
        if bracket.state in words.AFTER_COMMA:
            bracket.state = words.AFTER_COMMA[bracket.state]

    def semicolon(self) -> None:
        """The end of a statement."""
        self.value()
        if self._bracket.state != words.END:
            self._brackets.clear()
            self._ctes.clear()
            self._bracket = _Bracket(words.BEGIN)

    def cut(self, before: str) -> None:
        """The statement goes on where it is cut. What is not known to be an operation or a target goes."""
        if before == "." and self._extends:
            self.clauses[-1].pop()
        for bracket in (*self._brackets, self._bracket):
            self._forget_function(bracket)

    def text(self) -> str:
        """Operations in capitals, targets as written."""
        return summary_of(self.clauses)

    # -- targets --------------------------------------------------------------------------------------------------

    def _target(self, name: str) -> None:
        self.clauses[-1].append(name)
        self._extends = True

    def _read(self, name: str) -> None:
        """A table that is read, unless it is a common table expression."""
        if not self._ctes or _key(name) not in self._ctes:
            self._target(name)

    def _know(self, bracket: _Bracket) -> None:
        """From here on the common table expression that has been defined is known, as long as the bracket is open."""
        key = _key(bracket.cte)
        bracket.cte = ""
        bracket.ctes.append(key)
        self._ctes[key] = self._ctes.get(key, 0) + 1

    def _forget_function(self, bracket: _Bracket) -> None:
        """It is but a part of what is selected: FROM follows, or may follow."""
        if bracket.function is not None:
            clause, at = bracket.function
            clause[at] = ""
            bracket.function = None

    # -- what a name does, by what may come next ------------------------------------------------------------------

    def _begin(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word == "WITH":
            bracket.state = words.CTE
            return
        bracket.state = words.OPERATIONS.get(word, words.NOTHING)
        if word in words.OPERATIONS and (word != "VALUES" or not self._brackets):
            self.clauses.append([word])
            bracket.using = word in ("DELETE", "MERGE")
            bracket.function = None
            bracket.awaited = words.AWAITED.get(word)

    def _query(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in ("SELECT", "WITH", "TABLE"):
            self._begin(bracket, name, word, before)
        elif word not in ("ALL", "DISTINCT"):  # after UNION
            bracket.state = words.EXPRESSION

    def _join(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        step = self._query if word in ("SELECT", "WITH", "VALUES") else self._table
        step(bracket, name, word, before)

    def _expression(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in words.SET_OPERATORS:
            bracket.state = words.QUERY

    def _selected(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in words.CLAUSES:
            self._rest(bracket, name, word, before)
        elif word not in ("ALL", "DISTINCT") and word not in self._modifiers:
            bracket.state = words.REST
            if word not in words.NO_FUNCTIONS:
                self._candidate = name

    def _rest(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        state = words.CLAUSES.get(word)
        if state is None or before == "AS":  # an alias may be any word
            return
        if word == "FROM":
            if before == "DISTINCT":  # IS DISTINCT FROM
                return
            self._forget_function(bracket)
        bracket.state = state

    def _table(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in words.BEFORE_TABLE or word in self._modifiers or before == "OR":
            return
        if word in words.CLAUSES:
            self._rest(bracket, name, word, before)
            return
        bracket.state = words.TABLES
        self._read(name)

    def _tables(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if before == "AS":
            return
        if word in ("JOIN", "STRAIGHT_JOIN"):
            bracket.state = words.TABLE
            bracket.using = False  # the next one has columns
        elif word == "USING":
            if bracket.using:
                bracket.state = words.TABLE
                bracket.using = False
        elif word == "SET":
            bracket.state = words.REST
        elif before == "ON" and word in ("CONFLICT", "DUPLICATE"):
            bracket.state = words.EXPRESSION
        elif word == "FROM" and before == "ROWS":
            self.clauses[-1].pop()  # ROWS FROM (f(), g())
            bracket.state = words.TABLE
        elif word in words.CLAUSES:
            self._rest(bracket, name, word, before)

    def _into(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in words.BEFORE_MADE_TABLE:
            return
        bracket.state = words.REST
        if word not in ("DUMPFILE", "OUTFILE"):
            self._target(name)

    def _write(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in ("INTO", "ONLY", "OR") or word in self._modifiers or before == "OR":
            return
        bracket.state = words.TABLES if bracket.using else words.INSERTED
        self._target(name)

    def _inserted(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if before == "AS":
            return
        if word in ("SELECT", "TABLE", "WITH"):
            self._begin(bracket, name, word, before)
        elif word in ("SET", "VALUES"):
            bracket.state = words.EXPRESSION

    def _cte(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word == "RECURSIVE":
            bracket.recursive = True
            return
        bracket.cte = name
        bracket.state = words.UNTIL
        bracket.awaited = "AS", words.CTE_BODY
        if bracket.recursive:
            self._know(bracket)

    def _cte_tail(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in ("CYCLE", "SEARCH"):
            bracket.state = words.UNTIL
            bracket.awaited = "SET", words.CTE_TAIL
        elif word in words.QUERIES:
            self._begin(bracket, name, word, before)

    def _explained(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word == "WITH" or (word in words.OPERATIONS and word not in words.BEFORE_STATEMENT):
            self._begin(bracket, name, word, before)

    def _second(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in ("TRANSACTION", "WORK") and before == "ROLLBACK":
            return
        bracket.state = words.NOTHING
        self._lengthen(word, words.SECOND_WORDS)

    def _lengthen(self, word: str, known: frozenset[str]) -> bool:
        """Whether the word belongs to the operation: then it is added."""
        operation = self.clauses[-1][0]
        if f"{operation.rpartition(' ')[2]} {word}" not in known:
            return False
        self.clauses[-1][0] = f"{operation} {word}"
        return True

    def _until(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        awaited = bracket.awaited
        if word == "TRANSACTION" and before == "PREPARE":
            self.clauses[-1][0] = "PREPARE TRANSACTION"
            bracket.state = words.NOTHING
        elif awaited is not None and word == awaited[0]:
            bracket.state = awaited[1]

    # -- objects --------------------------------------------------------------------------------------------------

    def _kind(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word in words.KINDS:
            self.clauses[-1][0] += f" {word}"
            bracket.state = words.DEFINED
        elif word not in words.BEFORE_KIND and before not in ("=", "@"):  # MySQL: DEFINER = name@host
            bracket.state = words.NOTHING

    def _defined(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if self._lengthen(word, words.LONGER_KINDS) or word in words.BEFORE_NAME:
            return
        operation, kind = self.clauses[-1][0].split(" ", 1)
        last = kind.rpartition(" ")[2]
        bracket.state = words.NOTHING
        if last in words.PEOPLE or word == "AUTHORIZATION":  # whose names are nobody else's business
            return
        if word == "ON" and last == "INDEX":
            bracket.state = words.ON
            return
        self._target(name)
        if kind in words.ON_A_TABLE and not (kind == "INDEX" and operation == "DROP"):
            bracket.state = words.UNTIL
            bracket.awaited = ("TO" if kind == "RULE" and operation == "CREATE" else "ON"), words.ON
        elif operation == "DROP":
            bracket.state = words.MORE_NAMES
        elif operation == "CREATE" and last in words.FROM_A_QUERY:
            bracket.state = words.UNTIL
            bracket.awaited = "AS", words.BEGIN
        elif operation == "CREATE" and kind in words.WITH_A_BODY:
            bracket.state = words.BODY

    def _on(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word == "ONLY":
            return
        self._target(name)
        bracket.state = words.BODY if self.clauses[-1][0] == "CREATE TRIGGER" else words.NOTHING

    def _body(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word == "BEGIN":
            bracket.state = words.END  # its statements are run by others

    def _names(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word not in words.BEFORE_NAME:
            self._target(name)
            bracket.state = words.MORE_NAMES

    def _more_names(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word == "ON" and self.clauses[-1][0] == "DROP INDEX":  # MySQL
            bracket.state = words.ON

    def _one_name(self, bracket: _Bracket, name: str, word: str, before: str) -> None:
        if word != "ONLY":
            self._target(name)
            bracket.state = words.NOTHING


def _key(name: str) -> str:
    """A name as it is compared."""
    return name[1:-1] if name[0] in '"`' else name.lower()


_STEPS = {
    words.BEGIN: SqlSummary._begin,
    words.QUERY: SqlSummary._query,
    words.JOIN: SqlSummary._join,
    words.EXPRESSION: SqlSummary._expression,
    words.SELECTED: SqlSummary._selected,
    words.REST: SqlSummary._rest,
    words.TABLE: SqlSummary._table,
    words.TABLES: SqlSummary._tables,
    words.INTO: SqlSummary._into,
    words.TARGET: SqlSummary._write,
    words.INSERTED: SqlSummary._inserted,
    words.CTE: SqlSummary._cte,
    words.CTE_TAIL: SqlSummary._cte_tail,
    words.EXPLAINED: SqlSummary._explained,
    words.SECOND: SqlSummary._second,
    words.UNTIL: SqlSummary._until,
    words.KIND: SqlSummary._kind,
    words.DEFINED: SqlSummary._defined,
    words.ON: SqlSummary._on,
    words.BODY: SqlSummary._body,
    words.NAMES: SqlSummary._names,
    words.MORE_NAMES: SqlSummary._more_names,
    words.NAME: SqlSummary._one_name,
    words.COPIED: SqlSummary._one_name,
}
