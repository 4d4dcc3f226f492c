"""The links to a trace from others: spans name what they link to, and the index knows in which chunks they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.attributes import plain_dict, service_name, text
from causal_otel.collector.query import Linking, LinkingSpan
from causal_otel.collector.store.candidates import TagIndex, Wanted
from causal_otel.collector.store.indexing import link_hash
from causal_otel.collector.store.open_days import OutOfTime, Skipped
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.store.open_days import Deadline, OpenDay

__all__ = ["linked_from"]


def linked_from(days: Sequence[OpenDay], trace_id: bytes, limit: int, deadline: Deadline) -> Linking:
    """Find the links to a trace's spans.

    Args:
        days: where to look, the newest first.
        trace_id: the trace.
        limit: how many at most.
        deadline: when to stop.
    """
    found: dict[tuple[bytes, bytes, bytes], LinkingSpan] = {}  # what was received twice is there twice
    try:
        for day in days:
            for link in _in_day(day, trace_id, deadline):
                if len(found) >= limit:
                    return Linking(tuple(found.values()), complete=False)
                found.setdefault((link.trace_id, link.span_id, link.linked), link)
    except OutOfTime:
        return Linking(tuple(found.values()), complete=False)
    return Linking(tuple(found.values()))


def _in_day(day: OpenDay, trace_id: bytes, deadline: Deadline) -> Iterator[LinkingSpan]:
    hashes = [link_hash(trace_id)]
    try:
        with day.reading(deadline) as db:
            deadline.check()
            for chunk in sorted(TagIndex(db, {}).chunks(Wanted(hashes, [hashes])), reverse=True):
                deadline.check()
                row = db.execute("SELECT body FROM chunk WHERE id = ?", (chunk,)).fetchone()
                trace = db.unpack(row[0]) if row is not None else None
                if trace is not None:
                    yield from _links(trace, trace_id)
    except Skipped:
        return


def _links(trace: TracesData, trace_id: bytes) -> Iterator[LinkingSpan]:
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                for link in span.links:
                    if link.trace_id == trace_id != span.trace_id:
                        role = text(plain_dict(link.attributes).get(CAUSAL_LINK))
                        yield LinkingSpan(
                            trace_id=span.trace_id,
                            span_id=span.span_id,
                            service=service_name(group.resource),
                            operation=span.name,
                            start=span.start_time_unix_nano,
                            linked=link.span_id,
                            role=role,
                        )
