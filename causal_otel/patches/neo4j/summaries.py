"""What a server says of a query at its end: what it changed, how long it took, and what it found odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel import names
from causal_otel.names import CAUSAL_NEO4J_NOTIFICATIONS, CAUSAL_NEO4J_QUERY_TYPE

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Operation

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


def learned(metadata: dict[str, Any], operation: Operation) -> dict[str, Any] | None:
    """The attributes that the server's summary gives; None: nothing that the operation does not say itself.

    The summary as the driver shows it is not made for that: it would cost more than all the rest, and reading its
    notifications warns.

    Args:
        metadata: what the server has sent, as the driver keeps it.
        operation: the operation.
    """
    found: dict[str, Any] | None = None
    kind = metadata.get("type")
    if kind is not None and kind != operation.attributes.get(CAUSAL_NEO4J_QUERY_TYPE) and type(kind) is str:
        found = {CAUSAL_NEO4J_QUERY_TYPE: kind}
    stats = metadata.get("stats")
    if stats:
        counted = {_COUNTERS[key]: number for key, number in stats.items() if key in _COUNTERS and number}
        found = {**(found or {}), **{key: number for key, number in counted.items() if type(number) is int}}
    told = metadata.get("notifications") or metadata.get("statuses")
    # The only status of a query that went as it should is none of its notifications.
    if told and (len(told) > 1 or "gql_status" not in told[0] or "neo4j_code" in told[0]):
        codes = _codes(told)
        if codes:
            found = {**(found or {}), CAUSAL_NEO4J_NOTIFICATIONS: codes}
    return found


def _codes(told: Any) -> list[str]:
    """The codes of notifications: ``notifications`` until Bolt 5.4, ``statuses`` since, of which some are none."""
    found = (each.get("code") or each.get("neo4j_code") for each in told if isinstance(each, dict))
    return list(dict.fromkeys(code for code in found if isinstance(code, str)))[:_MOST]


def milliseconds(metadata: dict[str, Any], key: str) -> float | None:
    """A time that the server gives, in seconds; None: it gives none."""
    found = metadata.get(key)
    return found / 1000 if type(found) is int else None
