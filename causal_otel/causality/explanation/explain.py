"""The explanation of a trace: one sentence, the critical path as an outline, and findings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.categories import LOOP_BLOCKED
from causal_otel.causality.explanation.findings import Finding, findings
from causal_otel.causality.explanation.outline import Step, outline
from causal_otel.causality.explanation.scene import Scene
from causal_otel.causality.explanation.sentence import sentence
from causal_otel.causality.spans.stalls import stalled_by
from causal_otel.causality.spans.targets import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.explanation.shares import Phase
    from causal_otel.causality.spans import Span, Trace

__all__ = ["MOST_BYTES", "Explanation", "explain", "explanation_of"]

MOST_BYTES = 2000
"""How long the text of an explanation is at the most, in UTF-8."""

_MOST_STEPS = 8
_MOST_FINDINGS = 60
_PATH_BYTES = 700
"""What the outlines may take: the findings are more important."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a trace took as long as it did. It holds what fits in its text, and no more.

    Attributes:
        trace_id: in hexadecimal.
        service: of its root.
        operation: the root's name.
        sentence: where the time went, in one sentence.
        answer: the time to the answer, which is the end of the root.
        afterwards: the time from then on to the end of all work, if it is worth telling.
        steps: the critical path to the answer.
        later_steps: the critical path from then on.
        findings: what is odd about it, most important first.
        left_out: how many more findings there are.
    """

    trace_id: str
    service: str
    operation: str
    sentence: str
    answer: Phase
    afterwards: Phase | None
    steps: tuple[Step, ...]
    later_steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    left_out: int

    def text(self) -> str:
        """The explanation for people, at most :data:`MOST_BYTES`, without a line end."""
        return "\n".join(_lines(self))

    def document(self) -> dict[str, Any]:
        """The same for programs, as JSON has it. Times are seconds."""
        return {
            "trace_id": self.trace_id,
            "service": self.service,
            "operation": self.operation,
            "sentence": self.sentence,
            "seconds": self.answer.nanoseconds / 1e9,
            "shares": [share.document() for share in self.answer.shares],
            "afterwards": None
            if self.afterwards is None
            else {
                "seconds": self.afterwards.nanoseconds / 1e9,
                "shares": [share.document() for share in self.afterwards.shares],
                "path": [step.document() for step in self.later_steps],
            },
            "path": [step.document() for step in self.steps],
            "findings": [finding.document() for finding in self.findings],
            "findings_left_out": self.left_out,
        }


def explain(trace: Trace[Span], others: Iterable[Trace[Span]] = (), *, root: Span | None = None) -> Explanation:
    """Why a trace took as long as it did. The same spans give the same explanation, in whichever order they came.

    Args:
        trace: the trace.
        others: traces of the same time and processes: what held a pool, a lock or the event loop may be in them.
        root: whose time to explain; default: the trace's root, which is when a request is answered.
    """
    return explanation_of(Scene(trace, root, tuple(others)))


def explanation_of(scene: Scene) -> Explanation:
    """The same, of a scene that somebody else looks at as well."""
    trace = scene.trace
    steps = _within(outline(trace, scene.path, _MOST_STEPS, scene.root), _PATH_BYTES)
    later = _within(outline(trace, scene.path_afterwards, _MOST_STEPS), _PATH_BYTES - _size(steps))
    found = findings(scene)
    explained = Explanation(
        trace_id=trace.trace_id,
        service=scene.root.service if scene.root is not None else "",
        operation=scene.root.name if scene.root is not None else "",
        sentence=sentence(scene.answer, scene.afterwards, _asides(scene)),
        answer=scene.answer,
        afterwards=scene.afterwards,
        steps=steps,
        later_steps=later,
        findings=(),
        left_out=len(found),
    )
    return _filled(explained, found)


def _asides(scene: Scene) -> Iterator[str]:
    """Stalls that the trace has caused beside its critical path: at the cost of others."""
    on_path: dict[str, int] = {}
    for piece in (*scene.path, *scene.path_afterwards):
        if piece.category.kind == LOOP_BLOCKED and not piece.category.detail:
            on_path[piece.category.label] = on_path.get(piece.category.label, 0) + piece.duration
    caused: dict[str, int] = {}
    for stall in scene.caused:
        label = f"by {stalled_by(stall)}"
        caused[label] = caused.get(label, 0) + stall.duration
    for label, spent in sorted(caused.items(), key=lambda each: (-each[1], each[0]))[:1]:
        if 2 * on_path.get(label, 0) < spent:
            yield f"beside that, loop blocked {format_duration(spent)} {label}"


def _filled(explained: Explanation, found: Sequence[Finding]) -> Explanation:
    """The explanation with as many of the findings as its text has room for."""
    for number in range(min(len(found), _MOST_FINDINGS), -1, -1):
        filled = replace(explained, findings=tuple(found[:number]), left_out=len(found) - number)
        if len(filled.text().encode()) <= MOST_BYTES:
            return filled
    return explained


def _lines(explained: Explanation) -> Iterator[str]:
    yield explained.sentence
    yield f"{named(explained.service)}: {named(explained.operation)}, trace {explained.trace_id}"
    for title, steps in (
        ("What the answer waited for", explained.steps),
        ("What the end of all work waited for after that", explained.later_steps),
    ):
        if steps:
            yield f"\n{title}:"
            yield from (f"  {step.text()}" for step in steps)
    if explained.findings:
        yield "\nFindings:"
        yield from (finding.text() for finding in explained.findings)
    if explained.left_out:
        more = "more " if explained.findings else ""
        what = f"{more}finding is" if explained.left_out == 1 else f"{more}findings are"
        yield f"{explained.left_out} {what} left out."


def _within(steps: tuple[Step, ...], size: int) -> tuple[Step, ...]:
    """The steps without the shortest ones, as far as they would take more than so many bytes."""
    while steps and _size(steps) > size:
        last = min(range(len(steps)), key=lambda place: (steps[place].nanoseconds, -steps[place].depth, -place))
        steps = steps[:last] + steps[last + 1 :]
    return steps


def _size(steps: Iterable[Step]) -> int:
    return sum(len(step.text().encode()) + 3 for step in steps)
