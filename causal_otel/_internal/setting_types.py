"""What the value of a setting may be: how each kind is read from text, what it accepts, and what it says of itself."""

from __future__ import annotations

import os
import re
from dataclasses import field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from causal_otel._internal.installed import entry_points
from causal_otel._internal.secrets import RULES as _RULES
from causal_otel._internal.secrets import compiled, enabled_rules, is_secret, plain

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ATTRIBUTES",
    "BAGGAGE_BYTES",
    "BOOLEAN",
    "COUNT",
    "DIRECTORY",
    "EXCLUDED_NAMES",
    "EXCLUDED_URLS",
    "FILE",
    "HEADER_NAMES",
    "HOSTS",
    "INSTRUMENTORS",
    "MILLISECONDS",
    "NAMES",
    "PAIRS",
    "PATCHES",
    "PATTERNS",
    "PORT",
    "POSITIVE",
    "PROPAGATORS",
    "PROXIES",
    "RATE",
    "RATIO",
    "RULES",
    "SAMPLERS",
    "SAMPLER_ARGUMENT",
    "SECONDS",
    "SECONDS_OR_OFF",
    "STRATEGIES",
    "TEXT",
    "URL",
    "WORDS",
    "Kind",
    "RemoteSampler",
    "choice",
    "installed_propagators",
    "number",
    "readable_file",
    "remote_sampler",
    "setting",
]


class Kind(NamedTuple):
    """How a value is read from text, and what to tell who got it wrong."""

    allowed: str
    parse: Callable[[str], Any]
    accepts: Callable[[Any], bool] = lambda _: True
    """Whether a value given as an argument, already of the right type, is allowed. Unused where all values are text."""


def setting(kind: Kind, default: Any, help: str, *, secret: bool = False, **more: Any) -> Any:
    """A field of a dataclass of settings, with what the pages and messages say of it; a secret one is not in its repr.

    Args:
        kind: what its value may be.
        default: the value, or what makes it.
        help: a line of Markdown.
        secret: whether its value is not to be shown.
        more: what else its reader wants to know.
    """
    metadata = {"kind": kind, "help": help, "secret": secret, **more}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def choice(*names: str) -> Kind:
    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError
        return text.lower()

    return Kind("one of " + ", ".join(names), parse, lambda value: value in names)


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}[
        text.lower()
    ]


def number(kind: type[int] | type[float], low: float, high: float, allowed: str) -> Kind:
    def fits(value: Any) -> bool:
        types = (int,) if kind is int else (int, float)
        return isinstance(value, types) and not isinstance(value, bool) and low <= value <= high

    def parse(text: str) -> float:
        value = kind(text)
        if "_" in text or not fits(value):  # `1_000` is a number of Python's; in a variable it is a typing error
            raise ValueError
        return value

    return Kind(allowed, parse, fits)


def _pairs(text: str) -> dict[str, str]:
    """``key=value,key=value``, percent-encoded (the format of W3C baggage, used by OTel's variables)."""
    pairs = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ValueError
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or (parts.port is not None and parts.port < 1):
        raise ValueError
    return text


def readable_file(path: str | os.PathLike[str]) -> str:
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise ValueError
    return os.fspath(path)


def _items(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))


def _listed(allowed: str, parse: Callable[[str], tuple[str, ...]]) -> Kind:
    """Several values in one text; as an argument, a list or tuple of str."""
    return Kind(allowed, parse, lambda value: not isinstance(value, str) and parse(",".join(value)) == tuple(value))


def _names(text: str) -> tuple[str, ...]:
    names = _items(text)
    if not names or set(names) - set(installed_propagators()):
        raise ValueError
    return names


def installed_propagators() -> tuple[str, ...]:
    return (*sorted({point.name for point in entry_points("opentelemetry_propagator")}), "none")


def _valid(parse: Callable[[str], Any]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        parse(value)
        return True

    return accepts


def _is_attribute(key: object, value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return isinstance(key, str) and any(all(type(each) is kind for each in values) for kind in (str, bool, int, float))


def _patches(text: str) -> tuple[str, ...]:
    names = _items(text)
    if not names or len({name.startswith("-") for name in names}) > 1:
        raise ValueError
    return names


TEXT = Kind("any text", str, lambda value: isinstance(value, str))
DIRECTORY = Kind("the path of a directory", str, lambda value: isinstance(value, str))
BOOLEAN = Kind("true or false", _boolean, lambda value: isinstance(value, bool))
URL = Kind("an http:// or https:// URL", _url, _valid(_url))
PORT = number(int, 1, 65535, "a port number, 1 to 65535")
COUNT = number(int, 0, 2**31, "a whole number, 0 or more")
POSITIVE = number(int, 1, 2**31, "a whole number, 1 or more")
SECONDS = number(float, 0.001, 86400, "a number of seconds, 0.001 to 86400")
_FROM_TEN_MILLISECONDS = number(float, 0.01, 86400, "")
SECONDS_OR_OFF = Kind(
    "0, or a number of seconds, 0.01 to 86400",
    lambda text: 0.0 if text == "0" else _FROM_TEN_MILLISECONDS.parse(text),
    lambda value: (value == 0 and value is not False) or _FROM_TEN_MILLISECONDS.accepts(value),
)
RATE = number(float, 1, 200, "a number from 1 to 200")
RATIO = number(float, 0, 1, "a number from 0 to 1")
FILE = Kind("the path of a readable file", readable_file, _valid(readable_file))
PAIRS = Kind(
    "key=value pairs separated by commas, percent-encoded; elsewhere a mapping of str to str",
    _pairs,
    lambda value: all(isinstance(item, str) for pair in value.items() for item in pair),
)
ATTRIBUTES = Kind(
    "key=value pairs separated by commas, percent-encoded; elsewhere a mapping of str to texts, numbers, booleans, or "
    "lists of one of these",
    _pairs,
    lambda value: all(_is_attribute(*pair) for pair in value.items()),
)
PATCHES = Kind(
    "all, none, or names of patches separated by commas: those alone, or with a - before each, all but those; in files "
    "a list of these, or a table: see [Configure](../how-to/configure.md#patches)",
    _patches,
)
NAMES = Kind(
    "names separated by commas; elsewhere a list of them",
    _items,
    lambda value: isinstance(value, list | tuple) and all(isinstance(each, str) for each in value),
)
PROPAGATORS = _listed("names of installed propagators separated by commas, or none", _names)
SAMPLERS = choice(
    "parentbased_rules",
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "parentbased_jaeger_remote",
    "jaeger_remote",
)


class RemoteSampler(NamedTuple):
    """The argument of the samplers ``jaeger_remote`` and ``parentbased_jaeger_remote``."""

    endpoint: str = "http://localhost:5778"
    interval: float = 3.0
    """In seconds."""
    share: float = 0.001
    """Until the endpoint has answered: what other SDKs record then."""


def remote_sampler(text: str) -> RemoteSampler:
    """Read ``endpoint=http://host:5778,pollingIntervalMs=5000,initialSamplingRate=0.25``: all of it, or some.

    Raises:
        ValueError: there is something else, or a value is not allowed.
    """
    read: dict[str, tuple[str, Callable[[str], Any]]] = {
        "endpoint": ("endpoint", _url),
        "pollingIntervalMs": ("interval", _milliseconds),
        "initialSamplingRate": ("share", RATIO.parse),
    }
    given: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = item.partition("=")
        if name.strip() not in read:
            raise ValueError
        field, parse = read[name.strip()]
        given[field] = parse(value.strip())
    return RemoteSampler(**given)


def _sampler_argument(text: str) -> float | str:
    if "=" in text:
        remote_sampler(text)
        return text
    return cast("float", RATIO.parse(text))


SAMPLER_ARGUMENT = Kind(
    "a number from 0 to 1, or for the remote samplers endpoint=URL,pollingIntervalMs=N,initialSamplingRate=N",
    _sampler_argument,
    lambda value: isinstance(_sampler_argument(value), str) if isinstance(value, str) else RATIO.accepts(value),
)


def _strategies(text: str) -> str:
    return _url(text) if "://" in text else text


STRATEGIES = Kind("the path of a file, or an http:// or https:// URL", _strategies, _valid(_strategies))


def _rules(text: str) -> tuple[str, ...]:
    names = _items(text)
    enabled_rules(names)
    return names


def _words(text: str) -> tuple[str, ...]:
    words = _items(text)
    if not all(map(plain, words)):
        raise ValueError
    return words


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(text.split())
    for pattern in patterns:
        compiled(pattern)
    return patterns


def _hosts(text: str) -> tuple[str, ...]:
    hosts = _items(text)
    if any(not re.fullmatch(_HOST, host) for host in hosts) or ("none" in hosts and hosts != ("none",)):
        raise ValueError
    return hosts


def _header_names(text: str) -> tuple[str, ...]:
    names = _items(text)
    if any(not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII) or is_secret(name) for name in names):
        raise ValueError
    return names


def _instrumentors(text: str) -> tuple[str, ...]:
    names = _items(text)
    if not all(re.fullmatch(r"-?[A-Za-z0-9][\w.-]*", name, re.ASCII) for name in names):
        raise ValueError
    return names


def _proxies(text: str) -> tuple[str, ...]:
    proxies = _items(text)
    for proxy in proxies:
        if proxy != "unix":
            ip_network(proxy)
    return proxies


def _excluded(allowed: str, fits: Callable[[str], bool]) -> Kind:
    """Patterns of what is excluded."""

    def parse(text: str) -> tuple[str, ...]:
        patterns = _items(text)
        if not patterns or not all(map(fits, patterns)):
            raise ValueError
        return patterns

    return Kind(allowed, parse, lambda value: isinstance(value, list | tuple) and all(map(fits, value)))


_EXCLUDED_URL = (
    r"(?:(?:[a-z][a-z0-9+.-]*://)?(?:[\w.*-]+|\[[\da-f:.*]+\])(?::[\d*]+)?)?"  # scheme, host and port
    r"(?:/(?:[^/\s?#{}]|\{[^{}/\s]*\})*)+"
)
_HOST = r"\*|(?:\*\.)?[\w.:\[\]-]+"

RULES = _listed(
    "all, none, or names of rules separated by commas: those alone, or with a - before each, all but those; the rules "
    f"are {', '.join(rule.name for rule in _RULES)}",
    _rules,
)
WORDS = _listed("words with letters in them, separated by commas", _words)
PATTERNS = Kind(
    r"regular expressions that do not match the empty text, separated by white space (`\x20` is a space)",
    _patterns,
    lambda value: not isinstance(value, str) and all(map(compiled, value)),
)
HOSTS = _listed("names of hosts, `*.example.com`, `internal` or `*`, separated by commas; or none", _hosts)
INSTRUMENTORS = _listed(
    "all, or names separated by commas, each as it is or with a - before it to leave it out; as an argument, True, a "
    "list of names, or a mapping of names",
    _instrumentors,
)
HEADER_NAMES = _listed(
    "names of HTTP headers separated by commas; elsewhere a list of them. Those whose values are secret, such "
    "as Authorization, Cookie and X-Api-Key, cannot be recorded",
    _header_names,
)
PROXIES = _listed(
    "IP addresses and networks such as 10.0.0.0/8, separated by commas, and `unix` for whoever connects to a Unix "
    "socket; elsewhere a list of them",
    _proxies,
)
EXCLUDED_URLS = _excluded(
    "paths that begin with `/`, or `example.com/path`, with a scheme and a port or without, separated by commas; as an "
    "argument, a tuple of them. `*` is anything but a slash, `**` anything, `{id}` one segment; no query",
    lambda text: re.fullmatch(_EXCLUDED_URL, text, re.IGNORECASE) is not None,
)
EXCLUDED_NAMES = _excluded(
    "names, in which `*` is anything, separated by commas; elsewhere a list of them",
    lambda text: text != "" and text == text.strip(),
)
BAGGAGE_BYTES = number(int, 0, 8192, "a whole number, 0 to 8192")


def _milliseconds(text: str) -> float:
    return cast("float", SECONDS.parse(str(float(text) / 1000)))


MILLISECONDS = Kind("milliseconds, 1 to 86400000; elsewhere seconds", _milliseconds, SECONDS.accepts)
