"""The neo4j patch itself: it contains its own faults, can be taken out, and leaves methods as they look."""

from __future__ import annotations

import contextlib
import copy
import inspect
import pickle
import time
from typing import Any

import neo4j
import pytest

from causal_otel._internal import faults
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.patches import _neo4j_results
from causal_otel.patches import neo4j as patch
from causal_otel.patches.neo4j import PATCH
from tests.patches.checks import assert_undone, originals
from tests.patches.either import settle
from tests.patches.graphs import ROWS, Graph, busy, everything, inside
from tests.recording import recording


def test_tracer_that_does_not_tell_when_a_span_began() -> None:
    """The end of a span is worked out also where its start cannot be read."""
    span: Any = _Span()
    stopwatch = Stopwatch()
    busy(0.02)
    stopwatch.pause()
    began = time.time_ns()
    assert stopwatch.end_time(span) <= began
    assert stopwatch.total >= 20_000_000


class _Span:
    ended = False

    def end(self, end_time: int | None = None) -> None:
        self.ended = True


def test_unknown_internals() -> None:
    """Where a version hides elsewhere what we look at, a span ends when ``run`` returns."""
    span: Any = _Span()
    _neo4j_results.Stream.follow(object(), Running(Operation("RETURN", {}), span), Stopwatch())
    assert span.ended
    assert _neo4j_results.private(object(), "_pool", "address") is None


@pytest.mark.asyncio
async def test_our_failures_are_contained(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """If describing a query fails, it runs all the same, once."""

    def broken(*args: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(patch, "query_operation", broken)
    monkeypatch.setattr(patch, "constants", broken)
    before = sum(faults.counts().values())
    # The recording itself asserts that nothing of ours has failed.
    with contextlib.suppress(AssertionError), recording(["neo4j"]) as recorded, inside(recorded):
        await everything(graph)
    assert recorded.names() == ["root"]
    assert sum(faults.counts().values()) == before + 6


@pytest.mark.asyncio
async def test_uninstall_with_a_result_open(graph: Graph, session: Any) -> None:
    """A result that outlives the installation is read as ever."""
    with recording(["neo4j"]) as recorded, inside(recorded):
        result = await settle(session.run(ROWS))
    assert len(await graph.records(result)) == 50


def test_uninstall_restores_the_very_objects() -> None:
    """After uninstall() each attribute is what it was, and in between each is ours."""
    assert len(originals(PATCH)) == len(PATCH.targets)
    assert_undone(PATCH)


def test_introspection_stays_true() -> None:
    """Signatures, kinds, pickling and copying of patched methods are as without us."""
    names = [target.attribute.split(".") for target in PATCH.targets]  # type: ignore[union-attr]
    methods = {(kind, name): getattr(getattr(neo4j, kind), name) for kind, name in names}
    signatures = {key: inspect.signature(method) for key, method in methods.items()}
    with recording(["neo4j"]):
        for (kind, name), original in methods.items():
            method = getattr(getattr(neo4j, kind), name)
            assert method is not original
            assert inspect.signature(method) == signatures[kind, name]
            assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(original)
            assert copy.deepcopy(method) is method
            if kind in ("Driver", "AsyncDriver", "Session", "AsyncSession"):
                assert pickle.loads(pickle.dumps(method)) is method
