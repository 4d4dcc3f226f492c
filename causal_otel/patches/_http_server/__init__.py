"""What servers of HTTP have in common, ASGI's and WSGI's: the parent that headers name, and the host that was asked."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry import propagate

from causal_otel._internal import faults
from causal_otel.engine import carriers, context

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator

    from causal_otel.instrument.baggage import BaggageBorder

__all__ = ["EXCHANGE", "HeadersOfInterest", "authority", "contained", "parent_context"]

K = TypeVar("K")

EXCHANGE = "causal_otel.exchange"
"""In a scope or an environ: the request is traced already, by the exchange it holds; None if it is not recorded.

An exchange is what becomes of a request. ``found_route(route)``, ``escaped(error)``, ``operated(name, attributes)`` and
``failed(error_type, description, exceptions)`` are how frameworks tell it."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+)(?::(\d{1,5}))?")
_ALWAYS = ("host", "user-agent")

_latest: tuple[TextMapPropagator | None, frozenset[str]] = None, frozenset()


def contained(site: str, tell: Callable[..., Any], *args: Any) -> None:
    """Call ``tell``; what it raises is counted, at ``site``, and goes no further."""
    try:
        tell(*args)
    except Exception:
        faults.report(site)


def _fields() -> frozenset[str]:
    """The headers that the propagator reads, in lower case."""
    global _latest
    propagator = propagate.get_global_textmap()
    # Known by identity: Logfire's propagator is a dataclass, and so not hashable.
    if _latest[0] is not propagator:
        try:
            fields = frozenset(field.lower() for field in propagator.fields)
        except Exception:
            faults.report("propagator: fields")
            return frozenset()
        _latest = propagator, fields
    return _latest[1]


class HeadersOfInterest(Generic[K]):
    """The headers that tracing reads: those of the propagator, ``host`` and ``user-agent``.

    Args:
        key: a header's name, in lower case, as it stands in a request.
    """

    def __init__(self, key: Callable[[str], K]) -> None:
        self._key = key
        self._latest: tuple[frozenset[str] | None, dict[K, str]] = None, {}

    def names(self) -> dict[K, str]:
        """Their names in lower case, by their names in a request."""
        fields = _fields()
        if self._latest[0] is not fields:
            self._latest = fields, {self._key(name): name for name in (*fields, *_ALWAYS)}
        return self._latest[1]


def parent_context(headers: dict[str, str], border: BaggageBorder) -> Context:
    """The current context without its span, and what the request's headers add to it.

    Args:
        headers: the headers of interest; what is not to be read of the baggage is dropped from them.
        border: says what that is.
    """
    base = context.incoming()
    if headers.keys().isdisjoint(_fields()):
        return base
    border.admit(headers)
    return carriers.extracted(headers, base)


@functools.lru_cache(256)
def authority(host: str) -> tuple[str | None, int | None]:
    """The host and the port in a ``Host`` header; no host: it is nonsense."""
    found = _HOST.fullmatch(host)
    return (found[1].strip("[]"), int(found[2]) if found[2] else None) if found else (None, None)
