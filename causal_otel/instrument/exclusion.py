"""What the option ``excluded`` of a patch says: patterns of URLs, or of names and statements, compiled once.

In patterns ``*`` is anything. In URLs it ends at a slash unless there are two, and ``{id}`` is one segment of a path.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

from causal_otel.statements.urls import DEFAULT_PORTS

__all__ = ["Excluded", "canonical_url", "match_names", "match_urls"]

Excluded = Callable[[str], bool]
"""Whether an operation of that name, or a request for that :func:`canonical_url`, is excluded."""

_CACHED = 1024  # names and statements; a program has few, unless it builds them
_LONGEST = 2048  # characters of a URL; a longer one fits no pattern, so that no client can make looking expensive

_PORT = re.compile(r":[\d*]+$")


def match_names(patterns: Iterable[str]) -> Excluded:
    """Matches names and statements by patterns of the whole text, whatever its case."""
    from causal_otel.engine.samplers import pattern

    fits = _any(pattern(each).pattern for each in patterns)
    return functools.lru_cache(_CACHED)(lambda text: fits(text.strip()) is not None)


def match_urls(patterns: Iterable[str]) -> Excluded:
    """Matches URLs by patterns of paths (``/health``), or of URLs with or without scheme and port."""
    fits = _any(map(_url_pattern, patterns))
    return lambda text: len(text) <= _LONGEST and fits(text) is not None


def canonical_url(scheme: str, host: str, port: int | None, path: str) -> str:
    """A URL as :func:`match_urls` compares it: with its port always, and without user, query and fragment."""
    port = port or DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{f'[{host}]' if ':' in host else host.lower()}{'' if port is None else f':{port}'}{path}"


def _any(patterns: Iterable[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(f"(?:{each})" for each in patterns), re.DOTALL | re.IGNORECASE).fullmatch


def _url_pattern(text: str) -> str:
    from causal_otel.engine.samplers import pattern

    scheme, found, rest = text.rpartition("://")
    authority, slash, path = rest.partition("/")
    host = pattern(authority, path=True).pattern if authority else "[^/]*"
    port = "" if _PORT.search(authority) else r"(?::\d+)?"
    # Paths are told apart by case, unlike the rest.
    return f"{re.escape(scheme) if found else '[^/]*'}://{host}{port}(?-i:{pattern(slash + path, path=True).pattern})"
