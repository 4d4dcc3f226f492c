"""The summaries of SQL statements: what they do, and to what."""

from __future__ import annotations

import functools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causal_otel.statements._statement import MAX_SUMMARY, summary_of
from causal_otel.statements.sql import MAX_TEXT, MYSQL, POSTGRESQL, describe
from tests.statements.cost import cost
from tests.statements.sql_grammar import Generated, statements


@pytest.mark.parametrize(
    ("query", "summary"),
    [
        ("SELECT * FROM jobs WHERE x = 1 FOR UPDATE SKIP LOCKED", "SELECT jobs"),
        ("SELECT * FROM jobs j, runs FOR NO KEY UPDATE OF j, runs NOWAIT", "SELECT jobs runs"),
        ("SELECT a FROM jobs FOR SHARE", "SELECT jobs"),
        ("SELECT a FROM jobs FOR KEY SHARE OF jobs", "SELECT jobs"),
        (("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a, b = t.b + 1 WHERE t.c < 3 "
         "RETURNING a"),
         "INSERT t"),
        ("INSERT INTO t SELECT a, b FROM u ON CONFLICT ON CONSTRAINT k DO UPDATE SET a = 1, b = 2",
         "INSERT t SELECT u"),
        ("INSERT INTO t AS x (a, b) OVERRIDING USER VALUE (SELECT c FROM u)", "INSERT t SELECT u"),
        ("INSERT INTO t DEFAULT VALUES", "INSERT t"),
        (("MERGE INTO stock s USING (SELECT * FROM moves) AS m ON s.id = m.id WHEN MATCHED AND m.n < 0 THEN UPDATE "
         "SET n = s.n + m.n, b = 1 WHEN NOT MATCHED THEN INSERT (id, n) VALUES (m.id, m.n) WHEN MATCHED THEN DELETE"),
         "MERGE stock SELECT moves"),
        ("MERGE INTO ONLY target t USING source ON t.a = source.a WHEN MATCHED THEN DO NOTHING", "MERGE target source"),
        ("SELECT a IS DISTINCT FROM b, c FROM t WHERE d IS NOT DISTINCT FROM e", "SELECT t"),
        ("SELECT a FROM t JOIN u ON t.a IS DISTINCT FROM u.a, v", "SELECT t u v"),
        ("SELECT * FROM songs, artists WHERE songs.artist_id = artists.id", "SELECT songs artists"),
        ("SELECT * FROM songs AS s (a, b) LEFT JOIN (artists a CROSS JOIN labels) USING (id, x), ONLY (discs) d",
         "SELECT songs artists labels discs"),
        ("DROP TABLE IF EXISTS a, s.b CASCADE", "DROP TABLE a s.b"),
        ("TRUNCATE TABLE ONLY a, b RESTART IDENTITY", "TRUNCATE a b"),
        ("DROP FUNCTION f(int, text), g(a integer)", "DROP FUNCTION f g"),
        ("DROP TRIGGER IF EXISTS trg ON t CASCADE", "DROP TRIGGER trg t"),
        (("CREATE OR REPLACE TRIGGER trg AFTER INSERT OR UPDATE OF a, b ON s.t REFERENCING OLD TABLE AS o FOR EACH "
         "ROW EXECUTE FUNCTION f()"),
         "CREATE TRIGGER trg s.t"),
        ("CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()", "CREATE EVENT TRIGGER e"),
        ("CREATE USER ann PASSWORD 'x'", "CREATE USER"),
        ("CREATE USER MAPPING FOR ann SERVER s", "CREATE USER MAPPING"),
        ("ALTER ROLE ann SET search_path = a", "ALTER ROLE"),
        ("CREATE POLICY p ON docs FOR SELECT TO ann USING (owner = current_user)", "CREATE POLICY p docs"),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS v (a, b) AS SELECT c, d FROM t, u WITH NO DATA",
         "CREATE MATERIALIZED VIEW v SELECT t u"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "REFRESH MATERIALIZED VIEW v"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY t USING gin (x, lower(y)) WHERE z", "CREATE INDEX i t"),
        ("CREATE INDEX ON t (x)", "CREATE INDEX t"),
        (("CREATE OR REPLACE FUNCTION s.f(a int) RETURNS TABLE (b int) LANGUAGE sql BEGIN ATOMIC SELECT a FROM t; "
         "DELETE FROM u; END"),
         "CREATE FUNCTION s.f"),
        ("CREATE FUNCTION f() RETURNS void AS $$ DELETE FROM t; $$ LANGUAGE sql; DROP TABLE u",
         "CREATE FUNCTION f DROP TABLE u"),
        ("CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (1)", "CREATE RULE r t"),
        ("CREATE TEMP TABLE x ON COMMIT DROP AS SELECT a FROM t", "CREATE TABLE x SELECT t"),
        ("CREATE TABLE p PARTITION OF t FOR VALUES FROM (1) TO (2)", "CREATE TABLE p"),
        ("CREATE SCHEMA AUTHORIZATION ann", "CREATE SCHEMA"),
        ('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"', 'CREATE EXTENSION "uuid-ossp"'),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO ann", "ALTER"),
        ("ALTER TABLE t ADD COLUMN a int, DROP COLUMN b", "ALTER TABLE t"),
        ("GRANT SELECT, UPDATE ON t TO ann", "GRANT"),
        ("COMMENT ON COLUMN t.a IS 'x'", "COMMENT"),
        (("WITH a AS (SELECT * FROM t), b (x, y) AS NOT MATERIALIZED (DELETE FROM u RETURNING *) SELECT * FROM a "
         "JOIN b ON true, c"),
         "SELECT t DELETE u SELECT c"),
        ("WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r", "SELECT"),
        (("WITH RECURSIVE r AS (SELECT a FROM t UNION SELECT b FROM u JOIN r ON true) SEARCH DEPTH FIRST BY a, b SET "
         "o CYCLE a SET c USING p SELECT * FROM r, v"),
         "SELECT t SELECT u SELECT v"),
        ("WITH orders AS (SELECT * FROM orders WHERE x) SELECT * FROM orders", "SELECT orders SELECT"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "SELECT INSERT t SELECT"),
        ("WITH a AS (SELECT 1) UPDATE t SET x = a.x FROM a, u", "SELECT UPDATE t u"),
        ("SELECT * FROM t, LATERAL (SELECT a FROM u WHERE u.b = t.b) x, LATERAL f(t.c) AS y", "SELECT t SELECT u f"),
        (("SELECT extract(epoch FROM a), substring(b FROM 2 FOR 3), trim(BOTH ' ' FROM c), trim((d) FROM e), "
         "overlay(f PLACING g FROM 1), position(h IN i) FROM t"),
         "SELECT t"),
        ("SELECT 1 FROM ROWS FROM (f(1), g(2)) AS x, t", "SELECT f g t"),
        ('SELECT * FROM "My Schema"."T 1" x, s . t', 'SELECT "My Schema"."T 1" s.t'),
        ("SELECT create_hypertable('metrics', 'time', chunk_time_interval => INTERVAL '1 day')",
         "SELECT create_hypertable"),
        ("SELECT time_bucket('5 minutes', time) AS b, avg(x) FROM metrics GROUP BY b", "SELECT metrics"),
        ("SELECT * FROM cron.schedule('a', 'b'), generate_series(1, 3)", "SELECT cron.schedule generate_series"),
        ("SELECT cron.schedule('a', 'b')", "SELECT cron.schedule"),
        ("SELECT now()", "SELECT now"),
        ("SELECT f((SELECT a FROM t))", "SELECT f SELECT t"),
        ("SELECT DISTINCT ON (a) a, b FROM t", "SELECT t"),
        ("SELECT count(*) FROM t", "SELECT t"),
        ("SELECT exists(SELECT 1 FROM t)", "SELECT SELECT t"),
        ("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM t", "EXPLAIN SELECT t"),
        ("EXPLAIN ANALYZE VERBOSE UPDATE t SET a = 1", "EXPLAIN UPDATE t"),
        ("LISTEN jobs", "LISTEN"),
        ("NOTIFY jobs, 'x'", "NOTIFY"),
        ("UNLISTEN *", "UNLISTEN"),
        ("SET LOCAL app.user_id = 'x'", "SET"),
        ("SHOW search_path", "SHOW"),
        ("RESET ALL", "RESET"),
        ("COPY s.t (a, b) FROM STDIN WITH (FORMAT csv)", "COPY s.t"),
        ("COPY (SELECT a FROM t) TO STDOUT", "COPY SELECT t"),
        ("CALL s.p(1, $1)", "CALL s.p"),
        ("DO $$ BEGIN DELETE FROM t; END $$", "DO"),
        ("DECLARE c_123 BINARY CURSOR WITH HOLD FOR SELECT * FROM t FOR UPDATE", "DECLARE SELECT t"),
        ("FETCH FORWARD 10 FROM c_123", "FETCH"),
        ("CLOSE c_123", "CLOSE"),
        ("PREPARE p_123 (int) AS SELECT * FROM t WHERE a = $1", "PREPARE SELECT t"),
        ("EXECUTE p_123(1)", "EXECUTE"),
        ("DEALLOCATE p_123", "DEALLOCATE"),
        ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
        ("VACUUM (FULL, ANALYZE) t, u (a, b)", "VACUUM t u"),
        ("VACUUM FULL VERBOSE", "VACUUM"),
        ("ANALYZE VERBOSE t (a, b), u", "ANALYZE t u"),
        ("CLUSTER t USING i", "CLUSTER t"),
        ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", "REINDEX TABLE t"),
        ("LOCK TABLE a, b IN ACCESS EXCLUSIVE MODE", "LOCK a b"),
        ("SAVEPOINT sa_1", "SAVEPOINT"),
        ("ROLLBACK TO SAVEPOINT sa_1", "ROLLBACK TO"),
        ("RELEASE SAVEPOINT sa_1", "RELEASE SAVEPOINT"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"),
        ("ROLLBACK WORK TO x", "ROLLBACK TO"),
        ("START TRANSACTION READ ONLY", "START TRANSACTION"),
        ("SELECT a INTO TEMP new FROM t", "SELECT new t"),
        ("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", "SELECT"),
        ("(SELECT a FROM t) UNION (SELECT b FROM u) ORDER BY 1, c", "SELECT t SELECT u"),
        ("SELECT a FROM ((SELECT a FROM t) EXCEPT (SELECT b FROM u)) x, v", "SELECT SELECT t SELECT u v"),
        ("SELECT a, (SELECT max(b) FROM u) FROM t WHERE c IN (SELECT d FROM v) ORDER BY e, f LIMIT 5",
         "SELECT SELECT u t SELECT v"),
        ('SELECT a AS from, b AS "select", c AS update FROM t AS where', "SELECT t"),
        ("DELETE FROM ONLY t x USING u, v WHERE x.a = u.a", "DELETE t u v"),
        ("UPDATE ONLY t AS x SET a = 1, b = (SELECT c FROM u) FROM v JOIN w ON true WHERE x.a = 1",
         "UPDATE t SELECT u v w"),
        ("INSERT INTO a VALUES (1); INSERT INTO a VALUES (2); DELETE FROM b", "INSERT a DELETE b"),
        ("TABLE t", "TABLE t"),
        ("VALUES (1), (2)", "VALUES"),
        ("INSERT INTO t TABLE u", "INSERT t TABLE u"),
        ("a secret that is no SQL", ""),
        ("42", ""),
        ("", ""),
        ("SELECT * FROM $1", "SELECT"),
        ("SELECT a FROM t WHERE b = %(select)s AND c = :from", "SELECT t"),
        ("SELECT a FROM t JOIN u ON a = ARRAY[b, c], v TABLESAMPLE system (1), w WITH ORDINALITY", "SELECT t u v w"),
    ],
)  # fmt: skip
def test_postgresql(query: str, summary: str) -> None:
    """Operations in capitals with the objects they work on, as written; nothing else of the statement."""
    assert describe(query, POSTGRESQL).summary == summary


@pytest.mark.parametrize(
    ("query", "summary"),
    [
        ("INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a), b = 1", "INSERT t"),
        ("INSERT INTO t SELECT a FROM u ON DUPLICATE KEY UPDATE a = 1, b = 2", "INSERT t SELECT u"),
        ("INSERT t SET a = 1, b = 2", "INSERT t"),
        ("UPDATE a, b SET a.x = b.x, a.y = 1", "UPDATE a b"),
        ("UPDATE a JOIN b ON a.x = b.x SET y = 1", "UPDATE a b"),
        ("DELETE a, b FROM a JOIN b USING (x, y) WHERE z", "DELETE a b"),
        ("DELETE FROM a USING a JOIN b USING (x)", "DELETE a b"),
        ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t FIELDS TERMINATED BY ','", "LOAD t"),
        ("CREATE DEFINER=`root`@`localhost` PROCEDURE p() BEGIN SELECT 1; DELETE FROM t; END", "CREATE PROCEDURE p"),
        ("CREATE ALGORITHM = MERGE DEFINER = root@'%' SQL SECURITY INVOKER VIEW v AS SELECT a FROM t",
         "CREATE VIEW v SELECT t"),
        ("EXPLAIN FORMAT=JSON SELECT a FROM t", "EXPLAIN SELECT t"),
        ("SELECT SQL_NO_CACHE a FROM t LOCK IN SHARE MODE", "SELECT t"),
        ("SHOW TABLES FROM db", "SHOW"),
        ("USE `shop`", "USE `shop`"),
        ("SELECT a INTO OUTFILE 'x' FROM t", "SELECT t"),
        ("DROP INDEX i ON t", "DROP INDEX i t"),
        ("LOCK TABLES a AS x READ, b WRITE", "LOCK a b"),
    ],
)  # fmt: skip
def test_mysql(query: str, summary: str) -> None:
    """The same for what MySQL says in its own way."""
    assert describe(query, MYSQL).summary == summary


def _names_only_operations_and_targets(generated: Generated, part: float) -> None:
    """Assert it of a statement, and of one that is cut where ``part`` of it is read, also within a word."""
    text, clauses = generated
    assert describe(text, POSTGRESQL).summary == summary_of(clauses), text
    cut = int(part * len(text))
    statement = describe(" " * (MAX_TEXT - cut) + text + " ", POSTGRESQL)
    known = {word for clause in clauses for word in " ".join(clause).split()} | {"s"}  # of `s . t4`
    assert {*statement.summary.split()} <= known, text[:cut]
    assert statement.truncated


_SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(generated=statements(), part=st.floats(0, 1))
@settings(_SETTINGS, derandomize=True)
def test_a_summary_has_nothing_but_operations_and_targets(generated: Generated, part: float) -> None:
    """Whatever a statement is made of, its summary is its operations with their targets in order."""
    _names_only_operations_and_targets(generated, part)


@pytest.mark.long
@given(generated=statements(), part=st.floats(0, 1))
@settings(_SETTINGS, max_examples=2000)
def test_a_summary_of_many_statements(generated: Generated, part: float) -> None:
    """The same of other statements each time."""
    _names_only_operations_and_targets(generated, part)


def test_a_summary_is_bounded_and_has_no_repetitions() -> None:
    """However many equal parts a program puts into a statement, the summary has them once, within 255 characters."""
    unions = " UNION ALL ".join(["SELECT a FROM t JOIN t x ON true"] * 50)
    assert describe(unions, POSTGRESQL).summary == "SELECT t"
    summary = describe(
        "SELECT * FROM t0 " + " ".join(f"JOIN table_{n} ON true" for n in range(100)), POSTGRESQL
    ).summary
    assert MAX_SUMMARY - 10 < len(summary) <= MAX_SUMMARY
    assert summary.rpartition(" ")[2] in {f"table_{n}" for n in range(100)}


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "(",
            "[",
            ")",
            "(SELECT ",
            "FROM a,",
            "a.",
            "WITH a AS (",
            "WITH a AS (SELECT 1),",
            "FROM (",
            "SELECT f(",
            ";",
        ),
        *(
            "UNION ",
            "JOIN ",
            "VALUES (",
            "VALUES (1),(",
            "IN (1,",
            "IN (",
            "[1,",
            "[[1],",
            "(1),",
            "-1,",
            "::int,",
            "$1,",
        ),
        *("%(a", ":a,", "CREATE ", "EXPLAIN ", "ROWS FROM ", "IN ((1,1),", "VALUES (f(1)),"),
    ],
)
def test_linear_time(piece: str) -> None:
    """No text, however hostile, takes longer than in proportion to its length."""
    in_dialect = functools.partial(describe, dialect=POSTGRESQL)
    quarter, whole = (piece * (length // len(piece)) for length in (MAX_TEXT // 4, MAX_TEXT))
    assert cost(in_dialect, f"SELECT {whole}") < 10 * max(cost(in_dialect, f"SELECT {quarter}"), 1e-4)
