"""Which part of a canvas a message is that is sent inside an attempt: it is linked to that attempt, with a role.

Celery sends the next task of a chain, callbacks, errbacks and the body of a chord with the ids that they were given
when the canvas was applied, and these stand in the attempt's message. Signatures that were never frozen, as callbacks
are, have no id; then the task's name tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.engine import w3c
from causal_otel.engine.context import current_span
from causal_otel.patches.celery import identity
from causal_otel.patches.celery.canvas import CHORD_UNLOCK
from causal_otel.patches.celery.edges import CALLBACK, CHAIN, CHORD_HEADER, ERRBACK, MOST_LINKS, RETRY
from causal_otel.patches.celery.headers import CHORD_SIZE, LINKS, carried, context_of, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.celery.attempt import Attempt

__all__ = ["Message", "add_edges", "is_rescheduled"]

_DIGITS = 10  # of a size; a header may hold anything


class Message:
    """What is known of a message that is being sent, in either task protocol.

    Attributes:
        name: the task's.
        about: ``id``, ``retries``, ``group``, ``group_index``.
        args: its positional arguments.
        chain: the tasks after it.
        chord: the body of the chord whose header it is a member of.
    """

    __slots__ = ("about", "args", "chain", "chord", "name")

    def __init__(self, name: str, message: Any) -> None:
        body = message.body
        self.name = name
        if isinstance(body, dict):  # task protocol 1
            self.about = embedded = body
            self.args = body.get("args")
        else:
            self.about = message.headers
            self.args, _, embedded = body
        self.chain, self.chord = embedded.get("chain"), embedded.get("chord")


def is_rescheduled(message: Message, attempt: Attempt) -> bool:
    """Whether an attempt sends its own task once more, neither as a retry nor in a canvas."""
    if message.name != attempt.name or message.chain or message.chord:
        return False
    about = message.about
    if about.get("group") or about.get("id") == attempt.request.get("id"):
        return False
    return _role(attempt, message) is None


def add_edges(fields: dict[str, Any], tracing: Tracing[Any], message: Message, attempt: Attempt) -> bool:
    """Add to what a message carries what it is linked to, and what it is a part of, by what the attempt is.

    Args:
        fields: what it carries.
        tracing: the patch's handle.
        message: the message.
        attempt: the attempt that sends it.

    Returns:
        Whether it is a retry or a part of the canvas that the attempt is a part of.
    """
    about, request = message.about, attempt.request
    span = None if attempt.running is None else attempt.running.span
    here = None if span is None or not span.is_recording() else w3c.traceparent(span)
    if about.get("id") == request.get("id"):
        if (about.get("retries") or 0) > (request.get("retries") or 0):
            _retry(fields, tracing, request, here)
        return True
    if attempt.name == CHORD_UNLOCK:
        role, group, size = CHORD_HEADER, request["args"][0], len((request.get("kwargs") or {}).get("result") or ())
        sizes = ""
    else:
        found = _role(attempt, message)
        if found is None:
            return False
        role, signature = found
        group, sizes = request.get("group"), str(field(request, CHORD_SIZE) or "")
        own, _, sizes_around = sizes.partition(" ")
        if role == CHORD_HEADER:
            size = int(own) if own.isdecimal() and len(own) < _DIGITS else _length(message.args)
            sizes = sizes_around
            if request.get("group_index") is None:
                size = 0  # before Celery 5.4 the tasks of a generator have no index, by which they would be known
        # Of a group only its members have an index, which is not theirs in the chord.
        if (
            sizes
            and role in (CHORD_HEADER, CHAIN)
            and (about.get("group_index") is None or _id(signature) == about.get("id"))
        ):
            fields[CHORD_SIZE] = sizes
    if role != CHORD_HEADER:
        if here is not None:
            fields[LINKS] = f"{role}={here}"
    elif tracing.ours and group and size:
        fields[LINKS] = _header_links(group, size)
    return True


def _retry(fields: dict[str, Any], tracing: Tracing[Any], request: Mapping[str, Any], here: str | None) -> None:
    """A retry has the parent of the attempt before, if both are in one trace, and its links."""
    size = field(request, CHORD_SIZE)
    if size is not None:
        fields[CHORD_SIZE] = size
    if here is None:
        return
    parent = current_span(context_of(tracing, request))
    before = []
    if parent is not None and f"{parent.get_span_context().trace_id:032x}" == here[3:35]:
        fields.update(carried(request))
        links = field(request, LINKS)
        before = [part for part in str(links or "").split(",") if part and not part.startswith(f"{RETRY}=")]
    fields[LINKS] = ",".join([*before, f"{RETRY}={here}"])


def _header_links(group: str, size: int) -> str:
    """Links to the first attempts at the members of a chord's header, in the current trace."""
    span = current_span()
    around = None if span is None else w3c.traceparent(span)
    if around is None:
        return ""
    ids = (identity.header_member(group, index) for index in range(min(size, MOST_LINKS)))
    return ",".join(f"{CHORD_HEADER}={around[:36]}{each:016x}{around[52:]}" for each in ids)


def _length(args: Any) -> int:
    """How many results the body of a chord is given."""
    results = args[0] if args else None
    return len(results) if isinstance(results, list | tuple) else 0


def _role(attempt: Attempt, message: Message) -> tuple[str, Mapping[str, Any]] | None:
    """The role of what is a part of the attempt's canvas, and which of its signatures that is, or belongs to."""
    roles = attempt.roles
    if roles is None:
        roles = attempt.roles = _roles(attempt)
    return (roles.get(message.about.get("id")) or roles.get((message.name,))) if roles else None


def _roles(attempt: Attempt) -> dict[Any, tuple[str, Mapping[str, Any]]]:
    """The roles of what Celery sends when an attempt ends, by ids, or by names in tuples where there is no id."""
    request, following = attempt.request, attempt.following
    chord = request.get("chord")
    expected: list[tuple[str, Any]] = [(CHAIN, following)] if following else []
    if chord:
        expected.append((CHORD_HEADER, chord))
        expected += [(ERRBACK, each) for each in _several((chord.get("options") or {}).get("link_error"))]
    expected += [(CALLBACK, each) for each in _several(request.get("callbacks"))]
    expected += [(ERRBACK, each) for each in _several(request.get("errbacks"))]
    found: dict[Any, tuple[str, Mapping[str, Any]]] = {}
    for role, signature in expected:
        for first in _first(signature):
            found.setdefault(_id(first) or (first.get("task"),), (role, signature))
    return found


def _several(signatures: Any) -> list[Any] | tuple[Any, ...]:
    if not signatures:
        return ()
    return signatures if isinstance(signatures, list | tuple) else [signatures]


def _first(signature: Any) -> Iterator[Mapping[str, Any]]:
    """The tasks that are sent where a signature is applied."""
    kind, inner = signature.get("subtask_type"), signature.get("kwargs") or {}
    if kind == "chain":
        for task in list(inner.get("tasks") or ())[:1]:
            yield from _first(task)
    elif kind in ("group", "chord"):
        members = inner.get("tasks" if kind == "group" else "header") or ()
        for task in (members,) if isinstance(members, dict) else members:
            yield from _first(task)
    else:
        yield signature


def _id(signature: Mapping[str, Any]) -> str | None:
    found: str | None = (signature.get("options") or {}).get("task_id")
    return found
