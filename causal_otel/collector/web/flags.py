"""What is special about a span, in a word or two behind its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.spans.targets import named
from causal_otel.collector.web.legend import TASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.collector.analysis import Explained, SpanView

__all__ = ["Flag", "flags"]

_LONGEST_MESSAGE = 500


class Flag(NamedTuple):
    """Its CSS class, what it says, and what that means."""

    kind: str
    text: str
    meaning: str


def flags(explained: Explained, span: SpanView) -> tuple[Flag, ...]:
    """Those of a span."""
    if span.index not in explained.task_of and not _is_special(span):
        return ()
    return (*_errors(span), *_task(explained, span), *_others(span))


def _is_special(span: SpanView) -> bool:
    return bool(span.error or span.errors_below or span.orphan or span.detached or span.warnings)


def _errors(span: SpanView) -> Iterator[Flag]:
    if span.error:
        yield Flag("error", "error", span.status_message[:_LONGEST_MESSAGE] or "its status is an error")
    if span.errors_below:  # shown while it is collapsed
        yield Flag("error below", f"{span.errors_below} below", "spans below it have failed")


def _task(explained: Explained, span: SpanView) -> Iterator[Flag]:
    """Where it ran in another task than the span above it; at the task's end, whether nobody waited for it."""
    if (own := explained.own_task(span)) is not None:
        started = "" if own.started_in is None else f", started in {named(own.started_in.name)}"
        waited = "" if own.waiter is None else f"; task {own.waiter} waited for it"
        yield Flag(TASK, f"#{own.title}", f"it ran in an asyncio task of its own{started}{waited}")
    run = explained.task_of.get(span.index)
    if run is not None and run.fate == "unawaited" and span is run.last:
        yield Flag("warning", "not awaited", "nobody waited for its task, which has outlived the span that started it")


def _others(span: SpanView) -> Iterator[Flag]:
    if span.detached:
        yield Flag("detached", "detached", "nobody waited for it")
    if span.orphan:
        yield Flag("warning", "orphan", "the span that it names as its parent is not here")
    elif span.skew:
        yield Flag("warning", "clock", "; ".join(span.warnings) or "its clock differs, as its parent's does")
    elif span.warnings:
        yield Flag("warning", "warning", "; ".join(span.warnings))
