"""Cypher's statements: sanitised text and summary."""

from __future__ import annotations

import pytest

from causal_otel.statements.cypher import MAX_TEXT, describe
from tests.statements.cost import cost


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("MATCH (p:Person {name: $name}) RETURN p.age2", "MATCH (p:Person {name: $name}) RETURN p.age2"),
        ("RETURN 'it\\'s', \"a \\\"b\\\"\", 'C:\\\\', 'last'", "RETURN ?, ?, ?, ?"),
        ("RETURN 1, -2.5e-3, .5, 1_000, 0x1F, 0o17, n1.x2", "RETURN ?, -?, ?, ?, ?, ?, n1.x2"),
        ("MATCH (a)-[:KNOWS*1..3]->(b) RETURN xs[1..$n]", "MATCH (a)-[:KNOWS*?..?]->(b) RETURN xs[?..$n]"),
        ("RETURN $0, $`a 'b`, `it's 1`, `a``1`", "RETURN $0, $`a 'b`, `it's 1`, `a``1`"),
        ("MATCH (n) // 'one'\nWHERE n.x IN [1, 2,'c'] /* two */ RETURN n", "MATCH (n) WHERE n.x IN [?] RETURN n"),
        ("RETURN range(1, 2), true, null", "RETURN range(?, ?), true, null"),
        ("RETURN 'never closed", "RETURN ?"),
        ("MATCH (n:`never closed {password: 'secret'})", "MATCH (n:?"),
        ("RETURN 'never closed \\", "RETURN ?"),
        ("RETURN 1 /* never closed 'secret'", "RETURN ?"),
        ("  RETURN\n\t1  ", "RETURN ?"),
        ("", ""),
    ],
)
def test_literals_and_comments_go(query: str, text: str) -> None:
    """Every string and number becomes ``?``; names and parameters stay."""
    assert describe(query).text == text


@pytest.mark.parametrize(
    ("query", "summary"),
    [
        ("MATCH (p:Person {name: $name}) RETURN p", "MATCH Person"),
        ("match (p: Person)-[:KNOWS]->(:Person) return p", "MATCH Person KNOWS"),
        ("MATCH (n:A:B)-[:R|S*..2]->(m:!C) RETURN n", "MATCH A:B R|S !C"),
        ("UNWIND $rows AS row MERGE (p:Person {id: row.id}) ON CREATE SET p.a = 1 ON MATCH SET p.b = 2",
         "UNWIND MERGE Person SET"),
        ("MATCH (p:Person) OPTIONAL  MATCH (p)-[:OWNS]->(c:Car) DETACH\nDELETE c",
         "MATCH Person OPTIONAL MATCH OWNS Car DETACH DELETE"),
        ("MATCH (n) WHERE n:Person REMOVE n:Old SET n:New", "MATCH Person REMOVE Old SET New"),
        ("CALL db.index.fulltext.queryNodes('titles', $q) YIELD node", "CALL db.index.fulltext.queryNodes"),
        ("CALL { MATCH (n:X {key: value}) RETURN n } RETURN {a: b, match: n.set}", "MATCH X"),
        ("MATCH (n) WHERE n.set = 1 AND xs[0].delete = 2 RETURN n", "MATCH"),
        ("CREATE CONSTRAINT IF NOT EXISTS FOR (p:Person) REQUIRE p.id IS UNIQUE", "CREATE CONSTRAINT Person"),
        ("CREATE OR REPLACE USER bob SET PASSWORD 'x'", "CREATE USER"),
        ("SHOW ALL INDEXES", "SHOW ALL INDEXES"),
        ("SHOW TRANSACTIONS YIELD transactionId AS set TERMINATE TRANSACTIONS set",
         "SHOW TRANSACTIONS TERMINATE TRANSACTIONS"),
        ("CREATE FULLTEXT INDEX names IF NOT EXISTS FOR (n:A|B) ON EACH [n.name, n.set]", "CREATE FULLTEXT INDEX A|B"),
        ("DROP CONSTRAINT one IF EXISTS", "DROP CONSTRAINT"),
        ("GRANT MATCH {*} ON GRAPH shop NODES Person TO editor", "GRANT"),
        ("explain match (n:Person) return n", "EXPLAIN MATCH Person"),
        ("MATCH (n:A|B&!C)-[r:!(R|S)&T]->(m:A | B & D) WHERE n:X|Y RETURN n", "MATCH A|B&!C !(R|S)&T A|B&D X|Y"),
        ("MATCH (n)-[:R|:S*1..2 {a: b}]->{1,3}(m) RETURN [x IN xs WHERE x:L | x.name], [(n)-[:T]->(o) | o.set]",
         "MATCH R|:S L T"),
        ("CALL db.labels", "CALL db.labels"),
        ("MATCH (n:((A|B)&(C|!D))) RETURN n", "MATCH ((A|B)&(C|!D))"),
        ("MATCH (n:A|(B&(C|!D))) RETURN n", "MATCH A|(B&(C|!D))"),
        ("MATCH (n IS Person)-[r IS KNOWS|LIKES]->(IS Dog {a: 1}) RETURN n", "MATCH Person KNOWS|LIKES Dog"),
        ("MATCH (n IS A&!B WHERE n.x IS NOT NULL) RETURN (n IS NULL), [n IS NORMALIZED]", "MATCH A&!B"),
        ("MATCH (is IS Is) WHERE n.is IS :: INTEGER RETURN (is IS TYPED BOOLEAN)", "MATCH Is"),
        ("WHEN $x THEN { MATCH (n:A) RETURN n } ELSE { CREATE (n:B) RETURN n }", "MATCH A CREATE B"),
        ("MATCH (n:A) RETURN CASE WHEN n.x THEN {create: B, a: C} ELSE {} END", "MATCH A"),
        ("CALL db.labels() YIELD label AS match RETURN label, match", "CALL db.labels"),
        ("OPTIONAL CALL apoc.do.it(1) YIELD a MATCH (n:A)", "CALL apoc.do.it MATCH A"),
        ("MATCH (n:A) CALL (n) { MATCH (n)-[:R]->(m) DELETE m } IN TRANSACTIONS OF 100 ROWS RETURN n",
         "MATCH A MATCH R DELETE"),
        (("MATCH (n:A) WHERE EXISTS { (n)-[:R]->(:B) WHERE n:C } RETURN COUNT { MATCH (n)--(:D) } AS set, "
         "collect { MATCH (x:E) RETURN x }"),
         "MATCH A R B C MATCH D MATCH E"),
        ("MATCH (a:A) RETURN a UNION ALL MATCH (b:B) RETURN b UNION MATCH (b:B) RETURN b", "MATCH A MATCH B"),
        ("LOAD CSV WITH HEADERS FROM $url AS create MERGE (p:P {id: create.id})", "LOAD CSV MERGE P"),
        ("USE shop.graph('match') MATCH (n:A) RETURN n", "MATCH A"),
        ("USE graph.byName($match) MATCH (n:A) RETURN n", "MATCH A"),
        ("MATCH (n) FOREACH (x IN [1, 2] | SET n:Done MERGE (:Seen))", "MATCH FOREACH SET Done MERGE Seen"),
        ("WITH 1 AS set, 2 AS delete RETURN set, delete, {match: set} ORDER BY set", "RETURN"),
        ("MATCH (set:A)-->(create) WHERE set.remove = create.merge AND NOT delete RETURN merge", "MATCH A"),
        ("RETURN CASE WHEN n THEN merge ELSE create END, x.`y: Z`", "RETURN"),
        ("LOAD CSV FROM 'https://u:p@host/x' AS line CREATE (:Row)", "LOAD CSV CREATE Row"),
        ("PROFILE MATCH (n:`Two Words`) RETURN n", "PROFILE MATCH `Two Words`"),
        ("MATCH (n:Stadt_ß) RETURN n.größe", "MATCH Stadt_ß"),
        ("WITH 1 AS x RETURN x :: INTEGER", "RETURN"),
        ("/* MATCH (s:Secret) */ return 1", "RETURN"),
        ("a secret without any Cypher", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_summary(query: str, summary: str) -> None:
    """The summary is the clauses and the labels and relationship types they are on, as written."""
    assert describe(query).summary == summary


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("RETURN [0.1, -0.2, 3e-5], [ 'a' ], [1..2], xs[0]", "RETURN [?], [?], [?..?], xs[?]"),
        ("RETURN [-1, 2], [$a, $b], [null, 'x'], [a, 1]", "RETURN [?], [$a], [null], [a, ?]"),
        ("RETURN [[1, 2], [3, 4]], [[1], x]", "RETURN [[?]], [[?], x]"),
        ("UNWIND [{id1: 1, name: 'x'}, {id1: 2, name: 'y'}] AS row", "UNWIND [{id1: ?, name: ?}] AS row"),
        ("RETURN [1, /* one */ 2]", "RETURN [?]"),
    ],
)
def test_of_several_values_one_is_shown(query: str, text: str) -> None:
    """Of a list of values the first one stays."""
    assert describe(query).text == text


@pytest.mark.parametrize(
    "item",
    ["-0.12345678", "'secret'", "$p", "[1, 2]", "{a: 1, b: 'x'}"],
)
def test_a_statement_has_one_text_wherever_it_is_cut(item: str) -> None:
    """Of a statement that is cut within a list, nothing is left of the value that is cut."""
    query = "[" + ", ".join([item] * MAX_TEXT)
    texts = {describe(f"RETURN {' ' * more}{query}").text for more in range(40)}
    assert texts == {describe(f"RETURN [{item}]").text}


def test_summary_is_bounded() -> None:
    """A summary never exceeds 255 characters and is cut between its parts."""
    summary = describe(" ".join(f"MATCH (n{n}:Label{n})" for n in range(200))).summary
    assert 230 < len(summary) <= 255
    assert summary.split()[-1] in {"MATCH", *(f"Label{n}" for n in range(200))}


def test_text_is_bounded() -> None:
    """Of a statement too long, the beginning is recorded, and a literal cut in two stays hidden."""
    statement = describe(f"RETURN {'x + ' * 3000}1")
    assert (len(statement.text), statement.truncated) == (MAX_TEXT, True)
    assert describe("RETURN '" + "secret " * 3000 + "'").text == "RETURN ?"


@pytest.mark.parametrize("quote", [r"\u0027", r"\uu0027"])
def test_disguised_quotes(quote: str) -> None:
    """Where quotes may be escape sequences, as Neo4j 5 has them, nothing is said at all."""
    assert describe(f"RETURN 'a{quote} + \"b\" + 'secret{quote}") == ("", "", False)


@pytest.mark.parametrize(
    "query",
    [
        "'",
        "/*",
        "`",
        "[?",
        "[1,",
        "\\",
        ":",
        "a.",
        ":a|",
        "1e",
        "(",
        "ON ",
        "SHOW x y z ",
        " ",
        "CALL ",
        "\\'",
        "DETACH ",
        "[[1,",
        "[1],",
        "[{a:1,",
        "{a:1},",
        "[-",
        "CALL (",
        "COUNT(a ",
        "COUNT {",
        ":(A|",
        ":A|:",
        "[$a,",
        "['",
    ],
)
def test_linear_time(query: str) -> None:
    """Four times as long a text takes some four times as long, not sixteen times: no pattern backtracks."""

    def seconds(length: int) -> float:
        return cost(describe, "RETURN " + query * (length // len(query)))

    assert seconds(MAX_TEXT) < 10 * seconds(MAX_TEXT // 4) + 0.002
