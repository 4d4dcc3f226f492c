"""A request that is too large for a back end, as two requests of half its records."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from causal_otel.transports.requests import TRACES, RequestKind
from causal_otel.transports.transport import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.transports.transport import Outcome, Request

__all__ = ["DECIDED", "halves", "in_pieces"]

DECIDED = frozenset({Verdict.DELIVERED, Verdict.REFUSED, Verdict.TOO_LARGE})
"""Verdicts that another attempt would not change. What is too large has been halved down to a single record by then."""


def halves(payload: bytes, kind: RequestKind = TRACES) -> tuple[Request, Request] | None:
    """Both halves of a request, in the order of its records, with how many are in each.

    Args:
        payload: an encoded request.
        kind: which message it is.

    Returns:
        None where there is nothing to split: a single record, or no such message.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    request = kind.message()
    by_resource, by_scope, records = kind.fields
    try:
        message: Any = request.FromString(payload)
    except DecodeError:
        return None
    scopes = [scoped for group in getattr(message, by_resource) for scoped in getattr(group, by_scope)]
    count = sum(len(getattr(scoped, records)) for scoped in scopes)
    if count < 2:
        return None
    first, second = request(), request()
    left = count // 2
    for group in getattr(message, by_resource):
        groups: dict[int, Any] = {}  # the group anew, in each half that gets something of it
        for scoped in getattr(group, by_scope):
            whole = getattr(scoped, records)
            cut = min(left, len(whole))
            left -= cut
            for half, part in ((first, whole[:cut]), (second, whole[cut:])):
                if not part:
                    continue
                if id(half) not in groups:
                    groups[id(half)] = getattr(half, by_resource).add(schema_url=group.schema_url)
                    groups[id(half)].resource.CopyFrom(group.resource)
                into = getattr(groups[id(half)], by_scope).add(schema_url=scoped.schema_url)
                into.scope.CopyFrom(scoped.scope)
                getattr(into, records).extend(part)
    return (first.SerializeToString(), count // 2), (second.SerializeToString(), count - count // 2)


def in_pieces(
    request: Request,
    attempt: Callable[[Request], Outcome | None],
    settle: Callable[[Request, Outcome], None],
    kind: RequestKind = TRACES,
) -> Request | None:
    """Send a request, in as many pieces as the other side wants.

    Args:
        request: what to send.
        attempt: tries once; None: it failed and may be tried again later, so this is the end for now.
        settle: told of each piece what the other side has decided about it.
        kind: of the request.

    Returns:
        What is left to be sent later; None: nothing.
    """
    pieces = deque([request])
    while pieces:
        piece = pieces[0]
        outcome = attempt(piece)
        if outcome is None:
            # Repeated fields of one message that is written in parts are joined: so these are one request.
            return b"".join(payload for payload, _ in pieces), sum(records for _, records in pieces)
        pieces.popleft()
        if outcome.verdict is Verdict.TOO_LARGE and (parts := halves(piece[0], kind)) is not None:
            pieces.extendleft(reversed(parts))
        else:
            settle(piece, outcome)
    return None
