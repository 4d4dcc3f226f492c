"""What SQL's words make come next: the vocabulary of :mod:`causal_otel.statements.sql_summary`."""

from __future__ import annotations

from typing import Final

from causal_otel.statements._statement import words

# fmt: off
__all__ = [
    "AFTER_COMMA", "AWAITED", "BEFORE_KIND", "BEFORE_MADE_TABLE", "BEFORE_NAME", "BEFORE_STATEMENT", "BEFORE_TABLE",
    "BEGIN", "BODY", "CLAUSES", "COPIED", "CTE", "CTE_BODY", "CTE_TAIL", "DEFINED", "END",
    "EXPLAINED", "EXPRESSION", "FROM_A_QUERY", "INSERTED", "INTO", "IN_PARENTHESIS", "JOIN", "KIND", "KINDS",
    "LONGER_KINDS", "MORE_NAMES", "NAME", "NAMES", "NOTHING", "NO_FUNCTIONS", "ON", "ON_A_TABLE", "OPERATIONS",
    "PEOPLE", "QUERIES", "QUERY", "REST", "SECOND", "SECOND_WORDS", "SELECTED", "SET_OPERATORS", "TABLE", "TABLES",
    "TARGET", "UNTIL", "WITHOUT_NAME", "WITH_A_BODY",
]
# fmt: on


# -- what may come next, in a bracket or outside all of them ------------------------------------------------------

BEGIN: Final = "a statement"
QUERY: Final = "a query, or else an expression"
JOIN: Final = "a query, or else tables in parentheses"
SELECTED: Final = "what is selected"
REST: Final = "a clause of a query"
TABLE: Final = "a table to read"
TABLES: Final = "a comma and another table, or a clause"
INTO: Final = "the table that SELECT makes"
TARGET: Final = "the table to write to"
INSERTED: Final = "what to insert"
CTE: Final = "the name of a common table expression"
CTE_BODY: Final = "the statement of a common table expression"
CTE_TAIL: Final = "another common table expression, or the statement that uses them"
EXPLAINED: Final = "options, and the statement to explain"
SECOND: Final = "the operation's second word"
KIND: Final = "the kind of an object"
DEFINED: Final = "the name of an object"
NAMES: Final = "a name of several"
MORE_NAMES: Final = "a comma and another name"
NAME: Final = "one name"
COPIED: Final = "a table or a query"
UNTIL: Final = "a certain word"
ON: Final = "the table of an object"
EXPRESSION: Final = "nothing, unless a query goes on"
NOTHING: Final = "nothing up to the semicolon"
BODY: Final = "the body of a routine"
END: Final = "nothing at all"

OPERATIONS = {
    **dict.fromkeys(("SELECT",), SELECTED),
    **dict.fromkeys(("INSERT", "MERGE", "REPLACE"), TARGET),
    "UPDATE": TABLE,
    "DELETE": REST,
    "VALUES": EXPRESSION,
    **dict.fromkeys(("TABLE", "CALL", "USE"), NAME),
    **dict.fromkeys(("CREATE", "ALTER", "DROP", "REINDEX", "REFRESH"), KIND),
    **dict.fromkeys(("TRUNCATE", "LOCK", "VACUUM", "ANALYZE", "ANALYSE", "CLUSTER", "OPTIMIZE"), NAMES),
    "COPY": COPIED,
    **dict.fromkeys(("EXPLAIN", "DESCRIBE", "DESC"), EXPLAINED),
    **dict.fromkeys(("PREPARE", "DECLARE", "LOAD"), UNTIL),
    **dict.fromkeys(("COMMIT", "RELEASE", "ROLLBACK", "START"), SECOND),
    **dict.fromkeys(
        words(
            "ABORT ATTACH BEGIN CHECKPOINT CLOSE COMMENT DEALLOCATE DETACH DISCARD DO END EXEC EXECUTE FETCH FLUSH "
            "GRANT HANDLER IMPORT KILL LISTEN MOVE NOTIFY PRAGMA REASSIGN RENAME RESET REVOKE SAVEPOINT SECURITY SET "
            "SHOW UNLISTEN UNLOCK XA"
        ),
        NOTHING,
    ),
}
QUERIES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "VALUES", "TABLE"})
SECOND_WORDS = frozenset(
    {"COMMIT PREPARED", "RELEASE SAVEPOINT", "ROLLBACK PREPARED", "ROLLBACK TO", "START TRANSACTION"}
)
AWAITED = {"PREPARE": ("AS", BEGIN), "DECLARE": ("FOR", BEGIN), "LOAD": ("INTO", NAMES)}

SET_OPERATORS = frozenset({"UNION", "EXCEPT", "INTERSECT"})
CLAUSES = {
    "FROM": TABLE,
    "INTO": INTO,
    **dict.fromkeys(SET_OPERATORS, QUERY),
    **dict.fromkeys(
        ("WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "RETURNING"), REST
    ),
}
NO_FUNCTIONS = words(
    "ARRAY CASE CAST COALESCE CONVERT EXISTS EXTRACT GREATEST IF INTERVAL LEAST NOT NULLIF ON OVERLAY "
    "POSITION ROW SUBSTRING TRIM"
)

BEFORE_TABLE = frozenset({"ONLY", "LATERAL", "TABLE", "OR"})
BEFORE_NAME = words(
    "ANALYSE ANALYZE CONCURRENTLY EXISTS FREEZE FULL IF LOCAL NOT ONLY SKIP_LOCKED TABLE TABLES VERBOSE"
)
BEFORE_MADE_TABLE = frozenset({"TABLE", "TEMP", "TEMPORARY", "UNLOGGED"})
BEFORE_STATEMENT = frozenset({"ANALYSE", "ANALYZE", "TABLE"})  # in EXPLAIN these are options

BEFORE_KIND = words(
    "ALGORITHM CONSTRAINT DEFAULT DEFINER FULLTEXT GLOBAL INVOKER LOCAL OR PROCEDURAL RECURSIVE REPLACE "
    "SECURITY SPATIAL SQL TEMP TEMPORARY TRUSTED UNIQUE UNLOGGED"
)
KINDS = words(
    "ACCESS AGGREGATE COLLATION CONVERSION DATA DATABASE DOMAIN EVENT EXTENSION FOREIGN FUNCTION GROUP INDEX "
    "LANGUAGE MATERIALIZED OPERATOR POLICY PROCEDURE PUBLICATION ROLE ROUTINE RULE SCHEMA SEQUENCE SERVER "
    "STATISTICS SUBSCRIPTION TABLE TABLESPACE TEXT TRIGGER TYPE USER VIEW"
)
LONGER_KINDS = frozenset(
    {"ACCESS METHOD", "DATA WRAPPER", "EVENT TRIGGER", "FOREIGN DATA", "FOREIGN TABLE", "MATERIALIZED VIEW"}
    | {"OPERATOR CLASS", "OPERATOR FAMILY", "TEXT SEARCH", "USER MAPPING"}
    | {f"SEARCH {kind}" for kind in ("CONFIGURATION", "DICTIONARY", "PARSER", "TEMPLATE")}
)
PEOPLE = frozenset({"GROUP", "MAPPING", "ROLE", "USER"})
ON_A_TABLE = frozenset({"INDEX", "POLICY", "RULE", "TRIGGER"})
WITH_A_BODY = frozenset({"EVENT", "FUNCTION", "PROCEDURE", "ROUTINE", "TRIGGER"})
FROM_A_QUERY = frozenset({"TABLE", "VIEW"})

# What comes in a parenthesis and what after it; elsewhere it is an expression, and nothing changes by it.
IN_PARENTHESIS = {
    BEGIN: (QUERY, EXPRESSION),
    QUERY: (QUERY, EXPRESSION),
    JOIN: (JOIN, TABLES),
    TABLE: (JOIN, TABLES),
    SELECTED: (QUERY, REST),
    CTE_BODY: (BEGIN, CTE_TAIL),
    COPIED: (BEGIN, NOTHING),
}
AFTER_COMMA = {TABLES: TABLE, CTE_TAIL: CTE, MORE_NAMES: NAMES, SELECTED: REST, QUERY: EXPRESSION, JOIN: EXPRESSION}
# A value or a sign stands where a name was expected: there is none.
WITHOUT_NAME = {
    SELECTED: REST,
    TABLE: TABLES,
    JOIN: EXPRESSION,
    QUERY: EXPRESSION,
    INTO: REST,
    TARGET: INSERTED,
    NAMES: MORE_NAMES,
    **dict.fromkeys((NAME, ON, COPIED, SECOND), NOTHING),
}
