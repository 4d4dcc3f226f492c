"""Traces of a collector of ours that runs, by the addresses of its pages that are for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from causal_otel.cli.stored import CommandError
from causal_otel.collector.expressions import quoted, written
from causal_otel.collector.query import Counted, Found, Summary, TraceLogs
from causal_otel.collector.service_counts import ServiceCount

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.cli.remote.asking import Asked
    from causal_otel.collector.query import Query
    from causal_otel.collector.trends.periods import Period

__all__ = ["CollectorSource", "parameters"]

_MOST = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (datetime(2262, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


class CollectorSource:
    """See :class:`causal_otel.cli.source.Source`."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._summaries: dict[bytes, Summary] = {}

    def search(self, query: Query, *, seconds: float = 2.0) -> Found:
        """Find traces, in the order that the query asks for."""
        document = self._document("/search.json", query)
        summaries = [_summary(each) for each in document["traces"]]
        self._summaries |= {each.trace_id: each for each in summaries}
        ids = tuple(each.trace_id for each in summaries)
        return Found(ids, document["complete"], document["compared_since_unix_nano"])

    def count(self, query: Query, *, seconds: float = 0.5) -> Counted:
        """Count all traces that satisfy a query."""
        document = self._document("/ui/count", query)
        return Counted(document["traces"], document["complete"])

    def _document(self, path: str, query: Query) -> dict[str, Any]:
        answer = self._asked.get(path, parameters(query))
        document = answer.document()
        if not answer.found or not isinstance(document, dict):
            mistakes = document.get("mistakes") if isinstance(document, dict) else None
            told = "; ".join(f"{name}: {said}" for name, said in mistakes.items()) if mistakes else answer.status
            raise CommandError(f"{self._asked.shown} refuses the search: {told}")
        return document

    def summaries(self, trace_ids: Iterable[bytes]) -> list[Summary]:
        """One for each of those that a search has found."""
        return [self._summaries[each] for each in trace_ids if each in self._summaries]

    def trace(self, trace_id: bytes) -> TracesData | None:
        """All spans of a trace; None if there is none."""
        from causal_otel.collector.receive import otlp_json

        answer = self._asked.get(f"/trace/{trace_id.hex()}.json")
        return otlp_json.loads(answer.body) if answer.found else None

    def logs(self, trace_id: bytes, *, most: int = 0) -> TraceLogs | None:
        """The log records of a trace; None if there is none."""
        from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

        from causal_otel.collector.receive import otlp_json

        answer = self._asked.get(f"/trace/{trace_id.hex()}/logs.json")
        return TraceLogs(otlp_json.read(answer.body, LogsData())) if answer.found else None

    def figures(self, name: str, service: str | None, period: Period, operation: str = "") -> dict[str, Any]:
        """See :func:`causal_otel.collector.trends.documents.figures`.

        Raises:
            CommandError: There are none.
        """
        given = {
            "service": service or "",
            "operation": operation,
            "start": _moment(period.start // 1000),
            "end": _moment(period.end // 1000),
        }
        answer = self._asked.get(f"/{name}.json", {key: value for key, value in given.items() if value})
        document = answer.document()
        if answer.found and isinstance(document, dict):
            return document
        mistakes = document.get("mistakes") if isinstance(document, dict) else None
        if mistakes:
            told = "; ".join(f"{key}: {said}" for key, said in mistakes.items())
            raise CommandError(f"{self._asked.shown} refuses the question: {told}")
        raise CommandError(f"{self._asked.shown} has no /{name}.json: it is a collector of an older release")


def parameters(query: Query) -> dict[str, str]:
    """A query as the search form has it."""
    operation = query.operation_like or ""
    if query.operation is not None:
        operation = quoted(query.operation)
    given = {
        "q": "" if query.where is None else written(query.where),
        "service": query.service or "",
        "operation": operation,
        "kind": query.kind or "",
        "system": query.system or "",
        "start": _moment(query.start // 1000),
        "end": "" if query.end // 1000 >= _LAST else _moment(-(-query.end // 1000)),
        "shortest": "" if query.shortest is None else f"{query.shortest}ns",
        "longest": "" if query.longest is None else f"{query.longest}ns",
        "errors": "1" if query.errors else "",
        "logs": " ".join(query.logs),
        "limit": str(min(query.limit, _MOST)),
        "sort": query.sort,
    }
    return {name: value for name, value in given.items() if value}


def _moment(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()


def _summary(document: dict[str, Any]) -> Summary:
    start = document["start_unix_nano"]
    return Summary(
        trace_id=bytes.fromhex(document["trace_id"]),
        root_service=document["service"],
        root_operation=document["operation"],
        root_kind=document["kind"],
        start=start,
        end=start + document["duration_nano"],
        spans=document["spans"],
        errors=document["errors"],
        orphans=document["orphans"],
        services=tuple(ServiceCount(name, **counts) for name, counts in document["services"].items()),
    )
