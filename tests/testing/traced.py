"""A test within a test: what the fixture ``traces`` would give it, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from causal_otel.testing import Traces
from causal_otel.testing.recording import Recording
from tests.recording import recording

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from causal_otel.patch_choice import Patches

__all__ = ["Suite", "suite"]


class Suite:
    """Tests, one after the other.

    Args:
        recorded: where they are recorded.
        tracer: for spans of theirs.
    """

    def __init__(self, recorded: Recording, tracer: Tracer) -> None:
        self.recorded = recorded
        self.tracer = tracer

    def traces(self, name: str = "tests/test_shop.py::test_orders") -> Traces:
        """What the fixture gives a test before its call begins."""
        return Traces(self.recorded.recorder, name)

    @contextmanager
    def test(self, traces: Traces | None = None) -> Iterator[Traces]:
        """The call of one."""
        given = traces or self.traces()
        end = self.recorded.recorder.begin(given.begin())
        try:
            yield given
        finally:
            end()


@contextmanager
def suite(patches: Patches = ()) -> Iterator[Suite]:
    """A suite whose application has installed these patches; by default none."""
    recorded = Recording()
    recorded.begin()
    try:
        with recording(list(patches) if isinstance(patches, tuple) else patches) as installed:
            yield Suite(recorded, installed.tracer)
    finally:
        recorded.end()
