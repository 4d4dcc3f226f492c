"""What an attempt at a task follows from: its parent, and what it is linked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel.engine import carriers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import Link

    from causal_otel.instrument.tracing import Tracing

__all__ = ["joined"]


def joined(tracing: Tracing[Any], name: str, headers: Mapping[str, Any]) -> tuple[Context, Sequence[Link] | None]:
    """The context in which an attempt's parent is, if it has one, and its links; nothing of what is current here.

    Args:
        tracing: the patch's handle.
        name: the task's name.
        headers: the message's.
    """
    texts = {key: value for key, value in headers.items() if isinstance(value, str)}
    tracing.border.admit(texts)
    return carriers.extract(texts, Context()), None
