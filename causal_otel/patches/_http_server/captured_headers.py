"""Headers of requests and responses that the user wants recorded, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["CapturedHeaders", "Shortened"]

Shortened = Callable[[str, str, int], str]
"""What is recorded of a text: see :meth:`causal_otel.instrument.tracing.Tracing.shortened`."""

_LONGEST = 1024  # characters of a value


class CapturedHeaders:
    """The headers of requests, or those of responses, that are recorded.

    Semantic conventions for HTTP: an attribute a header, with the name in lower case; its value is a list, for a header
    may be sent several times. What looks like a secret in a value goes as everywhere else.

    Args:
        names: of the headers, in any case.
        prefix: what the keys begin with: ``http.request.header`` or ``http.response.header``.
    """

    def __init__(self, names: Iterable[str], prefix: str) -> None:
        self._keys = {name.lower().encode("latin-1"): f"{prefix}.{name.lower()}" for name in names}

    def of(self, headers: Any, shortened: Shortened) -> dict[str, tuple[str, ...]]:
        """The attributes for those headers that are there.

        Args:
            headers: pairs of bytes, as in a scope or message; an iterator, which can be read but once, is left alone.
            shortened: cuts and redacts a value.
        """
        found: dict[str, tuple[str, ...]] = {}
        if not isinstance(headers, list | tuple):
            return found
        for name, value in headers:
            key = self._keys.get(name.lower())
            if key is not None:
                found[key] = (*found.get(key, ()), shortened(key, value.decode("latin-1"), _LONGEST))
        return found
