"""What a server says of a query at its end: what it changed, how long it took, and what it found odd."""

from __future__ import annotations

from typing import Any

from causal_otel import names
from causal_otel.names import CAUSAL_NEO4J_NOTIFICATIONS, CAUSAL_NEO4J_QUERY_TYPE

__all__ = ["learned", "milliseconds"]

_COUNTERS = {
    "constraints-added": names.CAUSAL_NEO4J_CONSTRAINTS_ADDED,
    "constraints-removed": names.CAUSAL_NEO4J_CONSTRAINTS_REMOVED,
    "indexes-added": names.CAUSAL_NEO4J_INDEXES_ADDED,
    "indexes-removed": names.CAUSAL_NEO4J_INDEXES_REMOVED,
    "labels-added": names.CAUSAL_NEO4J_LABELS_ADDED,
    "labels-removed": names.CAUSAL_NEO4J_LABELS_REMOVED,
    "nodes-created": names.CAUSAL_NEO4J_NODES_CREATED,
    "nodes-deleted": names.CAUSAL_NEO4J_NODES_DELETED,
    "properties-set": names.CAUSAL_NEO4J_PROPERTIES_SET,
    "relationships-created": names.CAUSAL_NEO4J_RELATIONSHIPS_CREATED,
    "relationships-deleted": names.CAUSAL_NEO4J_RELATIONSHIPS_DELETED,
    "system-updates": names.CAUSAL_NEO4J_SYSTEM_UPDATES,
}

_MOST = 8  # different notifications of one query


def learned(metadata: dict[str, Any]) -> dict[str, Any]:
    """The attributes that the server's summary gives.

    The summary as the driver shows it is not made for that: it would cost more than all the rest, and reading its
    notifications warns.

    Args:
        metadata: what the server has sent, as the driver keeps it.
    """
    found: dict[str, Any] = {}
    kind = metadata.get("type")
    if type(kind) is str:
        found[CAUSAL_NEO4J_QUERY_TYPE] = kind
    stats = metadata.get("stats")
    if stats:
        for key, number in stats.items():
            name = _COUNTERS.get(key)
            if name is not None and type(number) is int and number:
                found[name] = number
    told = metadata.get("notifications") or metadata.get("statuses")
    if told:
        codes = _codes(told)
        if codes:
            found[CAUSAL_NEO4J_NOTIFICATIONS] = codes
    return found


def _codes(told: Any) -> list[str]:
    """The codes of notifications: ``notifications`` until Bolt 5.4, ``statuses`` since, of which some are none."""
    found = (each.get("code") or each.get("neo4j_code") for each in told if isinstance(each, dict))
    return list(dict.fromkeys(code for code in found if isinstance(code, str)))[:_MOST]


def milliseconds(metadata: dict[str, Any], key: str) -> float | None:
    """A time that the server gives, in seconds; None: it gives none."""
    found = metadata.get(key)
    return found / 1000 if type(found) is int else None
