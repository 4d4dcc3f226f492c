"""The redaction policy: what each rule takes out, what it leaves, and what it costs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from causal_otel._internal import faults
from causal_otel._internal.secrets import RULES, Rule
from causal_otel.export.privacy import Policy, mark

JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"
CARD = "4111111111111111"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADAN\n-----END RSA PRIVATE KEY-----"

TEXTS = [
    ("postgresql://app:s3cret@db:5432/shop", "postgresql://app:[redacted:url]@db:5432/shop"),
    ("postgresql://app:s3c@ret@db/shop", "postgresql://app:[redacted:url]@db/shop"),
    ("postgresql://app:s3c/ret@db/shop", "postgresql://app:[redacted:url]@db/shop"),
    ("redis://:s3cret@cache:6379/0", "redis://:[redacted:url]@cache:6379/0"),
    ("amqp://a:b@one;amqp://c:d@two", "amqp://a:[redacted:url]@one;amqp://c:[redacted:url]@two"),
    ("app:s3cret@tcp(db:3306)/shop", "app:[redacted:url]@tcp(db:3306)/shop"),
    ("https://s3cret@sentry.example/7", "https://[redacted:url]@sentry.example/7"),
    ("host=db password=s3cret dbname=x", "host=db password=[redacted:pair] dbname=x"),
    ("host=db password='s3 c''ret' dbname=x", "host=db password='[redacted:pair]' dbname=x"),
    ("Server=db;Uid=app;Pwd=s3cret;", "Server=db;Uid=app;Pwd=[redacted:pair];"),
    ('{"user": "ann", "apiKey": "s3\\"cret"}', '{"user": "ann", "apiKey": "[redacted:pair]"}'),
    ("{'client_secret': 's3cret', 'n': 1}", "{'client_secret': '[redacted:pair]', 'n': 1}"),
    (r"{\"password\": \"s3cret\", \"n\": 1}", r"{\"password\": \"[redacted:pair]\", \"n\": 1}"),
    ("[(b'x-api-key', b's3cret'), (b'a', b'b')]", "[(b'x-api-key', b'[redacted:pair]'), (b'a', b'b')]"),
    ("GET /cb?code=1&access_token=s3cret&b=2", "GET /cb?code=1&access_token=[redacted:pair]&b=2"),
    ("/file?X-Amz-Signature=s3cret&key=k1", "/file?X-Amz-Signature=[redacted:pair]&key=[redacted:pair]"),
    ("/in?next=%2Fcb%3Ftoken%3Ds3cret", "/in?next=%2Fcb%3Ftoken%3D[redacted:pair]"),
    ("/reset/{token:s3cret}", "/reset/{token:[redacted:pair]}"),
    ("/reset/token:path", "/reset/token:[redacted:pair]"),
    ("backup --password s3cret --verbose", "backup --password [redacted:pair] --verbose"),
    ("backup --password=s3cret --verbose", "backup --password=[redacted:pair] --verbose"),
    ("Cookie: sid=s3cret; theme=dark\r\nAccept: */*", "Cookie: [redacted:pair]\r\nAccept: */*"),
    ('Authorization: Digest username="ann", response="s3cret"', "Authorization: [redacted:pair]"),
    ("sent Bearer s3cret-s3cret", "sent Bearer [redacted:bearer]"),
    ("sent Basic YW5uOnMzY3JldA==", "sent Basic [redacted:bearer]"),
    (f"got {JWT} from", "got [redacted:jwt] from"),
    (f"q=Token%20{JWT}", "q=Token%20[redacted:jwt]"),
    ("denied: AKIAIOSFODNN7EXAMPLE", "denied: [redacted:aws]"),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[redacted:vendor]"),
    ("xoxb-0123456789-abcdef in a hook", "[redacted:vendor] in a hook"),
    (f"card {CARD}", "card [redacted:card]"),
    ("card 4111 1111 1111 1111 12/27", "card [redacted:card] 12/27"),
    ("card=4111-1111-1111-1111", "card=[redacted:card]"),
    ("/pay/3782-822463-10005", "/pay/[redacted:card]"),
    ("/pay?number=4111%201111%201111%201111", "/pay?number=[redacted:card]"),
    (f"{PEM}, loaded", "[redacted:private-key], loaded"),
    (PEM[:40], "[redacted:private-key]"),
    (
        "duplicate key\nDETAIL:  Key (email, n)=(ann) bell, 7) already exists.",
        "duplicate key\nDETAIL:  Key (email, n)=([redacted:database]) already exists.",
    ),
    (
        "DETAIL:  Failing row contains (7, ann).\nHINT: none",
        "DETAIL:  Failing row contains ([redacted:database]\nHINT: none",
    ),
    ('invalid input syntax for type integer: "s3cret"', 'invalid input syntax for type integer: "[redacted:database]'),
    (
        "Invalid input ')' (line 1, column 9 (offset: 8))\n\"RETURN f('s3cret'\"\n  ^",
        "Invalid input ')' (line 1, column 9 (offset: 8))\n[redacted:database]\n  ^",
    ),
    ('unterminated string at or near "\'s3cret"', 'unterminated string at or near "[redacted:database]'),
    ("label `P` and property `email` = 'ann'", "label `P` and property `email` = '[redacted:database]"),
    # JSON and GraphQL in the query of a URL
    ("/x?v=%7B%22password%22%3A+%22s3cret%22%7D&page=2", "/x?v=%7B%22password%22%3A[redacted:pair]&page=2"),
    ("/x?query=%7Blogin%28pw%3A%22s3cret%22%29%7D", "/x?query=%7Blogin%28pw%3A[redacted:pair]"),
    ("/x?v=%7B%22number%22%3A%224111111111111111%22%7D", "/x?v=%7B%22number%22%3A%22[redacted:card]%22%7D"),
]

ORDINARY = [
    "41111111-1111-4111-8111-111111111111",
    "",
    "GET",
    "SELECT orders",
    "SELECT * FROM users WHERE password = $1 AND token = ?",
    "MATCH (u:User {password: $password, pin: ?}) RETURN u",
    "password=",
    "token: null",
    "http://127.0.0.1:8080/path@x?page=2",
    "https://REDACTED:REDACTED@host/?token=REDACTED",
    "max_tokens=5, token_type=x",
    "KeyError: 'password'",
    "password authentication failed for user 'app'",
    "basic information about it",
    "GET /reset/{token:path}",
    "/users/{auth:uuid}/{token:str}",
    "ann@shop.example",
    "3f2a9c1e-7b4d-4e8a-9f10-446655440000",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "1763856000000000000",
    "4111111111111112",
    "0.4111111111111111",
    "2026-11-23T00:35:00+00:00",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "eyJ is how these begin, and AKIA those",
    "=:@,--",
    "/x?tags=%7B%22retry%22%3A%22true%22%2C%22token_count%22%3A%227%22%7D",
]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.examples], ids=lambda rule: rule.name)
def test_examples(rule: Rule) -> None:
    """What the docs show of a rule is what it does, it alone."""
    policy = Policy([rule.name])
    for example in rule.examples:
        assert mark(rule.name) in policy.text(example)
    assert policy.counts() == {rule.name: len(rule.examples)}


@pytest.mark.parametrize(("text", "shown"), TEXTS)
def test_text(text: str, shown: str) -> None:
    """A secret goes, what stands around it stays, and what has been redacted stays as it is."""
    policy = Policy()
    assert policy.text(text) == shown
    assert policy.text(shown) is shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text(text: str) -> None:
    """A text without a secret comes back itself, and counts nothing."""
    policy = Policy()
    assert policy.text(text) is text
    assert policy.value("note", text) is text
    assert policy.counts() == {}


@pytest.mark.parametrize(
    ("number", "hidden"),
    [
        (4111111111111111, True),
        (4222222222222, True),
        (378282246310005, True),
        (30569309025904, True),
        (6011111111111117, True),
        (5555555555554444, True),
        (2223003122003222, True),
        (3530111333300000, True),
        (4111111111111112, False),
        (1763856000000000000, False),  # a time in nanoseconds
        (1111111111111117, False),
        (411111111111111, False),
        (-4111111111111111, False),
        (10**30, False),
    ],
)
def test_card(number: int, hidden: bool) -> None:
    """A card's number has the digits of a network and a right check digit, as a number as well as in a text."""
    assert (Policy().value("n", number) != number) is hidden
    assert (mark("card") in Policy().text(f"n {number}, ok")) is (hidden or number < 0)


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("password", True),
        ("db.user.Password2", True),
        ("http.request.header.authorization", True),
        ("http.request.header.set-cookie", True),
        ("http.request.header.x-api-key", True),
        ("aws.SecretAccessKey", True),
        ("csrfToken", True),
        ("db.user", False),
        ("gen_ai.usage.input_tokens", False),
        ("author", False),
        ("compass", False),
        ("messaging.kafka.message.key", False),
        ("session.id", False),
    ],
)
def test_key(key: str, hidden: bool) -> None:
    """A key with a word for secrets at its end hides whatever the value is, but for true, false and nothing."""
    policy = Policy()
    for value in ("hunter2", 5, 1.5, ["a"], {"a": 1}):
        assert policy.value(key, value) == (mark("key") if hidden else value)
    for said in (True, None, "", "?"):
        assert policy.value(key, said) is said


def test_nested_values() -> None:
    """Lists, mappings and bytes are looked into, and what holds no secret is the very same object."""
    policy = Policy()
    value = {"a": [{"api-key": "x", "n": 1}, "password=x"], "b": b"token=x"}
    assert policy.value("k", value) == {
        "a": ({"api-key": "[redacted:key]", "n": 1}, "password=[redacted:pair]"),
        "b": b"token=[redacted:pair]",
    }
    assert value == {"a": [{"api-key": "x", "n": 1}, "password=x"], "b": b"token=x"}
    assert policy.value("process.command_args", ("run", "--token", "x", "y")) == ("run", "--token", mark("pair"), "y")
    same = {"a": [{"n": 1}, "text"], "b": (b"bytes", None, 1.5)}
    assert policy.value("k", same) is same


class _Quoting:
    def __str__(self) -> str:
        return "api_key=hunter2"


class _Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_other_objects() -> None:
    """An object is told by its text; where that fails, or values stand too deep in each other, all of it is hidden."""
    policy = Policy()
    assert policy.value("k", _Quoting()) == "api_key=[redacted:pair]"
    before = faults.counts().get("privacy", 0)
    assert policy.value("k", _Broken()) == mark("fault")
    deep: list[Any] = []
    deep.append(deep)
    assert policy.value("k", deep) == mark("fault")
    assert policy.counts() == {"pair": 1, "fault": 2}
    assert faults.counts()["privacy"] == before + 2


def test_switches() -> None:
    """Rules can be left out, chosen, or all switched off."""
    text = f"password=x {CARD} {JWT}"
    assert Policy(["none"]).text(text) is text
    assert Policy(["none"]).value("password", "x") == "x"
    assert Policy(["-pair", "-key"]).text(text) == "password=x [redacted:card] [redacted:jwt]"
    assert Policy(["-pair", "-key"]).value("password", "x") == "x"
    assert Policy(["pair"]).text(text) == f"password=[redacted:pair] {CARD} {JWT}"
    for bad in (["cards"], ["card", "-jwt"], [], ["all", "card"]):
        with pytest.raises(ValueError):
            Policy(bad)


def test_own_rules() -> None:
    """Words and patterns of the user's count as the built-in ones do; a pattern that is none is refused."""
    policy = Policy(keys=["iban", "customer.name"], patterns=[r"EMP\d{6}", "x{3}"])
    assert policy.value("payment.IBAN", "DE02") == mark("key")
    assert policy.value("customer.name", "Ann") == mark("key")
    assert policy.value("product.name", "Pen") == "Pen"
    assert policy.text("i_ban: DE02, EMP123456 xxx") == "i_ban: [redacted:pair], [redacted:pattern] [redacted:pattern]"
    assert policy.counts() == {"key": 2, "pair": 1, "pattern": 2}
    assert Policy(["-pattern"], patterns=["x{3}"]).text("xxx") == "xxx"
    for bad in ("(", "x*", "(?P<a>x)(?P<a>y)"):
        with pytest.raises(ValueError):
            Policy(patterns=[bad])


PIECES = [
    *("eyJ", "eyJa.", "://", "://a:", "a://b:c@", "https://a", "x@", "u:p", "a:b@", "@", "-----BEGIN ", "-----END "),
    *("-----BEGIN PRIVATE KEY-----", "password", "password=", "password='", 'password=\\"', "--password ", "--", "a-"),
    *("basic ", "basic a", "bearer ", "AKIA0000", "ghp_", "sk-", "SG.a", "4", "4111 ", "3111-", "=", ":", "token : "),
    *("'token', ", "\\", "'", '"', "%3D", "cookie: ", "pw=[redacted:", "\n", "é", "a.b-c_"),
    *("Key (a)=(b", "Key (", "row contains (", "args beginning with: ", "invalid input ", 'invalid input x: "a'),
    *("property `", "property `a` = 'b", ") already exists", "at or near \"'", '\n"a', "\n ^", "Invalid input '1"),
    *("[SQL: a\n", "[parameters: ", "\nLINE 1: ", "\n(Background on this error at", "Command # 1 (a"),
    *(") of pipeline", "invalid input for query argument $1", "invalid input for query argument $1: 'a"),
    *('String("', "List{", "Map{a -> ", "Text 'a", "' could not be parsed", "Invalid Regex: a\n", "} {gql_status: "),
    *(
        "error: data exception - a. ",
        "{message: 22000: ",
        "cannot parse 'a",
        "invalid format: ",
        "} {diagnostic_record: ",
        "}\n",
    ),
]
ALL_HINTS = "@:= password 4111 1111 eyj akia private key bearer basic ghp_ sg. sk- -- ? )=( ` = ' [sql: "


@pytest.mark.long
@pytest.mark.parametrize("piece", PIECES)
def test_linear_time(piece: str) -> None:
    """Four times as long a text takes some four times as long, not sixteen times, whatever is repeated in it."""

    def seconds(length: int) -> float:
        text = ALL_HINTS + piece * (length // len(piece))
        taken = []
        for _ in range(3):
            policy = Policy()
            begun = time.thread_time()
            policy.text(text)
            taken.append(time.thread_time() - begun)
        return min(taken)

    assert seconds(40_000) < 10 * seconds(10_000) + 0.002
