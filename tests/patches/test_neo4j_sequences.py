"""Whatever is done with neo4j in whatever order, the user sees what the driver does alone, and the spans are right."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_otel.patches.neo4j import Neo4jOptions
from tests.patches.either import close
from tests.patches.graphs import Graph
from tests.patches.neo4j_steps import ASYNC, BOTH, State, driver_of
from tests.patches.sequences import AS_LONG_AS_IT_TAKES, assert_unnoticed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.services.fixtures import GraphServer

AT_LEAST = {
    "drop a session": 1,
    "tried in vain": 2,
    "execute_query": 1,
    "failing execute_query": 1,
    "transform": 1,
    "failing transform": 1,
    "refused": 1,
    "managed given up": 2,
    "wait for a pool given up": 1,
}
"""How many spans a step makes in any case."""

NO_FAILURES = ("ResultNotSingleError", "ResultConsumedError", "TransactionError", "TimeoutError", "SessionError")
"""What the driver does not even try, and a cancellation as who has set a timeout sees it."""


def _steps(is_async: bool) -> dict[str, Callable[[State], Any]]:
    return {**BOTH, **ASYNC} if is_async else BOTH


def _sequence(server: GraphServer, is_async: bool, sequence: list[str]) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[State]:
        driver = driver_of(server, is_async)
        state = State(Graph(server, driver, is_async), None, [], [])
        state.session = state.graph.session(initial_retry_delay=0.001)
        try:
            yield state
        finally:
            await close(state.session)
            await close(driver)

    options = Neo4jOptions(slow_plumbing=3600)
    assert_unnoticed({"neo4j": options}, opened, _steps(is_async), sequence, AT_LEAST, NO_FAILURES)


only_one = pytest.mark.parametrize("neo4j_server", ["arcadedb"], indirect=True, scope="session")


def _of(is_async: bool) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(_steps(is_async))), min_size=1, max_size=10)


@only_one
@pytest.mark.parametrize("is_async", [pytest.param(False, marks=pytest.mark.long), True], ids=["sync", "async"])
def test_each_step(neo4j_server: GraphServer, is_async: bool) -> None:
    """All that the sequences are made of, once and in order."""
    _sequence(neo4j_server, is_async, list(_steps(is_async)))


@only_one
@settings(max_examples=1, derandomize=True, **AS_LONG_AS_IT_TAKES)
@given(_of(True))
def test_a_few_sequences(neo4j_server: GraphServer, sequence: list[str]) -> None:
    """Random sequences, as many as there is time for."""
    _sequence(neo4j_server, True, sequence)


@pytest.mark.long
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@settings(max_examples=5, **AS_LONG_AS_IT_TAKES)
@given(data=st.data())
def test_many_sequences(neo4j_server: GraphServer, is_async: bool, data: st.DataObject) -> None:
    """More of them."""
    _sequence(neo4j_server, is_async, data.draw(_of(is_async)))
