"""What the value of a setting may be: of text and of arguments."""

from __future__ import annotations

from typing import Any

import pytest

from causal_otel._internal import setting_types as types
from causal_otel._internal.setting_types import Kind, RemoteSampler, choice, number, remote_sampler

KINDS = {name: getattr(types, name) for name in types.__all__ if isinstance(getattr(types, name), Kind)}

GOOD: dict[str, list[tuple[str, Any]]] = {
    "ATTRIBUTES": [("a=b,c=1", {"a": "b", "c": "1"})],
    "BAGGAGE_BYTES": [("0", 0), ("8192", 8192)],
    "BOOLEAN": [("YES", True), ("on", True), ("0", False), ("Off", False)],
    "COUNT": [("0", 0), ("2147483648", 2**31)],
    "DIRECTORY": [("/var/spool", "/var/spool")],
    "EXCLUDED_NAMES": [("a.*, b ,a.*", ("a.*", "b"))],
    "EXCLUDED_URLS": [("/a/{id},https://h:*/b/**", ("/a/{id}", "https://h:*/b/**")), ("[::1]:80/a", ("[::1]:80/a",))],
    "FILE": [(__file__, __file__)],
    "HEADER_NAMES": [("X-Tenant, accept", ("X-Tenant", "accept")), ("", ())],
    "INSTRUMENTORS": [("all, -requests", ("all", "-requests")), ("", ())],
    "HOSTS": [("none", ("none",)), ("*.a.b,internal,*", ("*.a.b", "internal", "*"))],
    "MILLISECONDS": [("1", 0.001), ("86400000", 86400.0)],
    "NAMES": [("requests, urllib3,requests", ("requests", "urllib3"))],
    "PAIRS": [("a=b=c, d = %20e%2C ,", {"a": "b=c", "d": " e,"}), ("", {})],
    "PATCHES": [("redis, asgi", ("redis", "asgi")), ("-redis,-asgi", ("-redis", "-asgi")), ("none", ("none",))],
    "PATTERNS": [(r"a\x20b  c+", (r"a\x20b", "c+"))],
    "PORT": [("1", 1), ("65535", 65535)],
    "POSITIVE": [("1", 1)],
    "PROPAGATORS": [("none", ("none",)), ("tracecontext,baggage", ("tracecontext", "baggage"))],
    "PROXIES": [("10.0.0.0/8,::1, unix", ("10.0.0.0/8", "::1", "unix"))],
    "RATE": [("1", 1.0), ("20", 20.0)],
    "RATIO": [("0", 0.0), ("1e-3", 0.001), ("1", 1.0)],
    "RULES": [("all", ("all",)), ("-card,-jwt", ("-card", "-jwt"))],
    "SAMPLERS": [("Always_On", "always_on")],
    "SAMPLER_ARGUMENT": [("0.5", 0.5), ("pollingIntervalMs=500", "pollingIntervalMs=500")],
    "SECONDS": [("0.001", 0.001), ("86400", 86400.0)],
    "SECONDS_OR_OFF": [("0", 0.0), ("0.01", 0.01), ("86400", 86400.0)],
    "STRATEGIES": [("/a/b.json", "/a/b.json"), ("http://h/s", "http://h/s")],
    "TEXT": [("", ""), ("x", "x")],
    "URL": [("https://user:word@h:1/p?q", "https://user:word@h:1/p?q")],
    "WORDS": [("iban,customer.name", ("iban", "customer.name"))],
}
BAD: dict[str, list[str]] = {
    "ATTRIBUTES": ["a", "=b"],
    "BAGGAGE_BYTES": ["8193", "-1"],
    "BOOLEAN": ["", "2", "maybe"],
    "COUNT": ["-1", "1.0", "1_000", "", str(2**31 + 1)],
    "DIRECTORY": [],
    "EXCLUDED_NAMES": ["", " , "],
    "EXCLUDED_URLS": ["", "a", "/a?q", "/a#f", "/{a/b}", "/a b"],
    "FILE": ["", "/", "/does/not/exist"],
    "HEADER_NAMES": ["x-.*", "a b", "authorization", "Set-Cookie", "x,X-Api-Key", "x-auth-token", ":path"],
    "INSTRUMENTORS": ["a b", "--requests", "requests[x]"],
    "HOSTS": ["a,none", "http://h", "a*b", "*."],
    "MILLISECONDS": ["0", "-1", "x", "86400001", "nan"],
    "NAMES": [],
    "PAIRS": ["a", "=b", "a=b,c"],
    "PATCHES": ["", ",", "redis,-asgi"],
    "PATTERNS": ["(", "x*", "a|"],
    "PORT": ["0", "65536", "http"],
    "POSITIVE": ["0"],
    "PROPAGATORS": ["", "zipkin", "tracecontext,zipkin"],
    "PROXIES": ["*", "proxy.example", "10.0.0.1/8", "10.0.0"],
    "RATE": ["0", "201", "nan"],
    "RATIO": ["-0.1", "1.1", "nan", "inf", "0_1"],
    "RULES": ["cards", "card,-jwt", "", "all,card"],
    "SAMPLERS": ["", "always"],
    "SAMPLER_ARGUMENT": ["2", "", "rate=1", "endpoint=h:1", "initialSamplingRate=7"],
    "SECONDS": ["0", "86401", "nan", "1_0"],
    "SECONDS_OR_OFF": ["-1", "0.009", "86401", "nan", "1_0", "off", ""],
    "STRATEGIES": ["ftp://h/s", "http://"],
    "TEXT": [],
    "URL": ["h:1", "ftp://h", "http://", "http://h:0", "http://h:99999", "http://h:port"],
    "WORDS": ["--", "a,_1"],
}
WRONG: dict[str, list[Any]] = {
    "ATTRIBUTES": ["a=b", {1: "a"}, {"a": None}, {"a": [1, "b"]}, {"a": {"b": 1}}],
    "BOOLEAN": ["true", 1, None],
    "COUNT": [True, 1.0, "1", -1, None],
    "DIRECTORY": [5],
    "EXCLUDED_NAMES": ["a", [""], [" a"]],
    "EXCLUDED_URLS": ["/a", ["a"]],
    "FILE": [5, "/does/not/exist"],
    "HEADER_NAMES": ["x-tenant", ["cookie"], ["a,b"], [1]],
    "HOSTS": ["h", ["h", "none"], ["a,b"]],
    "MILLISECONDS": [0, 86401, "1"],
    "NAMES": ["a", [1]],
    "PAIRS": ["a=b", {"a": 1}, {1: "a"}],
    "PATTERNS": ["x", ["x*"], ["("], [1]],
    "PORT": [True, 0, "80"],
    "PROPAGATORS": ["none", ["zipkin"], ["tracecontext,baggage"]],
    "PROXIES": ["::1", ["*"], [1]],
    "RATIO": [True, 1.5, "0.5"],
    "RULES": ["all", [], ["cards"]],
    "SAMPLERS": ["Always_On", None],
    "SAMPLER_ARGUMENT": ["0.5", 2, "rate=1"],
    "SECONDS_OR_OFF": [False, "0", 0.001, None],
    "STRATEGIES": [5, "ftp://h"],
    "TEXT": [5, None, b"x"],
    "URL": [5, "h:1"],
    "WORDS": ["a", ["a,b"], ["--"]],
}
"""As arguments: of the wrong type, or as only text may be."""


def _refused(kind: Kind, value: Any) -> bool:
    """Whether a kind does not accept an argument; raising says that as well."""
    try:
        return not kind.accepts(value)
    except (TypeError, ValueError, AttributeError):
        return True


def test_every_kind_is_tried() -> None:
    """The tables here name all kinds that there are."""
    assert GOOD.keys() == BAD.keys() == KINDS.keys()
    assert WRONG.keys() <= KINDS.keys()


@pytest.mark.parametrize(("name", "text", "value"), [(name, *pair) for name, pairs in GOOD.items() for pair in pairs])
def test_good_text(name: str, text: str, value: Any) -> None:
    """Text is read as what it means, of the type that it has as an argument; as an argument that is accepted."""
    parsed = KINDS[name].parse(text)
    assert (parsed, type(parsed)) == (value, type(value))
    assert KINDS[name].accepts(parsed)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_bad_text(name: str, text: str) -> None:
    """Text that is not allowed raises what becomes a SettingError."""
    with pytest.raises((ValueError, KeyError)):
        KINDS[name].parse(text)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_arguments(name: str, value: Any) -> None:
    """An argument of another type, or spelled as only text may be, is refused."""
    assert _refused(KINDS[name], value)


@pytest.mark.parametrize("name", KINDS)
def test_each_says_what_it_allows(name: str) -> None:
    """The sentence after "it must be" is there, and is no sentence of its own."""
    allowed = KINDS[name].allowed
    assert allowed == allowed.strip() != ""
    assert not allowed.endswith(".")


def test_a_choice() -> None:
    """A choice is read in any case, gives the name as it is listed, and says all of them."""
    kind = choice("one", "two")
    assert (kind.parse("TWO"), kind.allowed) == ("two", "one of one, two")
    assert not kind.accepts("TWO")


def test_a_number() -> None:
    """A number has both of its ends; an argument may be whole where text gives a float, never the other way round."""
    whole, real = number(int, 2, 4, "2 to 4"), number(float, 2, 4, "2 to 4")
    assert [whole.accepts(value) for value in (1, 2, 4, 5, 3.0)] == [False, True, True, False, False]
    assert [real.accepts(value) for value in (1.9, 2, 4.0, 4.1)] == [False, True, True, False]


def test_a_remote_sampler() -> None:
    """What is not said of a remote sampler is its default; the interval is told in milliseconds."""
    assert remote_sampler("") == RemoteSampler()
    found = remote_sampler("endpoint=http://h:1, pollingIntervalMs=2500,initialSamplingRate=0.25")
    assert found == RemoteSampler(endpoint="http://h:1", interval=2.5, share=0.25)
