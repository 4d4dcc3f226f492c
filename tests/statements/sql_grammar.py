"""Random SQL statements, with the operations and the targets that they are made of."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

__all__ = ["Generated", "statements"]


class Generated(NamedTuple):
    """A piece of SQL.

    Attributes:
        text: as it is sent.
        clauses: each is an operation, then what it works on.
    """

    text: str
    clauses: list[list[str]]


_TABLES = ("t1", "s1.t2", '"T 3"', 's2."from"', "Täble", "values_t", "s . t4")
_COLUMNS = ("c1", "x.c2", '"select"', '"C, 4"', "x.from", "x.update", "update_c", "c$5", "größe")
_LABELS = ("l1", "AS from", "AS select", '"l, 2"', "AS update", "AS l3")
_ALIASES = ("", "", "x", "AS x", 'AS "join"', "AS x (y, z)", "AS where")
_LITERALS = (
    "'secret'",
    "42",
    "E'\\'secret'",
    "$$ FROM secret $$",
    "'FROM secret, secret'",
    "$1",
    "null",
    "1.5e3",
    "''",
)
_SPACES = (" ", " ", " ", "\n", "\t", " /* FROM secret */ ", " -- FROM secret\n")
_LOCKS = ("", "", "FOR UPDATE", "FOR NO KEY UPDATE OF x, y SKIP LOCKED", "FOR SHARE NOWAIT", "FOR KEY SHARE OF x")


class _Maker:
    """Draws the parts of a statement. ``depth``: how deeply queries may be nested in it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.ctes: list[str] = []

    def one(self, values: tuple[str, ...]) -> str:
        return self.draw(st.sampled_from(values))

    def number(self, most: int) -> int:
        return self.draw(st.integers(0, most))

    def table(self) -> tuple[str, str]:
        name = self.one(_TABLES)
        return name, name.replace(" . ", ".")

    def expression(self, depth: int, clauses: list[list[str]]) -> str:
        """What has columns and values; queries in it add their clauses."""
        kind = self.number(11)
        if depth and kind == 0:
            query = self.query(depth - 1)
            clauses += query.clauses
            return self.one(("({})", "EXISTS ({})", "c1 IN ({})", "c1 > ALL ({})", "ARRAY({})")).format(query.text)
        if depth and kind == 1:
            left, right = self.expression(depth - 1, clauses), self.expression(depth - 1, clauses)
            return self.one(("{} + {}", "{} IS DISTINCT FROM {}", "f({}, {})", "({}) AND {}", "ARRAY[{}, {}]")).format(
                left, right
            )
        column, literal = self.one(_COLUMNS), self.one(_LITERALS)
        forms = (
            *("{c}", "{c}", "{l}", "{l}::text", "f({c}, {l})", "extract(year FROM {c})", "trim(BOTH {l} FROM {c})"),
            *("substring({c} FROM 2 FOR 3)", "CASE WHEN {c} = {l} THEN {c} END", "{c} IN ({l}, {l}, {l})"),
            *("count(*) FILTER (WHERE {c} IS NOT NULL)", "rank() OVER (PARTITION BY {c} ORDER BY {c})", "({c}, {l})"),
            *(
                "{c} IS NOT DISTINCT FROM {l}",
                "ARRAY[{l}, {l}]",
                "{c}[1]",
                "time_bucket({l}, {c})",
                "CAST({c} AS text)",
            ),
        )
        return self.one(forms).format(c=column, l=literal)

    def source(self, depth: int, clauses: list[list[str]]) -> str:
        """What stands after FROM: one table, or what is read like one."""
        kind = self.number(9)
        alias = self.one(_ALIASES)
        if kind == 0 and depth:
            query = self.query(depth - 1)
            clauses += query.clauses
            return f"{self.one(('', 'LATERAL '))}({query.text}) {alias}"
        if kind == 1 and depth:
            return f"({self.sources(depth - 1, clauses)})"
        if kind == 2:
            clauses[-1].append("g")
            return f"{self.one(('', 'LATERAL '))}g({self.one(_COLUMNS)}, {self.one(_LITERALS)}) {alias}"
        if kind == 3:
            return f"(VALUES ({self.one(_LITERALS)}, 2), (3, 4)) {alias}"
        if kind == 4 and self.ctes:
            return f"{self.draw(st.sampled_from(self.ctes))} {alias}"
        text, name = self.table()
        clauses[-1].append(name)
        return f"{self.one(('', '', 'ONLY '))}{text} {alias}"

    def sources(self, depth: int, clauses: list[list[str]]) -> str:
        parts = [self.source(depth, clauses)]
        for _ in range(self.number(2)):
            form = self.one(
                (
                    ", {}",
                    ", {}",
                    " JOIN {} ON {}",
                    " LEFT OUTER JOIN {} USING (c1, c2)",
                    " CROSS JOIN {}",
                    " NATURAL JOIN {}",
                )
            )
            source = self.source(depth, clauses)
            parts.append(
                form.format(source, self.expression(depth, clauses)) if form.count("{}") == 2 else form.format(source)
            )
        return "".join(parts)

    def query(self, depth: int) -> Generated:
        known = len(self.ctes)
        clauses: list[list[str]] = []
        before = self.common(depth, clauses) if depth and self.number(5) == 0 else ""
        text = before + self.select(depth, clauses)
        for _ in range(self.number(1) if self.number(3) == 0 else 0):
            text += self.one((" UNION ", " UNION ALL ", " EXCEPT ", " INTERSECT DISTINCT ")) + self.select(
                depth, clauses
            )
        del self.ctes[known:]
        return Generated(text, clauses)

    def select(self, depth: int, clauses: list[list[str]]) -> str:
        clauses.append(["SELECT"])
        words = ["SELECT", self.one(("", "", "ALL", "DISTINCT", "DISTINCT ON (c1, c2)"))]
        listed = [f"{self.expression(depth, clauses)} {self.one(('', *_LABELS))}" for _ in range(1 + self.number(2))]
        words += [self.one(("*, ", "c1, ", "count(*), ")), ", ".join(listed), "FROM", self.sources(depth, clauses)]
        if self.number(1):
            words += ["WHERE", self.expression(depth, clauses)]
        if self.number(3) == 0:
            words += ["GROUP BY c1,", self.one(_COLUMNS), "HAVING", self.expression(depth, clauses)]
        if self.number(3) == 0:
            words += ["ORDER BY", self.expression(depth, clauses), "DESC, c2", self.one(("", "LIMIT 5 OFFSET $2"))]
        words.append(self.one(_LOCKS))
        return self.spaced(words)

    def spaced(self, words: list[str]) -> str:
        text = ""
        for word in filter(None, words):
            text += (self.one(_SPACES) if text else "") + word
        return text

    def common(self, depth: int, clauses: list[list[str]]) -> str:
        """WITH and its queries."""
        parts = []
        for number in range(1 + self.number(1)):
            name = f"w{len(self.ctes)}_{number}"
            inner = self.query(depth - 1) if self.number(2) else self.change(depth - 1)
            clauses += inner.clauses
            head = self.one(("{} AS", "{} (c1, c2) AS", "{} AS MATERIALIZED", "{} AS NOT MATERIALIZED"))
            parts.append(f"{head.format(name)} ({inner.text})")
            self.ctes.append(self.one((name, name.upper())))
        return f"WITH {', '.join(parts)} "

    def assignments(self, depth: int, clauses: list[list[str]]) -> str:
        return f"c1 = {self.expression(depth, clauses)}, c2 = {self.one(_LITERALS)}"

    def change(self, depth: int) -> Generated:
        """INSERT, UPDATE, DELETE or MERGE."""
        text, name = self.table()
        kind = self.number(3)
        returning = self.one(("", "", "RETURNING *", "RETURNING c1, c2 AS from"))
        if kind == 0:
            clauses = [["INSERT", name]]
            words = ["INSERT INTO", text, self.one(("", "(c1, c2)", "AS x (c1)"))]
            if self.number(1):
                query = self.query(depth)
                clauses += query.clauses
                words.append(query.text)
            else:
                words += [
                    "VALUES (",
                    self.expression(depth, clauses),
                    ", DEFAULT)",
                    self.one(("", ", (1, 2), ($1, $2)")),
                ]
            if self.number(1):
                words += ["ON CONFLICT", self.one(("(c1, c2) WHERE c3", "ON CONSTRAINT k", "")), "DO UPDATE SET"]
                words += [self.assignments(depth, clauses), "WHERE", self.one(_COLUMNS), "= 1"]
            return Generated(self.spaced([*words, returning]), clauses)
        if kind == 1:
            clauses = [["UPDATE", name]]
            words = ["UPDATE", self.one(("", "ONLY")), text, self.one(("", "x", "AS x")), "SET"]
            words.append(self.assignments(depth, clauses))
            if self.number(1):
                words += ["FROM", self.sources(depth, clauses)]
            return Generated(self.spaced([*words, "WHERE", self.expression(depth, clauses), returning]), clauses)
        if kind == 2:
            clauses = [["DELETE", name]]
            words = ["DELETE FROM", text, self.one(("", "x", "AS x"))]
            if self.number(1):
                words += ["USING", self.sources(depth, clauses)]
            return Generated(self.spaced([*words, "WHERE", self.expression(depth, clauses), returning]), clauses)
        clauses = [["MERGE", name]]
        words = ["MERGE INTO", text, "AS x USING", self.source(depth, clauses), "ON", self.expression(depth, clauses)]
        words += [
            "WHEN MATCHED AND",
            self.expression(depth, clauses),
            "THEN UPDATE SET",
            self.assignments(depth, clauses),
        ]
        words += ["WHEN NOT MATCHED THEN INSERT (c1, c2) VALUES (x.c1, 2) WHEN MATCHED THEN DELETE"]
        return Generated(self.spaced(words), clauses)

    def definition(self) -> Generated:
        """What makes, changes or removes objects."""
        text, name = self.table()
        second, other = self.table()
        kind = self.number(7)
        if kind == 0:
            query = self.query(1)
            form, operation = self.draw(
                st.sampled_from(
                    [
                        ("CREATE OR REPLACE VIEW {} (c1, c2) AS {}", "CREATE VIEW"),
                        ("CREATE MATERIALIZED VIEW IF NOT EXISTS {} AS {} WITH NO DATA", "CREATE MATERIALIZED VIEW"),
                        ("CREATE UNLOGGED TABLE {} AS {}", "CREATE TABLE"),
                    ]
                )
            )
            return Generated(form.format(text, query.text), [[operation, name], *query.clauses])
        forms = {
            1: ("DROP TABLE IF EXISTS {}, {} CASCADE", ["DROP TABLE", name, other]),
            2: ("TRUNCATE TABLE {}, {} RESTART IDENTITY", ["TRUNCATE", name, other]),
            3: (
                "CREATE INDEX CONCURRENTLY {} ON ONLY {} USING gin (c1, lower(c2)) WHERE c3",
                ["CREATE INDEX", name, other],
            ),
            4: (
                "CREATE TRIGGER {} BEFORE INSERT OR UPDATE OF c1, c2 ON {} FOR EACH ROW EXECUTE FUNCTION f(1)",
                ["CREATE TRIGGER", name, other],
            ),
            5: ("CREATE POLICY {} ON {} FOR UPDATE TO l1, l2 USING (c1 = 'x')", ["CREATE POLICY", name, other]),
            6: (
                "ALTER TABLE {} ADD COLUMN c1 int REFERENCES {} ON DELETE CASCADE, DROP COLUMN c2",
                ["ALTER TABLE", name],
            ),
            7: (
                "CREATE TABLE {} (c1 int, c2 text DEFAULT 'x', FOREIGN KEY (c3) REFERENCES {})",
                ["CREATE TABLE", name],
            ),
        }
        form, clause = forms[kind]
        return Generated(form.format(text, second), [clause])


_OTHERS = (
    ("LISTEN c1", ["LISTEN"]),
    ("NOTIFY c1, 'secret'", ["NOTIFY"]),
    ("SET LOCAL c1.c2 = 'secret'", ["SET"]),
    ("SHOW c1", ["SHOW"]),
    ("SAVEPOINT c1", ["SAVEPOINT"]),
    ("ROLLBACK TO SAVEPOINT c1", ["ROLLBACK TO"]),
    ("CREATE USER c1 PASSWORD 'secret'", ["CREATE USER"]),
    ("GRANT SELECT (c1), UPDATE ON t1 TO c2", ["GRANT"]),
    ("SELECT f('secret', 1)", ["SELECT", "f"]),
    ("CALL f(1, 'secret')", ["CALL", "f"]),
    ("COPY t1 (c1, c2) FROM STDIN", ["COPY", "t1"]),
    ("VACUUM (FULL, ANALYZE) t1 (c1, c2)", ["VACUUM", "t1"]),
)


@st.composite
def statements(draw: st.DrawFn) -> Generated:
    """A statement, or several."""
    maker = _Maker(draw)
    texts, clauses = [], []
    for _ in range(1 + (maker.number(4) == 0)):
        kind = maker.number(6)
        if kind == 0:
            text, clause = draw(st.sampled_from(_OTHERS))
            made = Generated(text, [clause])
        elif kind == 1:
            made = maker.definition()
        elif kind < 5:
            made = maker.query(2)
        else:
            made = maker.change(2)
        maker.ctes.clear()
        if kind > 2 and maker.number(4) == 0:
            head, operation = draw(
                st.sampled_from(
                    [
                        ("EXPLAIN (ANALYZE, FORMAT JSON)", "EXPLAIN"),
                        ("EXPLAIN ANALYZE", "EXPLAIN"),
                        ("PREPARE c1 (int) AS", "PREPARE"),
                        ("DECLARE c1 CURSOR WITH HOLD FOR", "DECLARE"),
                    ]
                )
            )
            made = Generated(f"{head} {made.text}", [[operation], *made.clauses])
        texts.append(made.text)
        clauses += made.clauses
    return Generated(";\n".join(texts) + maker.one(("", ";")), clauses)
