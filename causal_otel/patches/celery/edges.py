"""What an attempt at a task follows from: its parent, and what it is linked to.

The parent is nearly always the span that sent the message. Other edges of a canvas are links, each with a role in its
attribute ``causal.link``:

===============  =======================================================================================================
``retry``        to the attempt before, whose parent is that of this one too
``redelivery``   to the first attempt at the same message, whose worker may have been lost
``chain``        to the attempt at the task before it in its chain
``group``        to the span in which the group was sent that it is a member of
``chord-header`` to the first attempts at each member of the chord's header, of which it is the body
``callback``     to the attempt at the task that it is linked to with ``link``
``errback``      to the attempt at the task that it is linked to with ``link_error``
``reschedule``   to the span that sent it inside an attempt at the same task; it begins a trace
``sender``       to the span that sent it, where the option ``link`` asks for a trace of its own
===============  =======================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, TraceFlags

from causal_otel.engine import w3c
from causal_otel.engine.context import SPAN_KEY
from causal_otel.names import CAUSAL_LINK
from causal_otel.patches.celery import identity
from causal_otel.patches.celery.headers import CHORD_SIZE, LINKS, context_of, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import Span

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.celery.options import CeleryOptions

__all__ = ["CALLBACK", "CHAIN", "CHORD_HEADER", "ERRBACK", "GROUP", "MOST_LINKS", "RESCHEDULE", "RETRY", "joined"]

CALLBACK, CHAIN, CHORD_HEADER, ERRBACK, GROUP = "callback", "chain", "chord-header", "errback", "group"
RESCHEDULE, RETRY = "reschedule", "retry"
_REDELIVERY, _SENDER = "redelivery", "sender"
_SENT = frozenset((CALLBACK, CHAIN, CHORD_HEADER, ERRBACK, GROUP, RESCHEDULE, RETRY))  # a message may say anything

MOST_LINKS = 128
"""The most links that a message carries: those to the members of a chord's header, mostly."""


def joined(
    tracing: Tracing[CeleryOptions], name: str, request: Mapping[str, Any]
) -> tuple[Context, Sequence[Link] | None]:
    """The context in which an attempt's parent is, if it has one, and its links; nothing of what is current here.

    Args:
        tracing: the patch's handle.
        name: the task's name.
        request: the message's headers and what Celery adds to them. Neither is changed.
    """
    context = context_of(tracing, request)
    parent: Span | None = context.get(SPAN_KEY)  # type: ignore[assignment]
    sender = None if parent is None else parent.get_span_context()
    text = field(request, LINKS)
    text = text if isinstance(text, str) else ""
    root = bool(text) and _says(text, RESCHEDULE)
    links: list[Link] = []
    when = tracing.options.link_when
    if sender is not None and not root and when.asks and _may_leave(text, request) and when.fits(name, request):
        root = True
        links.append(Link(sender, {CAUSAL_LINK: _SENDER}))
    if root:
        context = Context({key: value for key, value in context.items() if key != SPAN_KEY})
    elif sender is not None and not sender.trace_flags & TraceFlags.SAMPLED:
        return context, None
    if text:
        links += _links(text)
    if tracing.ours and sender is not None and not root and identity.is_repeated(request):
        first = identity.first_delivery(request)
        if first is not None:
            before = SpanContext(sender.trace_id, first, True, sender.trace_flags, sender.trace_state)
            links.append(Link(before, {CAUSAL_LINK: _REDELIVERY}))
    return context, links or None


def _may_leave(text: str, request: Mapping[str, Any]) -> bool:
    """Whether an attempt may leave the trace that it was sent in: not a retry, nor a member of a chord's header."""
    return not request.get("chord") and field(request, CHORD_SIZE) is None and not (text and _says(text, RETRY))


def _says(text: str, role: str) -> bool:
    """Whether there is a link with that role. No value has an equals sign in it."""
    return f"{role}=" in text


def _links(text: str) -> list[Link]:
    """The links of that header; what is malformed or of no known role is left out."""
    found = []
    for part in text.split(",", MOST_LINKS)[:MOST_LINKS]:
        role, _, header = part.partition("=")
        identity = w3c.span_context(header) if role in _SENT else None
        if identity is not None:
            found.append(Link(identity, {CAUSAL_LINK: role}))
    return found
