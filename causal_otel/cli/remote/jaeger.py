"""Traces of a Jaeger, by its query API: ``/api`` for searches, ``/api/v3`` for single traces where it has that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from causal_otel.cli.remote.fetched import FetchedSource
from causal_otel.cli.remote.jaeger_json import traces as read_traces
from causal_otel.cli.remote.jaeger_json import without_jaegers_links
from causal_otel.cli.stored import CommandError
from causal_otel.collector.conditions import is_like
from causal_otel.collector.expressions import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.cli.remote.asking import Asked
    from causal_otel.collector.query import Query

__all__ = ["JaegerSource"]

_MOST = 1500
_AT_LEAST = 100
_MOST_SEARCHES = 50
_MICROSECOND = 1000
_LAST = (1 << 63) - 1


class JaegerSource(FetchedSource):
    """See :class:`causal_otel.cli.source.Source`."""

    name = "Jaeger"

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked
        self._has_v3 = True

    def candidates(self, query: Query) -> tuple[dict[bytes, TracesData | None], bool]:
        """Its answers: it searches a service at a time, and knows operations by their whole names only."""
        query, tags, all_said = folded(query)
        searches = list(self._searches(query))
        if len(searches) > _MOST_SEARCHES:
            raise CommandError(
                f"that would be {len(searches)} searches, since Jaeger searches one service and operation at a time: "
                "give --service, or more of the operation's name"
            )
        # It does not know all of our conditions, so some more are asked for.
        exact = all_said and not (query.kind or query.system or query.sort != "newest")
        limit = min(_MOST, query.limit if exact else max(query.limit, _AT_LEAST))
        found: dict[bytes, TracesData | None] = {}
        all_seen = True
        for service, operation in searches:
            data = self._data("/api/traces", _parameters(query, tags, service, operation, limit))
            all_seen = all_seen and len(data) < limit
            found |= read_traces(data)
        return found, all_seen

    def ask(self, trace_id: bytes) -> TracesData | None:
        """A trace, in the newer form if this Jaeger has it: the older one has no attributes of links."""
        if self._has_v3 and (trace := self._of_v3(trace_id)) is not None:
            return trace
        answer = self._asked.get(f"/api/traces/{trace_id.hex()}", {"raw": "true"})
        document = answer.document()
        if not answer.found or not isinstance(document, dict):
            return None
        return read_traces(document.get("data") or []).get(trace_id)

    def _of_v3(self, trace_id: bytes) -> TracesData | None:
        from causal_otel.collector.receive import otlp_json

        answer = self._asked.get(f"/api/v3/traces/{trace_id.hex()}", {"raw_traces": "true"})
        document = answer.document()
        result = document.get("result") if isinstance(document, dict) else None
        try:
            trace = otlp_json.loads(json.dumps(result).encode()) if answer.found and result else None
        except ValueError:  # ids in Base64, as Jaeger had them at first
            self._has_v3 = False
            return None
        return None if trace is None else without_jaegers_links(trace)

    def _searches(self, query: Query) -> Iterator[tuple[str, str | None]]:
        for service in self._data("/api/services", {}) if query.service is None else [query.service]:
            if query.operation_like is None:
                yield service, query.operation
                continue
            for operation in self._data(f"/api/services/{quote(service, safe='')}/operations", {}):
                if is_like(query.operation_like, operation):
                    yield service, operation

    def _data(self, path: str, parameters: dict[str, str | int]) -> list[Any]:
        answer = self._asked.get(path, parameters)
        document = answer.document()
        if not answer.found or not isinstance(document, dict):
            errors = document.get("errors") if isinstance(document, dict) else None
            told = "; ".join(str(each.get("msg")) for each in errors) if errors else f"{path} is {answer.status}"
            raise CommandError(f"{self._asked.shown}: {told}")
        return document.get("data") or []


def _parameters(
    query: Query, tags: dict[str, str], service: str, operation: str | None, limit: int
) -> dict[str, str | int]:
    tags = dict(tags)
    if query.errors:
        tags["error"] = "true"
    given: dict[str, str | int | None] = {
        "service": service,
        "operation": operation,
        "start": query.start // _MICROSECOND,
        "end": -(-min(query.end, _LAST) // _MICROSECOND),
        "minDuration": None if query.shortest is None else f"{query.shortest // _MICROSECOND}us",
        "maxDuration": None if query.longest is None else f"{-(-query.longest // _MICROSECOND)}us",
        "tags": json.dumps(tags) if tags else None,
        "limit": limit,
        "raw": "true",
    }
    return {name: value for name, value in given.items() if value is not None}
