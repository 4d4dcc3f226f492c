"""Traces of a Grafana Tempo, by its query API: searches in TraceQL, traces as OTLP."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from causal_otel.cli.remote.fetched import FetchedSource
from causal_otel.cli.stored import CommandError
from causal_otel.collector.expressions import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.cli.remote.asking import Asked
    from causal_otel.collector.query import Query

__all__ = ["TempoSource", "traceql"]

_PROTOBUF = "application/protobuf"
_AT_LEAST = 50
_MOST = 500
_SECOND = 10**9
_KINDS = frozenset({"internal", "server", "client", "producer", "consumer"})


class TempoSource(FetchedSource):
    """See :class:`causal_otel.cli.source.Source`."""

    name = "Tempo"

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    def candidates(self, query: Query) -> tuple[dict[bytes, TracesData | None], bool]:
        """The ids that it finds: the traces have to be asked for one by one."""
        all_said = folded(query)[2] and query.sort == "newest"
        limit = min(_MOST, query.limit if all_said else max(query.limit, _AT_LEAST))
        given: dict[str, str | int] = {"q": traceql(query), "limit": limit}
        # It looks into its store only where both are given, and at what came last otherwise.
        given |= {"start": query.start // _SECOND, "end": min(query.end // _SECOND + 1, 2**33)}
        answer = self._asked.get("/api/search", given)
        document = answer.document()
        if not answer.found or not isinstance(document, dict):
            said = answer.body[:200].decode("utf-8", "replace")
            raise CommandError(f"{self._asked.shown} refuses the search {given['q']}: {said or answer.status}")
        ids = [str(each.get("traceID", "")) for each in document.get("traces") or [] if isinstance(each, dict)]
        found = {bytes.fromhex(each.rjust(32, "0")): None for each in ids if re.fullmatch("[0-9a-f]{1,32}", each)}
        return {**found}, len(ids) < limit

    def ask(self, trace_id: bytes) -> TracesData | None:
        """A trace, in OTLP's binary form: in its JSON, ids are Base64."""
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

        answer = self._asked.get(f"/api/traces/{trace_id.hex()}", accept=_PROTOBUF)
        if not answer.found or not answer.body:
            return None
        try:
            trace = TracesData()
            trace.ParseFromString(answer.body)
        except DecodeError:
            raise CommandError(
                f"{self._asked.shown} does not send traces as {_PROTOBUF}: does something before it change its answers?"
            ) from None
        return trace


def traceql(query: Query) -> str:
    """What of a query TraceQL can say; the rest is looked at here."""
    return f"{{ {' && '.join(_terms(query)) or 'true'} }}"


def _terms(query: Query) -> Iterator[str]:
    query, tags, _ = folded(query)
    if query.service is not None:
        yield f"resource.service.name = {_text(query.service)}"
    if query.operation is not None:
        yield f"name = {_text(query.operation)}"
    if query.operation_like is not None:
        like = query.operation_like if "*" in query.operation_like else f"*{query.operation_like}*"
        yield f"name =~ {_text('(?i)' + '.*'.join(map(re.escape, like.split('*'))))}"
    if query.kind in _KINDS:
        yield f"kind = {query.kind}"
    if query.errors:
        yield "status = error"
    if query.shortest is not None:
        yield f"duration >= {query.shortest}ns"
    if query.longest is not None:
        yield f"duration <= {query.longest}ns"
    for key, value in tags.items():
        yield f".{_text(key)} = {_text(value)}" if not _is_number(value) else _number(key, value)


def _number(key: str, value: str) -> str:
    return f"( .{_text(key)} = {_text(value)} || .{_text(key)} = {value} )"


def _is_number(value: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", value) is not None


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
