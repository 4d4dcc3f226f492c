"""The id of the span of an attempt at a task, which whoever knows the message can compute.

So the span of an attempt can be linked to where it was executed elsewhere, or has not begun yet: the attempt that a
redelivery repeats, whose worker may have been killed, and the members of a chord's header, whose body is sent by one of
them. A message that is delivered again leads to another attempt, which has a random id.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from causal_otel.patches.celery.attributes import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["first_delivery", "header_member", "span_id"]


def span_id(request: Mapping[str, Any]) -> int | None:
    """The id of the span of an attempt; None: a random one, since the message was delivered before, or is not ours.

    Args:
        request: the message's headers, and ``delivery_info``, as ``celery.worker.request.Request.request_dict``.
    """
    delivery = request.get("delivery_info")
    return None if delivery and delivery.get("redelivered") else first_delivery(request)


def first_delivery(request: Mapping[str, Any]) -> int | None:
    """The id of the span of the attempt at the same message that it was delivered to first; None: nobody can know it.

    Args:
        request: likewise.
    """
    published = request.get(PUBLISHED)
    if published is None:
        published = (request.get("headers") or {}).get(PUBLISHED)  # task protocol 1
    if not isinstance(published, int | float):
        return None
    retries, group, index = request.get("retries") or 0, request.get("group"), request.get("group_index")
    # Members that are replaced or retried keep group and index.
    if group and index is not None and not retries and not request.get("replaced_task_nesting"):
        return header_member(group, index)
    return _digest(f"{request.get('id')} {retries} {published!r}")


def header_member(group: str, index: int) -> int:
    """The id of the span of the first attempt at a member of a group, such as a chord's header.

    Args:
        group: the group's id.
        index: the member's ``group_index``.
    """
    return _digest(f"{group} {index}")


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big") or 1
