"""What a secret looks like: the names that tell of one, and the rules by which values are redacted.

This is data only. :class:`causal_otel.export.privacy.Policy` works by it, the settings offer its names, and
``docs/reference/privacy.md`` is written from it. The patches take out secret parameters of URLs by the same names.

Patterns take linear time: what repeats without a bound either cannot fail once it has begun, or stops at a sign that
no match can begin before. They are tried on the few texts only that hold one of their hints.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "ENDINGS",
    "EXACT",
    "KEY",
    "PAIR",
    "PARAMETERS",
    "PATTERN",
    "RULES",
    "Rule",
    "compiled",
    "enabled_rules",
    "hide_credentials",
    "is_secret",
    "is_secret_parameter",
    "plain",
]

# -- names --------------------------------------------------------------------------------------------------------

# As plain() leaves them: lower case, without "-" and "_".
EXACT = frozenset({"auth", "cvc", "cvv", "pass", "pw"})
ENDINGS = (
    "accesskey", "accesskeyid", "accountkey", "apikey", "apikeys", "authkey", "authorization", "bearer", "cookie",
    "cookies", "credential", "credentials", "encryptionkey", "jwt", "masterkey", "passcode", "passphrase", "passwd",
    "password", "passwordhash", "passwords", "privatekey", "pwd", "secret", "secretkey", "secrets", "sharedkey",
    "signingkey", "token",
)  # fmt: skip

# Of a URL's query only; anywhere else these are ordinary words. Semantic conventions for HTTP list
# X-Amz-Signature, X-Amz-Credential, X-Amz-Security-Token, AWSAccessKeyId, Signature, sig and X-Goog-Signature.
PARAMETERS = frozenset({"key", "session", "sessionid", "sid", "sig"})


def plain(name: str) -> str:
    """``name`` as it is compared: however it is spelled, ``api_key``, ``apiKey`` and ``API-Key`` are one."""
    return name.lower().replace("-", "").replace("_", "").rstrip("0123456789")


def is_secret(name: str) -> bool:
    """Whether the last part of a dotted name says that its value is secret."""
    last = plain(name).rpartition(".")[2]
    return last in EXACT or last.endswith(ENDINGS)


def is_secret_parameter(name: str) -> bool:
    """The same of a parameter in a URL's query."""
    word = plain(name)
    return is_secret(name) or word in PARAMETERS or word.endswith("signature")


# -- values -------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """One kind of secret.

    Args:
        name: what the settings, ``status()`` and the mark in its place call it.
        what: one line for people.
        examples: texts that hold one, for the page in the docs.
        hints: one of these is in a text, in lower case, that the pattern can match; none: it may be any.
        pattern: a regular expression; what a group of it matches goes, or all of it where it has none.
        check: looks closer at a match; False: it may stay.
        by_words: whether it goes by words, which in a statement without literals are names of columns and tables.
    """

    name: str
    what: str
    examples: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    pattern: str = ""
    check: Callable[[re.Match[str]], bool] | None = None
    by_words: bool = False


def _is_credentials(match: re.Match[str]) -> bool:
    """After ``Basic``, whether it is a user and a password as HTTP sends them, and not some word."""
    encoded = match["basic"]
    if encoded is None:
        return True
    try:
        return b":" in base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        return False


_BRANDS = (  # first digits, numbers of digits (ISO/IEC 7812, as the networks use it)
    (("4",), (13, 16, 19)),
    (("51", "52", "53", "54", "55", "22", "23", "24", "25", "26", "27"), (16,)),
    (("34", "37"), (15,)),
    (("30", "36", "38", "39"), (14, 16)),
    (("35", "60", "62", "64", "65"), (16, 17, 18, 19)),
)


def _is_card(match: re.Match[str]) -> bool:
    """Whether the digits are the number of a card: those of a network, with a right check digit (Luhn)."""
    digits = "".join(filter(str.isdigit, match[0].replace("%20", "")))
    if not any(len(digits) in lengths and digits.startswith(first) for first, lengths in _BRANDS):
        return False
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(digit), 10)) for digit in even)) % 10 == 0


_GAP = r"(?:[ +-]|%20)"
_SPACE = r"(?: {1,8}|\+|%20)"

KEY = Rule(
    "key",
    "the whole value of an attribute whose key ends in a word for secrets, such as `password`, `token`, `api_key`, "
    "`authorization` or `cookie`, in any spelling; true, false and none stay",
)
PAIR = Rule(
    "pair",
    "the value after such a name in a text: DSNs, queries of URLs, JSON, headers, command lines",
    (
        "host=db user=app password=hunter2 sslmode=require",
        'rejected: {"user": "ann", "api_key": "k-123"}',
        "https://shop.example/cb?page=2&access_token=abc",
    ),
    # One of these is in every name that tells of a secret.
    (
        "pass",
        "pw",
        "secret",
        "token",
        "key",
        "cred",
        "auth",
        "cookie",
        "jwt",
        "cvv",
        "cvc",
        "bearer",
        "session",
        "sid",
        "sig",
    ),
    by_words=True,
)
PATTERN = Rule("pattern", "what matches a pattern of yours (`redact_patterns`)")

RULES = (
    KEY,
    # In this order: a rule sees what those before it have left.
    Rule(
        "private-key",
        "private keys in PEM, to their end",
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----",),
        ("private key",),
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?s:.*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|.*)",
    ),
    Rule(
        "url",
        "the password in a URL or DSN, and the user where an HTTP URL has no password, which is a token then",
        ("cannot connect to postgresql://app:hunter2@db:5432/shop", "https://0a1b2c@sentry.example/7"),
        ("@",),
        # The last "@" before the host's end counts, for people put passwords there as they are; a "/" in one, too.
        r"://(?!\[redacted:)[^\s/?#@:]*+:(?:(?P<plain>[^\s/?#]+)@|(?!\d{1,5}(?:[/?#\s]|$))(?P<odd>[^\s@]{1,128})@)"
        r"|(?i:https?)://(?P<user>[^\s/?#@:]++)@"
        r"|(?<![\w:/@.\[-])[\w.-]{1,64}+:(?P<bare>[^\s/@:]{1,128})@(?=(?:tcp|unix)\(|[\w.-]{1,64}:\d)",
    ),
    PAIR,
    Rule(
        "bearer",
        "credentials after `Bearer` or `Basic`, as in the header Authorization",
        ("sent Authorization Bearer abc.def-123", "Basic YW5uOmh1bnRlcjI="),
        ("bearer", "basic"),
        rf"(?i:\bbearer{_SPACE})(?P<bearer>[\w.~+/=-]{{6,}})|(?i:\bbasic{_SPACE})(?P<basic>[\w+/-]{{6,}}={{0,2}})",
        _is_credentials,
        by_words=True,
    ),
    Rule(
        "jwt",
        "JSON Web Tokens",
        ("user eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.c2ln",),
        ("eyj",),
        # Begins where a word does, or after a percent-encoded sign: else each "eyJ" would be looked at to the end.
        r"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{2}))eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+){0,3}",
    ),
    Rule(
        "aws",
        "access keys of AWS (the secret ones have no form of their own: their names tell them)",
        ("denied for AKIAIOSFODNN7EXAMPLE",),
        ("akia", "asia"),
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    ),
    Rule(
        "vendor",
        "tokens that begin as those of GitHub, GitLab, Slack, Stripe, Google, OpenAI, npm, PyPI and SendGrid do",
        ("pushed with ghp_0123456789abcdefghijABCDEFGHIJ012345",),
        (
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "xox",
            "k_live_",
            "k_test_",
            "aiza",
            "sk-",
            "npm_",
            "pypi-",
            "sg.",
        ),
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
        r"|[srp]k_(?:live|test)_\w{10,}|AIza[\w-]{30,}|sk-[\w-]{20,}|npm_\w{30,}|pypi-[\w-]{30,}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,})",
    ),
    Rule(
        "card",
        "numbers of payment cards, with their check digit right (Luhn); numbers that are no text as well",
        ("paid with 4111 1111 1111 1111",),
        (),
        r"(?:(?<![0-9A-Za-z])(?<![0-9]\.)(?!(?<=%)2[02])|(?<=%2[02])|(?<=%3[ADad]))(?:[2-6][0-9]{12,18}"
        rf"|[2-6][0-9]{{3}}(?:{_GAP}[0-9]{{4}}){{3}}"
        rf"|3[0-9]{{3}}{_GAP}[0-9]{{6}}{_GAP}[0-9]{{4,5}})(?![0-9A-Za-z])",
        _is_card,
    ),
    Rule(
        "database",
        "values that databases quote in their error messages",
        (
            "duplicate key value violates unique constraint\nDETAIL:  Key (email)=(ann@shop.example) already exists.",
            "ERR unknown command 'SETT', with args beginning with: 'cart' '7'",
            "Command # 2 (LPUSH cart hunter2) of pipeline caused error: WRONGTYPE",
            "invalid input for query argument $1: 'ann@shop.example' (expected int)",
            'Expected a String, Float, Integer or Boolean, got: List{String("ann@shop.example"), Long(7)}',
            "Invalid value for TimeZone: Text 'ann@shop.example' could not be parsed at index 0",
            "Invalid Regex: Unclosed group near index 8\nhunter2(",
            "error: data exception - invalid argument. Invalid argument: cannot process 'hunter2'.",
            "{message: 22N36: Cannot parse 'hunter2' as a Date.}",
            "UNIQUE constraint failed: users.email\n[SQL: INSERT ...]\n[parameters: ('ann@shop.example',)]",
        ),
        (
            *(")=(", "row contains (", "invalid input ", "` = '", 'at or near "', "^"),
            *("args beginning with: ", "command # "),
            *("[sql: ", "[parameters: ", "\nline "),
            *('string("', "list{", "map{", "could not be parsed at index ", "invalid regex: "),
            *("error: data exception - ", "{message: 22", "cannot parse '", "invalid format: "),
        ),
        # To the end of the line, whatever is in it; only what servers say after a key stays.
        r"\bKey \([^()\n]{1,256}\)=\((?P<key>[^\n]*?)(?=\) already exists|\) is (?:not|still) |\n|\Z)"
        r"|\brow contains \((?P<row>[^\n]+)|\bargs beginning with: (?P<args>[^\n]+)"
        # Of the clients: redis-py's, whose command may have several lines, and asyncpg's.
        r"|\bCommand # [0-9]{1,9} \((?P<command>(?s:.*?)(?=\) of pipeline|\Z))"
        r"|\binvalid input for query argument [^:\n]{1,128}: (?P<argument>[^\n]+)"
        r"|\bat or near \"(?P<near>['$0-9][^\n]+)|\binvalid input [^:\n]{1,128}: \"(?P<input>[^\n]+)"
        r"|\bproperty `[^`\n]{1,128}` = '(?P<property>[^\n]+)|\bInvalid input '(?P<given>(?!':)[\"'0-9][^\n]+)"
        r"|\n(?P<query>\"[^\n]++)(?=\n *+\^)|\nLINE [0-9]{1,9}: (?P<line>[^\n]++)"
        # Those of servers of Bolt: a value that Neo4j shows may have several lines.
        r"|\b(?:String\(\"|(?:List|Map)\{)(?P<value>(?s:.*?)(?=\} \{gql_status: |\Z))"
        r"|\bText '(?P<text>[^\n]*?(?=' could not be parsed|\n|\Z))"
        r"|\bcannot parse '(?P<parsed>[^\n]*?(?=' as |\n|\Z))|\binvalid format: (?P<format>[^\n]*?(?=\} \{|\n|\Z))"
        r"|\bInvalid Regex: [^\n]{1,128}\n(?P<regex>(?s:.*?)(?=\} \{gql_status: |\Z))"
        r"|\berror: data exception - [^.\n]{1,128}\. (?P<gql>(?s:.*?)(?=\}(?: \{message: |\n|\Z)|\Z))"
        r"|\{message: 22[0-9A-Z]{3}: (?P<cause>(?s:.*?)(?=\} \{diagnostic_record: |\Z))"
        # SQLAlchemy's: statements have literals, and several lines.
        r"|\[(?:SQL|parameters): (?P<sqlalchemy>[^\n]*+(?:\n(?!\(Background on this error at)[^\n]*+)*+)",
    ),
    PATTERN,
)
"""All rules. ``key``, ``pair`` and ``pattern`` have no pattern of their own here."""


def enabled_rules(names: Iterable[str]) -> frozenset[str]:
    """The rules that ``names`` switch on: ``all``, ``none``, names, or names with a ``-`` for all but these.

    Raises:
        ValueError: there is no such rule, or the names do not go together.
    """
    wanted = list(names)
    known = frozenset(rule.name for rule in RULES)
    if wanted in (["all"], ["none"]):
        return known if wanted == ["all"] else frozenset()
    without = [name.removeprefix("-") for name in wanted if name.startswith("-")]
    given = frozenset(without or wanted)
    if not wanted or given - known or len(without) not in (0, len(wanted)):
        raise ValueError(wanted)
    return known - given if without else given


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the user's.

    Raises:
        ValueError: it is none, or it matches the empty text, and so everywhere.
    """
    try:
        found = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r}: {error}") from None
    if found.match(""):
        raise ValueError(f"{pattern!r} matches the empty text")
    return found


def hide_credentials(text: str) -> str:
    """A text as it may be shown, where it holds a URL with a password: ``http://…@host``."""
    return re.sub(r"//[^/\s]*@", "//…@", text)
