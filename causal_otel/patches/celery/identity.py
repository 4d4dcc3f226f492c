"""The id of the span of an attempt at a task, which whoever knows the message can compute.

So the span of an attempt can be linked to where it was executed elsewhere, or has not begun yet: the attempt that a
redelivery repeats, whose worker may have been killed, and the members of a chord's header, whose body is sent by one of
them. A message that is delivered again, or given to another process of the pool, leads to another attempt, which has a
random id; so have the attempts at one that goes to several workers.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from causal_otel.engine.context import current_span
from causal_otel.patches.celery.headers import CHORD_SIZE, FANOUT, PUBLISHED, field
from causal_otel.patches.celery.pool_table import ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

__all__ = ["first_delivery", "header_member", "identity_of", "is_repeated", "span_id"]

_UUID_LENGTH = 36
_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15


def span_id(request: Mapping[str, Any]) -> int | None:
    """The id of the span of an attempt; None: a random one, since it is not the first one, or the message is not ours.

    Args:
        request: the message's headers, and ``delivery_info``, as ``celery.worker.request.Request.request_dict``.
    """
    return None if is_repeated(request) else first_delivery(request)


def is_repeated(request: Mapping[str, Any]) -> bool:
    """Whether there has been an attempt at the message: it was delivered before, or put back by this worker.

    Args:
        request: likewise.
    """
    delivery = request.get("delivery_info")
    if delivery and delivery.get("redelivered"):
        return True
    if not ATTEMPTS.has_put_back():
        return False
    first = first_delivery(request)
    return first is not None and ATTEMPTS.is_put_back(first)


def first_delivery(request: Mapping[str, Any]) -> int | None:
    """The id of the span of the attempt at the same message that it was delivered to first; None: nobody can know it.

    Args:
        request: likewise.
    """
    published = field(request, PUBLISHED)
    if not isinstance(published, (int, float)) or field(request, FANOUT):
        return None
    retries, group, index = request.get("retries") or 0, request.get("group"), request.get("group_index")
    # Members that are replaced or retried keep group and index. Members of groups inside groups share indices, and a
    # chord's body that is a group has the members' of its header: only those of a header have its size.
    is_first = not retries and not request.get("replaced_task_nesting")
    if group and index is not None and is_first and field(request, CHORD_SIZE) is not None:
        return header_member(group, index)
    return _mixed(request.get("id"), retries, published)


def identity_of(parent: Context, request: Mapping[str, Any]) -> tuple[int, int] | None:
    """The trace id and the span id of an attempt; None: any.

    Args:
        parent: the context that its parent is in.
        request: likewise.
    """
    span, found = current_span(parent), span_id(request)
    return None if span is None or found is None else (span.get_span_context().trace_id, found)


def header_member(group: str, index: int) -> int:
    """The id of the span of the first attempt at a member of a chord's header.

    Args:
        group: the id of the header, which is a group.
        index: the member's ``group_index``.
    """
    return _mixed(group, index)


def _mixed(text: Any, *numbers: float) -> int:
    """64 bits made of an id and of numbers, the same in all processes: Python seeds the hashes of texts alone."""
    bits = _bits(str(text))
    for number in numbers:
        bits = (bits ^ hash(number)) * _ODD & _MASK
    return bits or 1


def _bits(text: str) -> int:
    if len(text) == _UUID_LENGTH and text[14] == "4":  # 122 random bits: a digest would take three times as long
        try:
            number = int(text.replace("-", ""), 16)
        except ValueError:
            pass
        else:
            return (number ^ number >> 64) & _MASK
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big")
