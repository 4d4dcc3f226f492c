"""What we have made safe ourselves passes the redaction policy as it is; only a quoted name in it may hold a secret."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import causal_otel
from causal_otel.engine.redaction import Sanitised
from causal_otel.export.attributes import AttributeEncoder
from causal_otel.export.privacy import Policy
from causal_otel.names import DB_QUERY_TEXT
from causal_otel.statements import cypher, sql

SQL = (
    "SELECT u.id FROM sessions s JOIN users u ON s.token = u.token",
    "SELECT id FROM users WHERE password = crypt($1, password)",
    "SELECT id FROM users WHERE email = $1 AND password_hash = $2",
    "UPDATE users SET password = excluded.password WHERE id = $1",
    "UPDATE users SET password=new.password, token=DEFAULT FROM incoming new WHERE new.id = users.id",
    "UPDATE users SET api_key = gen_random_uuid() WHERE id = $1 RETURNING api_key",
    "INSERT INTO tokens (token, user_id) VALUES ($1, $2) ON CONFLICT (token) DO UPDATE SET token = excluded.token",
    "DELETE FROM refresh_tokens r USING access_tokens a WHERE r.access_token = a.access_token AND a.expires < now()",
    "SELECT count(*) FILTER (WHERE auth = mfa.auth) FROM logins",
    "SELECT token::text, secret::bytea FROM vault WHERE secret = ANY($1)",
    "SELECT * FROM a WHERE a.credential = b.credential AND a.cookie=b.cookie",
    "SELECT jwt = lower(jwt) FROM sessions",
    "SELECT auth.uid(), auth.role() WHERE auth.pass=auth.pw",
    "CREATE TABLE users (id int, password text, token text CHECK (token = lower(token)))",
    "ALTER ROLE app PASSWORD 'x' VALID UNTIL 'y'",
    "WITH t AS (SELECT token FROM tokens) SELECT * FROM t WHERE t.token=(SELECT max(token) FROM t)",
    "MERGE INTO keys k USING new n ON k.secret_key = n.secret_key WHEN MATCHED THEN UPDATE SET api_key = n.api_key",
    "SELECT CASE WHEN token = prev_token THEN 1 ELSE 0 END FROM rotations",
    "SELECT extract(epoch FROM expires), bearer bearer_token FROM bearer tokens_of_today",
    "SELECT row_to_json(s) FROM sessions s WHERE s.passcode = upper(s.passcode)",
    "EXECUTE rotate (secret := $1)",
    "SELECT f(password => p.password, token => p.token) FROM people p",
    "SELECT * FROM users WHERE authorization = other.authorization ORDER BY cookie",
    "SET SESSION AUTHORIZATION app",
    "SELECT s.token-s.token, s.auth:text, --token value\n s.pwd = t.pwd FROM s, t",
)
CYPHER = (
    "MATCH (s:Session), (u:User) WHERE s.token = u.token RETURN u",
    "UNWIND $rows AS row MERGE (u:User {email: row.email}) SET u.password = row.hash, u.apiKey=row.key",
    "MATCH (u:User {token: other.token}) RETURN u.password AS secret",
)


def described(text: str) -> sql.Statement:
    """A statement of PostgreSQL's, as the patch describes it."""
    return sql.describe(text, sql.POSTGRESQL)


@pytest.mark.parametrize(
    "text", [described(text).text for text in SQL] + [cypher.describe(text).text for text in CYPHER]
)
def test_statement_is_not_damaged(text: Sanitised) -> None:
    """Columns whose names tell of secrets stay, though they are compared and set; likewise what is encoded."""
    policy = Policy()
    assert policy.value(DB_QUERY_TEXT, text) is text
    encoder = AttributeEncoder(b"\x0a", raw=True, redaction=policy)
    for _ in range(2):  # anew, and from the cache
        assert text.encode() in encoder.encode({DB_QUERY_TEXT: text})[0]
    assert policy.counts() == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('SELECT 1 AS "password=hunter2", token = t.token', 'SELECT ? AS "password=[redacted:pair]", token = t.token'),
        ('FETCH ? FROM "ghp_0123456789abcdefghijABCDEFGH"', 'FETCH ? FROM "[redacted:vendor]"'),
        ("MATCH (n:`token: hunter2`) RETURN n", "MATCH (n:`token: [redacted:pair]`) RETURN n"),
        ("LISTEN ghp_0123456789abcdefghijABCDEFGHIJ012345", "LISTEN [redacted:vendor]"),
    ],
)
def test_names_in_a_statement_may_be_secrets(text: str, shown: str) -> None:
    """Names in quotes are looked at as any text is, names without by what has the form of a secret."""
    describe = cypher.describe if text.startswith("MATCH") else described
    assert Policy().value(DB_QUERY_TEXT, describe(text).text) == shown


def test_patterns_of_the_user_hold_in_statements() -> None:
    """What a pattern of the user's matches goes from a statement as well."""
    policy = Policy(patterns=[r"EMP\d{6}"])
    assert policy.value(DB_QUERY_TEXT, described("SELECT * FROM EMP123456").text) == "SELECT * FROM [redacted:pattern]"


def test_the_same_text_from_elsewhere_is_redacted() -> None:
    """Only what our sanitiser made is spared: the same text given by somebody else is not, in either order."""
    text, policy = "UPDATE t SET password = hunter2", Policy()
    encoder = AttributeEncoder(b"\x0a", raw=True, redaction=policy)
    for _ in range(2):
        assert b"hunter2" not in encoder.encode({"db.statement": text})[0]
        assert b"hunter2" in encoder.encode({DB_QUERY_TEXT: described(text).text})[0]
    assert policy.text(text) == "UPDATE t SET password = [redacted:pair]"


def _sentences() -> Iterator[tuple[str, str]]:
    """Every text of two words or more in the package that is no docstring, with its place.

    Not so in the files whose texts are examples of secrets, or shown in the docs alone.
    """
    root = Path(causal_otel.__file__).parent
    examples = {root / name for name in ("_internal/secrets.py", "settings", "_reference/privacy.py")}
    for path in sorted(root.rglob("*.py")):
        if examples & {path, path.parent}:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                text = node.value
            else:
                continue
            if " " in text:
                yield f"{path.relative_to(root)}:{node.lineno}", text


def test_our_own_sentences_are_not_damaged() -> None:
    """No message of ours, logged here or answered by our collector and logged by who asked it, looks like a secret."""
    sentences = list(_sentences())
    assert len(sentences) > 300
    policy = Policy()
    assert [(place, policy.text(text)) for place, text in sentences if policy.text(text) != text] == []


def test_our_log_messages_are_not_looked_at_but_their_arguments(caplog: pytest.LogCaptureFixture) -> None:
    """The message stays as it is written; a secret in any of its arguments goes, whatever type that has."""
    logger = logging.getLogger("causal_otel.tests.sanitised")
    found = Policy().log_filter()
    logger.addFilter(found)
    try:
        logger.warning("set password: %s, not %d times; %s", ValueError("token=hunter2"), 3, "pwd=hunter2")
        logger.warning("token: %(of)s", {"of": "password=hunter2"})
    finally:
        logger.removeFilter(found)
    assert [record.getMessage() for record in caplog.records] == [
        "set password: token=[redacted:pair], not 3 times; pwd=[redacted:pair]",
        "token: password=[redacted:pair]",
    ]
