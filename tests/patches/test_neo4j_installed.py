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
from neo4j._async_compat.network import _bolt_socket
from neo4j.exceptions import ServiceUnavailable

from causal_otel._internal import faults
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.stopwatch import Stopwatch
from causal_otel.patches.neo4j import PATCH, Neo4jOptions, calls
from tests.faults.scripted import refused_port
from tests.patches.checks import assert_undone, originals
from tests.patches.either import settle
from tests.patches.graphs import PARTS, ROWS, Graph, busy, everything, inside
from tests.recording import Recording, recording
from tests.span_relations import assert_span

PATCHES = {"neo4j": Neo4jOptions(require_parent=True)}
ROWS_AS_RECORDED = "UNWIND range(?, ?) AS n RETURN n"


def test_tracer_that_does_not_tell_when_a_span_began() -> None:
    """The end of a span is worked out also where its start cannot be read."""
    span: Any = object()
    stopwatch = Stopwatch()
    busy(0.02)
    stopwatch.pause()
    began = time.time_ns()
    assert stopwatch.end_time(span) <= began
    assert stopwatch.total >= 20_000_000


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is a version that has elsewhere what it keeps to itself."""
    for place in ("calls", "connections", "executions", "plumbing", "pools"):
        monkeypatch.setattr(f"causal_otel.patches.neo4j.{place}.private", lambda *_: None)
    monkeypatch.setattr("causal_otel.patches.neo4j.calls.endpoint_of_session", lambda _: (None, None))
    monkeypatch.setattr("causal_otel.patches.neo4j.results.followed", lambda _: None)


@pytest.mark.usefixtures("unknown")
def test_unknown_internals(recorded: Recording) -> None:
    """Where a version hides elsewhere what we look at, a query that fails tells its text and its error."""
    with refused_port() as port, inside(recorded) as root:
        driver = neo4j.GraphDatabase.driver(f"bolt://127.0.0.1:{port}", auth=("a", "b"))
        with driver, driver.session(database="shop") as session, pytest.raises(ServiceUnavailable):
            session.run("RETURN 1")
        error = "neo4j.exceptions.ServiceUnavailable"
        found = assert_span(recorded.only("RETURN"), root, error=error)
    found = {key: value for key, value in found.items() if key not in PARTS}
    expected = {"db.system.name": "neo4j", "db.query.text": "RETURN ?", "db.query.summary": "RETURN"}
    assert found == {**expected, "error.type": error}


@pytest.mark.asyncio
@pytest.mark.usefixtures("unknown")
async def test_unknown_internals_of_a_result(recorded: Recording, graph: Graph, session: Any) -> None:
    """There a query's span ends when ``run`` returns, and its result is read as ever."""
    with inside(recorded) as root:
        result = await settle(session.run(ROWS))
        found = assert_span(recorded.only("UNWIND"), root)
    found = {key: value for key, value in found.items() if key not in PARTS}
    assert found == {"db.system.name": "neo4j", "db.query.text": ROWS_AS_RECORDED, "db.query.summary": "UNWIND"}
    assert len(await graph.records(result)) == 50


@pytest.mark.asyncio
async def test_our_failures_are_contained(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """If describing a query fails, it runs all the same, once."""

    def broken(*args: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(calls, "query_operation", broken)
    monkeypatch.setattr(calls, "connection_attributes", broken)
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
    assert len(originals(PATCH)) >= sum(isinstance(target, Wrap) and not target.optional for target in PATCH.targets)
    old: Any = vars(_bolt_socket).get("AsyncBoltSocket")  # of versions before 5.28
    sockets: Any = vars(_bolt_socket).get("AsyncBoltSocketBase", old)
    before = vars(sockets)["_connect_secure"]
    assert_undone(PATCH)
    with recording(["neo4j"]):
        assert vars(sockets)["_connect_secure"] is not before
    assert vars(sockets)["_connect_secure"] is before


def test_introspection_stays_true() -> None:
    """Signatures, kinds, pickling and copying of patched methods are as without us."""
    targets = [target for target in PATCH.targets if isinstance(target, Wrap) and target.module == "neo4j"]
    names = [target.attribute.split(".") for target in targets if not target.optional]
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
