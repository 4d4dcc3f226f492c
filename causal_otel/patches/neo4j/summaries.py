"""What a server says of a query at its end: what it changed, how long it took, and what it found odd."""

from __future__ import annotations

from typing import Any

from causal_otel import names
from causal_otel.names import CAUSAL_NEO4J_NOTIFICATIONS

__all__ = ["milliseconds", "query_type", "told_besides"]

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


def query_type(metadata: dict[str, Any]) -> str | None:
    """What kind of a query it was, ``r`` or ``rw``; None: the server does not say."""
    kind = metadata.get("type")
    return kind if type(kind) is str else None


def told_besides(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """The attributes of what a query has changed, and of its notifications; None: neither.

    The summary as the driver shows it is not made for that: it would cost more than all the rest, and reading its
    notifications warns.

    Args:
        metadata: what the server has sent, as the driver keeps it.
    """
    stats, told = metadata.get("stats"), metadata.get("notifications") or metadata.get("statuses")
    # The only status of a query that went as it should is none of its notifications.
    noted = told and (len(told) > 1 or "gql_status" not in told[0] or "neo4j_code" in told[0])
    if not (stats or noted):
        return None
    found: dict[str, Any] = {}
    if stats:
        counted = {_COUNTERS[key]: number for key, number in stats.items() if key in _COUNTERS and number}
        found = {key: number for key, number in counted.items() if type(number) is int}
    if noted:
        codes = _codes(told)
        if codes:
            found[CAUSAL_NEO4J_NOTIFICATIONS] = codes
    return found or None


def _codes(told: Any) -> list[str]:
    """The codes of notifications: ``notifications`` until Bolt 5.4, ``statuses`` since, of which some are none."""
    found = (each.get("code") or each.get("neo4j_code") for each in told if isinstance(each, dict))
    return list(dict.fromkeys(code for code in found if isinstance(code, str)))[:_MOST]


def milliseconds(metadata: dict[str, Any], key: str) -> float | None:
    """A time that the server gives, in seconds; None: it gives none."""
    found = metadata.get(key)
    return found / 1000 if type(found) is int else None
