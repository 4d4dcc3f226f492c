"""What was tried more than once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, alike, call, finding, times
from causal_otel.causality.explanation.findings.statements import place
from causal_otel.causality.spans.parts import measured
from causal_otel.causality.spans.sequences import together
from causal_otel.causality.spans.targets import named, task_name
from causal_otel.names import (
    CAUSAL_ATTEMPTS,
    CAUSAL_RETRY_WAIT,
    CELERY_TASK_RETRIES,
    CELERY_TASK_RETRY_REASON,
    ERROR_TYPE,
    HTTP_REQUEST_RESEND_COUNT,
    HTTP_RESPONSE_STATUS_CODE,
    MESSAGING_MESSAGE_ID,
    TASKIQ_TASK_RETRIES,
    TASKIQ_TASK_RETRY_REASON,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_SHOWN = 4


def find(scene: Scene) -> Iterator[Finding]:
    """Attempts of a driver, requests that were sent again, and tasks that were retried."""
    yield from _of_drivers(scene)
    yield from _of_requests(scene)
    yield from _of_tasks(scene)


def _of_drivers(scene: Scene) -> Iterator[Finding]:
    for spans in alike(span for span in scene.spans if _number(span, CAUSAL_ATTEMPTS) > 1):
        attempts = max(_number(span, CAUSAL_ATTEMPTS) for span in spans)
        pause = sum(measured(span.attributes, CAUSAL_RETRY_WAIT) for span in spans)
        pausing = f", {format_duration(pause)} of it pausing between them" if pause else ""
        spent, upto = together(spans), "up to " if len(spans) > 1 else ""
        said = f"{call(spans[0])}{times(spans)} took {upto}{attempts} attempts and {format_duration(spent)}{pausing}"
        yield finding(scene, "retries", said, spent, spans)


def _of_requests(scene: Scene) -> Iterator[Finding]:
    """Requests beside each other of which the later ones say that they are sent again, for a failure."""
    siblings: defaultdict[tuple[int, str, str], list[Span]] = defaultdict(list)
    for span in scene.spans:
        if span.kind == "client":
            above = -1 if span.parent is None else span.parent.index
            siblings[above, place(span), span.name].append(span)
    for spans in siblings.values():
        spans.sort(key=lambda each: (each.start, each.end, each.span_id))
        for run in _runs(spans):
            if len(run) > 1 and any(map(_failed, run[:-1])):
                spent = together(run)
                outcomes = ", ".join(_outcome(each) for each in run[:_SHOWN]) + (", …" if len(run) > _SHOWN else "")
                said = f"{call(run[0])} was sent {len(run)} times ({outcomes}), {format_duration(spent)}"
                yield finding(scene, "retries", said, spent, run)


def _runs(spans: Sequence[Span]) -> list[list[Span]]:
    """Requests, each with those after it that say how often it was sent before."""
    runs: list[list[Span]] = []
    for span in spans:
        if runs and _number(span, HTTP_REQUEST_RESEND_COUNT) == len(runs[-1]):
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs


def _of_tasks(scene: Scene) -> Iterator[Finding]:
    attempts: defaultdict[str, list[Span]] = defaultdict(list)
    for span in scene.spans:
        if span.kind == "consumer" and (message := span.attributes.get(MESSAGING_MESSAGE_ID)):
            attempts[str(message)].append(span)
    for spans in attempts.values():
        retried = max(map(_retries, spans))
        if not retried:
            continue
        spans.sort(key=lambda each: (each.start, each.end, each.span_id))
        spent = spans[-1].end - spans[0].start
        said = f"the task {task_name(spans[0])} was retried {_times(retried)}{_reason(spans)}, {format_duration(spent)}"
        yield finding(scene, "retries", said, spent, spans)


def _retries(span: Span) -> int:
    return max(_number(span, CELERY_TASK_RETRIES), _number(span, TASKIQ_TASK_RETRIES))


def _reason(spans: Sequence[Span]) -> str:
    for span in spans:
        reason = span.attributes.get(CELERY_TASK_RETRY_REASON) or span.attributes.get(TASKIQ_TASK_RETRY_REASON)
        if reason:
            return f" for {named(str(reason))}"
    return ""


def _failed(span: Span) -> bool:
    """Whether it was sent again because it had failed, and not as a redirect or for authentication."""
    status = _number(span, HTTP_RESPONSE_STATUS_CODE)
    return status == 429 or status >= 500 or (span.error and not status)


def _outcome(span: Span) -> str:
    return named(str(span.attributes.get(HTTP_RESPONSE_STATUS_CODE) or span.attributes.get(ERROR_TYPE) or "no answer"))


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _number(span: Span, key: str) -> int:
    value = span.attributes.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
