"""Canvases: what is sent as one is one trace, also outside any span.

A group and a chord send several messages. Outside any span each would begin a trace; so there is a span around them,
``send group`` or ``send chord`` (INTERNAL). A chain sends one message, its first.

What a canvas says of the messages that are sent in it, such as the size of a chord, is in the context meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from causal_otel.engine import w3c
from causal_otel.engine.context import current, current_span, with_span
from causal_otel.instrument.calls import Inside, argument, traced_call
from causal_otel.instrument.operation import Operation
from causal_otel.patches.celery.attempt import ATTEMPT
from causal_otel.patches.celery.edges import GROUP
from causal_otel.patches.celery.headers import CHORD_SIZE, field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.tracing import Tracing

__all__ = ["CANVAS", "CHORD_UNLOCK", "Canvas", "wrap_chord", "wrap_group"]

CHORD_UNLOCK = "celery.chord_unlock"
"""The task that polls the header of a chord until it is done, where the result backend cannot tell. It is no span,
neither where it is sent nor where it is executed, and hands its context on."""

CANVAS = create_key("causal-otel-celery-canvas")
"""The key in a context of the :class:`Canvas` that is being sent."""

_GROUP = Operation("send group", {}, kind=SpanKind.INTERNAL, measured=False)
_CHORD = Operation("send chord", {}, kind=SpanKind.INTERNAL, measured=False)


class Canvas(NamedTuple):
    """A group that is being sent, or a chord's header.

    Attributes:
        sender: the link to the span that sends it.
        sizes: of the chord whose header it is, and of those around that.
    """

    sender: str
    sizes: str


def _begin(tracing: Tracing[Any], operation: Operation, canvas: Any, sizes: str | None) -> Call | None:
    """Begin to send a canvas. ``sizes``: None: those of the canvas around it."""
    if _app(canvas).conf.task_always_eager:
        return None
    around = current()
    running = None
    if current_span(around) is None:
        running = tracing.begin(operation)
        around = with_span(running.span, around)
    span = current_span(around)
    traceparent = None if span is None else w3c.traceparent(span)
    if sizes is None:
        outer: Any = around.get(CANVAS)
        sizes = "" if outer is None else outer.sizes
    sent = Canvas(f"{GROUP}={traceparent}" if traceparent else "", sizes)
    inside = Context({**around, CANVAS: sent})
    if running is None:
        return Inside(inside)
    running.inside = inside
    return running


def _begin_group(tracing: Tracing[Any], group: Any, args: Args, kwargs: Kwargs) -> Call | None:
    return _begin(tracing, _GROUP, group, None)


def _begin_chord(tracing: Tracing[Any], chord: Any, args: Args, kwargs: Kwargs) -> Call | None:
    header = argument(0, "header", args, kwargs)
    context = current()
    outer: Any = context.get(CANVAS)
    attempt: Any = context.get(ATTEMPT)
    around = ""
    if outer is not None and outer.sizes:
        around = outer.sizes
    elif attempt is not None:  # it may be the next task of a chain that is a member itself
        around = str(field(attempt.request, CHORD_SIZE) or "")
    return _begin(tracing, _CHORD, chord, f"{_size(header)} {around}".rstrip())


class _Unknown(Exception):
    """Tasks come from a generator: what it raises is the user's, and is raised once."""


def _listed(tasks: Any) -> Sequence[Any]:
    """Tasks that are all there; Celery keeps those of a generator in a list of its own kind."""
    if type(tasks) not in (list, tuple):
        raise _Unknown
    listed: Sequence[Any] = tasks
    return listed


def _app(canvas: Any) -> Any:
    """Whose a canvas is, as Celery decides it, but that a generator of its tasks is not asked."""
    app = canvas._app
    if app is None:
        tasks = getattr(canvas.tasks, "tasks", canvas.tasks)  # of a chord: its header, nearly always a group
        app = tasks[0]._app if type(tasks) in (list, tuple) and tasks else None
    if app is None:
        from celery import current_app as app
    return app


def _size(header: Any) -> str:
    """How many members a chord's header has; ``?``: some of its tasks come from a generator, which nobody may hurry."""
    try:
        numbers = [_members(task) for task in _listed(header.tasks)]
    except _Unknown:
        return "?"
    return "0" if None in numbers else str(sum(number for number in numbers if number is not None))


def _members(task: Any) -> int | None:
    """How many members of a header a signature in it is.

    None: a chain that ends in a group. The group's members count in the header, but share their places in it with
    others.
    """
    kind = task.get("subtask_type")
    if kind not in ("group", "chain"):
        return 1
    tasks = _listed(task["kwargs"].get("tasks", ()))
    if kind == "group":
        numbers = [_members(each) for each in tasks]
        return None if None in numbers else sum(number for number in numbers if number is not None)
    if not tasks:
        return 0
    return None if tasks[-1].get("subtask_type") == "group" else 1


wrap_group = traced_call(_begin_group)
wrap_chord = traced_call(_begin_chord)
