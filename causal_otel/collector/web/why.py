"""Why a trace took so long, as its page shows it: the sentence, a bar of all shares, and the findings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.explanation.sentence import told
from causal_otel.causality.explanation.shares import percent
from causal_otel.collector.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation import Explanation, Finding, Phase
    from causal_otel.collector.analysis import Explained

__all__ = ["FindingView", "ShareBar", "ShareView", "Text", "Why", "why"]

_LEAST_WIDTH = 0.3
_SHOWN = 5

_LOOKS = {
    "database": (0, ""),
    "fetch": (0, "fetch"),
    "redis_lock": (1, "lock-wait"),
    "lock_wait": (1, "lock-wait"),
    "pool_wait": (1, "pool-wait"),
    "thread_wait": (1, "thread-pool"),
    "queue_wait": (1, "send"),
    "worker_busy": (1, "receive"),
    "not_due": (1, "retry-wait"),
    "ready_wait": (1, "fetch"),
    "retry_wait": (1, "retry-wait"),
    "connect": (3, "connect"),
    "pool_setup": (3, "pool-setup"),
    "discovery": (3, "discovery"),
    "remote": (4, ""),
    "network": (4, "fetch"),
    "publish": (4, "send"),
    "receive": (5, "receive"),
    "send": (5, "send"),
    "own_code": (2, ""),
    "computing": (2, "server"),
    "garbage_collection": (6, "lock-wait"),
    "loop_blocked": (5, "loop-blocked"),
    "untraced": (12, "nothing"),
    "unawaited_task": (14, "retry-wait"),
    "other": (13, ""),
}
"""How the kinds of shares look: a colour, and a pattern over it. Both are those of bars, so neither is needed alone."""

_TRACE = re.compile(r"\btrace ([0-9a-f]{32})\b")


class Text(NamedTuple):
    """A piece of a text; ``trace_id`` is of the trace that it names, or empty."""

    text: str
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class ShareView:
    """A share in the bar and in the legend: x and width in per cent; ``again`` is how many before it look the same."""

    colour: int
    pattern: str
    again: int
    x: float
    width: float
    percent: str
    label: str
    took: str


@dataclass(frozen=True, slots=True)
class ShareBar:
    """A time of the trace; ``says`` tells its shares to who cannot see them."""

    title: str
    took: str
    says: str
    shares: tuple[ShareView, ...]


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding.

    Attributes:
        text: what it says.
        span_ids: of the first spans that it is about, those that are in this trace.
        more: how many others there are.
    """

    text: tuple[Text, ...]
    span_ids: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Why:
    """All of it; ``left_out`` is how many findings are left out."""

    sentence: tuple[Text, ...]
    bars: tuple[ShareBar, ...]
    findings: tuple[FindingView, ...]
    left_out: int


def why(explained: Explained) -> Why:
    """What the page of a trace says above its waterfall."""
    explanation = explained.explanation
    return Why(
        sentence=tuple(_pieces(explanation.sentence)),
        bars=tuple(_bars(explanation)),
        findings=tuple(_finding(explained, finding) for finding in explanation.findings),
        left_out=explanation.left_out,
    )


def _bars(explanation: Explanation) -> Iterator[ShareBar]:
    yield _bar("to the answer", explanation.answer)
    if explanation.afterwards is not None:
        yield _bar("then, to the end of all work", explanation.afterwards)


def _bar(title: str, phase: Phase) -> ShareBar:
    named, rest = told(phase.shares)
    shown = [(share.kind, share.label, share.nanoseconds, share.share) for share in named]
    if rest:
        shown.append(("other", "other", sum(share.nanoseconds for share in rest), sum(share.share for share in rest)))
    views: list[ShareView] = []
    seen: list[tuple[int, str]] = []
    at = 0.0
    for kind, label, nanoseconds, share in shown:
        looks = _LOOKS.get(kind, _LOOKS["other"])
        width = max(_LEAST_WIDTH, 100 * share)
        views.append(
            ShareView(
                *looks,
                sum(each == looks for each in seen),
                round(at, 3),
                round(width, 3),
                percent(share),
                label,
                format_duration(nanoseconds),
            )
        )
        at += 100 * share
        seen.append(looks)
    took = format_duration(phase.nanoseconds)
    said = ", ".join(f"{view.percent} {view.label}" for view in views)
    return ShareBar(title, took, f"{took} {title}: {said}" if said else f"{took} {title}", tuple(views))


def _finding(explained: Explained, finding: Finding) -> FindingView:
    here = [each for each in finding.span_ids if explained.view.span(each) is not None]
    shown = tuple(here[:_SHOWN])
    return FindingView(tuple(_pieces(finding.sentence)), shown, max(0, finding.spans - len(shown)))


def _pieces(text: str) -> Iterator[Text]:
    """The text, with the traces that it names apart."""
    at = 0
    for match in _TRACE.finditer(text):
        yield Text(text[at : match.start()])
        yield Text(match[0], match[1])
        at = match.end()
    yield Text(text[at:])
