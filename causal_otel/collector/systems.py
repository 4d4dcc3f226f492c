"""What a span talks to: Redis' ``GET`` is another operation than HTTP's, and so is one at another host's.

An operation is a service's, has a name and a kind, and belongs to a system: a database's, a broker's or an RPC's by the
name that the conventions give it (``redis``), ``http``, or, of an HTTP client, ``http`` with the server's address
(``http api.example.com``). Spans of none of them have an empty one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from causal_otel.collector.attributes import plain, text
from causal_otel.names import (
    DB_SYSTEM_NAME,
    GEN_AI_PROVIDER_NAME,
    HTTP_REQUEST_METHOD,
    MESSAGING_SYSTEM,
    RPC_SYSTEM_NAME,
    SERVER_ADDRESS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["KEYS", "MOST", "OTHERS", "BoundedSystems", "host", "named", "system_of"]

MOST = 100
"""Systems of a service that are told apart: a crawler has a host for every page."""

OTHERS = "others"
"""The system of the spans of all others."""

_LONGEST = 100
_HTTP = "http"
# The stable names first, then those that instrumentations used before.
_NAMES = (
    DB_SYSTEM_NAME,
    "db.system",
    MESSAGING_SYSTEM,
    RPC_SYSTEM_NAME,
    "rpc.system",
    GEN_AI_PROVIDER_NAME,
    "gen_ai.system",
)
_METHODS = (HTTP_REQUEST_METHOD, "http.method")
_HOSTS = (SERVER_ADDRESS, "net.peer.name")

KEYS = frozenset((*_NAMES, *_METHODS, *_HOSTS))
"""The attributes that tell a span's system."""


def system_of(span: Span) -> str:
    """A span's system; empty if it has none."""
    found = {pair.key: plain(pair.value) for pair in span.attributes if pair.key in KEYS}
    return named(found, span.kind) if found else ""


def named(values: Mapping[str, Any], kind: int) -> str:
    """The system of a span with these plain values of :data:`KEYS`, and this kind, as OTLP numbers it."""
    for key in _NAMES:
        if value := values.get(key):
            return text(value)[:_LONGEST]
    if not any(map(values.get, _METHODS)):
        return ""
    address = next(filter(None, map(values.get, _HOSTS)), "") if kind == Span.SPAN_KIND_CLIENT else ""
    return f"{_HTTP} {text(address)}"[:_LONGEST] if address else _HTTP


def host(system: str) -> tuple[str, str]:
    """A system's name, and the server's address if it is an HTTP client's."""
    name, _, address = system.partition(" ")
    return (name, address) if name == _HTTP else (system, "")


class BoundedSystems:
    """The systems of each service, or its versions, as many as are told apart.

    Args:
        known: services and systems that are told apart already.
        most: how many of a service's.
    """

    def __init__(self, known: Iterable[tuple[str, str]] = (), most: int = MOST) -> None:
        self._most = most
        self._systems: dict[str, set[str]] = {}
        for service, system in known:
            if system not in ("", OTHERS):
                self._systems.setdefault(service, set()).add(system)

    def bounded(self, service: str, system: str) -> str:
        """The system, or :data:`OTHERS` if it would be one too many."""
        if not system:
            return system
        systems = self._systems.setdefault(service, set())
        if system in systems or len(systems) < self._most:
            systems.add(system)
            return system
        return OTHERS
