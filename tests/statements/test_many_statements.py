"""However many different statements a program makes, what is remembered of them is bounded."""

from __future__ import annotations

import functools
import tracemalloc
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from causal_otel.engine.provider import TracerProvider
from causal_otel.export.encoder import Encoder
from causal_otel.export.privacy import Policy
from causal_otel.instrument.operation import Operation
from causal_otel.metrics.cells import LIMIT, Cells
from causal_otel.metrics.conventions import DATABASE_CLIENT
from causal_otel.metrics.observer import Metrics
from causal_otel.names import DB_QUERY_SUMMARY, DB_QUERY_TEXT
from causal_otel.statements.sql import MAX_TEXT, POSTGRESQL, describe

MIB = 1 << 20


class _Program:
    """Runs statements that are never the same, as a patch sees them: described, measured, recorded and encoded."""

    def __init__(self) -> None:
        self.cells = Cells()
        self.metrics = Metrics(self.cells, {SpanKind.CLIENT: DATABASE_CLIENT})
        self.tracer: Any = TracerProvider().get_tracer("tests")
        self.encoder = Encoder(redaction=Policy())
        self.operation = functools.lru_cache(1024)(self._operation)  # as patches have it
        self.number = 0

    def _operation(self, query: str) -> Operation:
        statement = describe(query, POSTGRESQL)
        attributes: dict[str, Any] = {DB_QUERY_TEXT: statement.text, DB_QUERY_SUMMARY: statement.summary}
        return Operation(statement.summary, attributes)

    def run(self, requests: int) -> None:
        """Run requests of a hundred statements each."""
        for _ in range(requests):
            spans: list[Any] = []
            with self.tracer.start_as_current_span("request"):
                for number in range(self.number, self.number + 100):
                    operation = self.operation(f"SELECT a{number} FROM t{number} WHERE b = 'x{number}'")
                    self.metrics.ended(operation, 0.001, None, None, rows=1)
                    span = self.tracer.start_leaf(operation.name, operation.kind, operation.attributes)
                    span.end()
                    spans.append(span)
            ((body, encoded),) = self.encoder.encode(spans)
            assert encoded == 100
            assert f"SELECT a{self.number} FROM".encode() in body
            self.number += 100

    def known(self) -> list[int]:
        """How many sets of labels the metrics know."""
        return [len(family.known()) for family in self.cells.families()]


def test_what_is_remembered_is_bounded() -> None:
    """Metrics know 2,000 summaries and no more, and the text of a statement has no more than its limit."""
    program = _Program()
    program.run(LIMIT // 100 + 10)
    assert max(program.known()) == LIMIT
    assert program.operation.cache_info().currsize == 1024
    assert len(program.operation("SELECT " + "a, " * MAX_TEXT).attributes[DB_QUERY_TEXT]) <= MAX_TEXT


@pytest.mark.long
def test_a_hundred_thousand_statements() -> None:
    """When every cache is full, thousands more change no bound, and all that they leave is a few MiB."""
    program = _Program()
    program.run(700)
    tracemalloc.start()
    try:
        program.run(150)
        first = tracemalloc.get_traced_memory()[0]
        program.run(150)
        second = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert max(first, second) < 16 * MIB
    assert max(program.known()) == LIMIT
