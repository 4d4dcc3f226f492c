"""The traces of the slowest tests as one HTML file, which needs no server, no script and nothing from elsewhere."""

from __future__ import annotations

import base64
import heapq
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel._internal.durations import format_duration
from causal_otel._version import __version__
from causal_otel.causality.explanation import explain
from causal_otel.testing.reading import views
from causal_otel.testing.report_style import STYLE, STYLE_HASH
from causal_otel.testing.trees import describe, forest, indented

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from causal_otel.collector.view import SpanView, TraceView
    from causal_otel.testing.trees import Node

__all__ = ["Slowest", "Test", "packed", "write"]

_MOST_TESTS = 20
_MOST_ROWS = 500
_LONGEST_VALUE = 2000
_DEEPEST = 24


@dataclass(frozen=True, order=True, slots=True)
class Test:
    """A test of the report.

    Attributes:
        seconds: how long its call took.
        node_id: pytest's name of it.
        outcome: ``passed``, ``failed`` or ``skipped``.
        trace: its traces, see :func:`packed`.
    """

    __test__ = False  # no test, whatever its name begins with

    seconds: float
    node_id: str
    outcome: str
    trace: str = ""


class Slowest:
    """The slowest of all tests that it is told of."""

    def __init__(self) -> None:
        self._tests: list[Test] = []

    def is_one(self, seconds: float) -> bool:
        """Whether a test that takes so long is among them so far."""
        return len(self._tests) < _MOST_TESTS or seconds > self._tests[0].seconds

    def add(self, seconds: float, node_id: str, outcome: str, trace: str = "") -> None:
        """Tell of a test."""
        push = heapq.heappush if len(self._tests) < _MOST_TESTS else heapq.heappushpop
        push(self._tests, Test(seconds, node_id, outcome, trace))

    def all(self) -> list[Test]:
        """They, the slowest first."""
        return sorted(self._tests, reverse=True)


def packed(traces: Iterable[TracesData]) -> str:
    """Traces as text that a report of pytest can carry from one process to another."""
    return "\n".join(base64.b64encode(trace.SerializeToString()).decode("ascii") for trace in traces)


def _unpacked(text: str) -> list[TraceView]:
    return views([TracesData.FromString(base64.b64decode(line)) for line in text.splitlines()])


def write(file: Path, tests: Sequence[Test]) -> None:
    """Write the report.

    Args:
        file: where to.
        tests: in their order.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(_page(tests)), encoding="utf-8")


def _page(tests: Sequence[Test]) -> Iterator[str]:
    title = "The slowest tests"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{STYLE_HASH}'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    )
    if not tests:
        yield '<p class="muted">No test has recorded a trace.</p>\n'
    else:
        yield '<table class="tests"><thead><tr><th>Test</th><th>Outcome</th><th>Call</th></tr></thead><tbody>\n'
        for number, test in enumerate(tests, 1):
            yield (
                f'<tr><td><a href="#test-{number}">{escape(test.node_id)}</a></td>'
                f'<td class="{escape(test.outcome)}">{escape(test.outcome)}</td>'
                f"<td>{format_duration(round(test.seconds * 1e9))}</td></tr>\n"
            )
        yield "</tbody></table>\n"
    for number, test in enumerate(tests, 1):
        yield from _test(number, test)
    yield f'</main>\n<footer class="muted">causal_otel {escape(__version__)}</footer>\n</body>\n</html>\n'


def _test(number: int, test: Test) -> Iterator[str]:
    yield (
        f'<section id="test-{number}">\n<h2>{escape(test.node_id)}</h2>\n<p class="muted">'
        f'<span class="{escape(test.outcome)}">{escape(test.outcome)}</span>, '
        f"{format_duration(round(test.seconds * 1e9))}</p>\n"
    )
    found = _unpacked(test.trace)
    for trace in found:
        yield f"<p>{escape(explain(trace, found).sentence)}</p>\n"
        yield from _trace(trace)
    yield "</section>\n"


def _trace(trace: TraceView) -> Iterator[str]:
    lines = list(indented(forest([trace], everything=True)))
    label = escape(trace.root.name if trace.root is not None else "")
    yield f'<div class="trace" role="group" aria-label="Trace {label}">\n'
    for depth, _, node in lines[:_MOST_ROWS]:
        yield from _row(trace, min(depth, _DEEPEST), node)
    if len(lines) > _MOST_ROWS:
        yield f'<p class="muted">{len(lines) - _MOST_ROWS} more rows are left out.</p>\n'
    yield "</div>\n"


def _row(trace: TraceView, depth: int, node: Node) -> Iterator[str]:
    span, total = node.spans[0], max(1, trace.end - trace.start)
    failed = any(each.error for each in node.spans)
    times = f"<b>{node.count}×</b> " if node.count > 1 else ""
    took = format_duration(sum(each.duration for each in node.spans))
    bars = "".join(
        f'<rect class="bar" x="{100 * (each.start - trace.start) / total:.3f}%" y="3" height="8" rx="1.5" '
        f'width="{max(0.3, 100 * each.duration / total):.3f}%"/>'
        for each in node.spans
    )
    name = f'{escape(span.name)} <span class="muted">{escape(describe(span).removeprefix(span.name).strip())}</span>'
    yield (
        f'<details class="{"row failed" if failed else "row"} {_look(span)}"><summary>'
        f'<span class="name d{depth}">{times}{name}</span><span class="took">{took}</span>'
        f'<svg class="time" aria-hidden="true">{bars}</svg></summary>\n'
    )
    yield "<dl>"
    for key, value in (*_facts(span), *sorted(span.attributes.items())):
        yield f"<dt>{escape(key)}</dt><dd>{escape(str(value)[:_LONGEST_VALUE])}</dd>"
    for event in span.events:
        said = ", ".join(f"{key}={value}" for key, value in event.attributes.items())
        yield f"<dt>event {escape(event.name)}</dt><dd>{escape(said[:_LONGEST_VALUE])}</dd>"
    yield "</dl></details>\n"


def _facts(span: SpanView) -> Iterator[tuple[str, str]]:
    yield "span", f"{span.span_id} of trace {span.message.trace_id.hex()}"
    yield "duration", format_duration(span.duration)
    yield "service", span.service
    if span.status_message:
        yield "status", span.status_message


def _look(span: SpanView) -> str:
    """The class of its colour: what it talks to, or what it is."""
    if span.kind in ("client", "producer"):
        return "http" if span.system.startswith("http") else "call"
    return "serves" if span.kind in ("server", "consumer") else "own"
