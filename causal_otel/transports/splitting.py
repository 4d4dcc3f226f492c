"""A request that is too large for a back end, as two requests of half its spans."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from causal_otel.transports.transport import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.transports.transport import Outcome, Request

__all__ = ["DECIDED", "halves", "in_pieces"]

DECIDED = frozenset({Verdict.DELIVERED, Verdict.REFUSED, Verdict.TOO_LARGE})
"""Verdicts that another attempt would not change. What is too large has been halved down to a single span by then."""


def halves(payload: bytes) -> tuple[Request, Request] | None:
    """Both halves of a request, in the order of its spans, with how many are in each.

    Args:
        payload: an encoded ``ExportTraceServiceRequest``.

    Returns:
        None where there is nothing to split: a single span, or no such message.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        message: Any = ExportTraceServiceRequest.FromString(payload)
    except DecodeError:
        return None
    spans = sum(len(scoped.spans) for group in message.resource_spans for scoped in group.scope_spans)
    if spans < 2:
        return None
    first, second = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    left = spans // 2
    for group in message.resource_spans:
        groups: dict[int, Any] = {}  # the group anew, in each half that gets something of it
        for scoped in group.scope_spans:
            cut = min(left, len(scoped.spans))
            left -= cut
            for half, part in ((first, scoped.spans[:cut]), (second, scoped.spans[cut:])):
                if not part:
                    continue
                if id(half) not in groups:
                    groups[id(half)] = half.resource_spans.add(schema_url=group.schema_url)
                    groups[id(half)].resource.CopyFrom(group.resource)
                into = groups[id(half)].scope_spans.add(schema_url=scoped.schema_url)
                into.scope.CopyFrom(scoped.scope)
                into.spans.extend(part)
    return (first.SerializeToString(), spans // 2), (second.SerializeToString(), spans - spans // 2)


def in_pieces(
    request: Request,
    attempt: Callable[[Request], Outcome | None],
    settle: Callable[[Request, Outcome], None],
) -> Request | None:
    """Send a request, in as many pieces as the other side wants.

    Args:
        request: what to send.
        attempt: tries once; None: it failed and may be tried again later, so this is the end for now.
        settle: told of each piece what the other side has decided about it.

    Returns:
        What is left to be sent later; None: nothing.
    """
    pieces = deque([request])
    while pieces:
        piece = pieces[0]
        outcome = attempt(piece)
        if outcome is None:
            # Repeated fields of one message that is written in parts are joined: so these are one request.
            return b"".join(payload for payload, _ in pieces), sum(spans for _, spans in pieces)
        pieces.popleft()
        if outcome.verdict is Verdict.TOO_LARGE and (parts := halves(piece[0])) is not None:
            pieces.extendleft(reversed(parts))
        else:
            settle(piece, outcome)
    return None
