"""Why one trace took longer than another: by what its critical path was spent on, and by operation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.comparison import Row, compare_scenes
from causal_otel.causality.explanation.explain import MOST_BYTES
from causal_otel.causality.explanation.scene import Scene
from causal_otel.causality.spans.targets import named, system_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.comparison import Change
    from causal_otel.causality.explanation.shares import Phase
    from causal_otel.causality.spans import Span, Trace

__all__ = ["CategoryDelta", "Difference", "OperationDelta", "difference"]

_LEAST = 0.01
_MOST_NAMED = 5
_MOST_OPERATIONS = 12
_CHANGED: tuple[Change, ...] = ("slower", "faster", "only-a", "only-b")


@dataclass(frozen=True, slots=True)
class CategoryDelta:
    """What the critical paths were spent on: nanoseconds of one thing in each."""

    kind: str
    category: str
    a: int
    b: int

    @property
    def delta(self) -> int:
        """Nanoseconds more in b."""
        return self.b - self.a

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "kind": self.kind,
            "category": self.category,
            "a_seconds": self.a / 1e9,
            "b_seconds": self.b / 1e9,
            "delta_seconds": self.delta / 1e9,
        }


@dataclass(frozen=True, slots=True)
class OperationDelta:
    """The spans of one operation at one place in both traces.

    Attributes:
        name: the operation, with its service, and what it talks to.
        change: ``slower``, ``faster``, ``only-a`` or ``only-b``.
        a_spans: how many there are in a.
        b_spans: in b.
        a: nanoseconds in them together, in a.
        b: in b.
        explains: nanoseconds of the difference between the traces that are theirs, by the critical paths.
        waits: those of them that are waiting, such as for a connection; the rest is their own time.
    """

    name: str
    change: Change
    a_spans: int
    b_spans: int
    a: int
    b: int
    explains: int
    waits: int

    def text(self) -> str:
        """The line."""
        if self.change in ("only-a", "only-b"):
            spans, spent = (self.a_spans, self.a) if self.change == "only-a" else (self.b_spans, self.b)
            times = f" ×{spans}" if spans > 1 else ""
            return f"{self.name}{times}, {format_duration(spent)}: only in {self.change[-1].upper()}"
        counts = f" (×{self.a_spans}, now ×{self.b_spans})" if self.a_spans != self.b_spans else ""
        return f"{self.name}{counts}: {format_duration(self.a)}, now {format_duration(self.b)}"

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "operation": self.name,
            "change": self.change,
            "a": {"spans": self.a_spans, "seconds": self.a / 1e9},
            "b": {"spans": self.b_spans, "seconds": self.b / 1e9},
            "explains_seconds": self.explains / 1e9,
            "explains": {"own_seconds": (self.explains - self.waits) / 1e9, "waits_seconds": self.waits / 1e9},
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Why b took longer than a, or less.

    Attributes:
        a: a's id, service and operation.
        b: likewise.
        a_nanoseconds: until a's answer.
        b_nanoseconds: until b's.
        categories: what the time to the answers was spent on, the largest difference first; they add up to the whole.
        operations: those that differ notably, by how much of the difference they explain; no more than fit in the text.
        left_out: how many more there are.
    """

    a: tuple[str, str, str]
    b: tuple[str, str, str]
    a_nanoseconds: int
    b_nanoseconds: int
    categories: tuple[CategoryDelta, ...]
    operations: tuple[OperationDelta, ...]
    left_out: int

    @property
    def sentence(self) -> str:
        """The difference and what it was spent on."""
        delta = self.b_nanoseconds - self.a_nanoseconds
        times = f"{format_duration(self.b_nanoseconds)} instead of {format_duration(self.a_nanoseconds)}"
        if not delta:
            text = f"B took as long as A, {format_duration(self.a_nanoseconds)}"
        else:
            text = f"B took {format_duration(abs(delta))} {'longer' if delta > 0 else 'less'} than A, {times}"
        least = _LEAST * max(self.a_nanoseconds, self.b_nanoseconds)
        notable = [each for each in self.categories if abs(each.delta) >= max(1, least)]
        said = [
            f"{format_duration(abs(each.delta))} {'more' if each.delta > 0 else 'less'} {each.category}"
            for each in notable[:_MOST_NAMED]
        ]
        return f"{text}: {', '.join(said)}" if said else f"{text}: nothing differs notably"

    def text(self) -> str:
        """The difference for people, at most 2,000 bytes, without a line end."""
        return "\n".join(_lines(self))

    def document(self) -> dict[str, Any]:
        """The same for programs, as JSON has it. Times are seconds."""
        return {
            "sentence": self.sentence,
            **{
                side: {"trace_id": trace_id, "service": service, "operation": operation, "seconds": nanoseconds / 1e9}
                for side, (trace_id, service, operation), nanoseconds in (
                    ("a", self.a, self.a_nanoseconds),
                    ("b", self.b, self.b_nanoseconds),
                )
            },
            "categories": [each.document() for each in self.categories],
            "operations": [each.document() for each in self.operations],
            "operations_left_out": self.left_out,
        }


def difference(a: Trace[Span], b: Trace[Span]) -> Difference:
    """Why ``b`` took longer than ``a`` to its answer, or less."""
    scenes = Scene(a), Scene(b)
    phases = scenes[0].answer, scenes[1].answer
    rows = [row for row in compare_scenes(*scenes, "answer").paths if row.change in _CHANGED]
    rows.sort(key=lambda row: (-abs(row.explains), -abs(row.delta), row.service, row.operation))
    operations = [_operation(row) for row in rows]
    found = Difference(
        _told(scenes[0]),
        _told(scenes[1]),
        phases[0].nanoseconds,
        phases[1].nanoseconds,
        tuple(_categories(*phases)),
        (),
        len(operations),
    )
    for number in range(min(len(operations), _MOST_OPERATIONS), -1, -1):
        filled = replace(found, operations=tuple(operations[:number]), left_out=len(operations) - number)
        if len(filled.text().encode()) <= MOST_BYTES:
            return filled
    return found


def _told(scene: Scene) -> tuple[str, str, str]:
    root = scene.root
    return (scene.trace.trace_id, root.service, root.name) if root is not None else (scene.trace.trace_id, "", "")


def _categories(a: Phase, b: Phase) -> list[CategoryDelta]:
    times: dict[tuple[str, str], list[int]] = {}
    for side, phase in enumerate((a, b)):
        for share in phase.shares:
            times.setdefault((share.kind, share.category), [0, 0])[side] += share.nanoseconds
    deltas = [CategoryDelta(*key, *both) for key, both in times.items()]
    return sorted(deltas, key=lambda each: (-abs(each.delta), each.category, each.kind))


def _operation(row: Row) -> OperationDelta:
    system = system_name(row.system)
    name = f"{named(row.service)}: {named(row.operation)}{f' ({system})' if system else ''}"
    return OperationDelta(name, row.change, row.a.spans, row.b.spans, row.a.total, row.b.total, row.explains, row.waits)


def _lines(found: Difference) -> Iterator[str]:
    yield found.sentence
    for side, (trace_id, service, operation) in (("A", found.a), ("B", found.b)):
        yield f"{side}: {named(service)}: {named(operation)}, trace {trace_id}"
    if found.operations:
        yield "\nOperations that differ, in A and now in B:"
        yield from (f"  {each.text()}" for each in found.operations)
    if found.left_out:
        yield f"{found.left_out} more differ."
