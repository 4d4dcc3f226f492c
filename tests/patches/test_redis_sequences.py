"""Whatever is done with redis-py in whatever order, the user sees what it does alone, and the spans are right."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patches.either import close
from tests.patches.redis_connection_steps import ASYNCIO, CONNECTIONS
from tests.patches.redis_steps import COMMANDS, State
from tests.patches.sequences import AS_LONG_AS_IT_TAKES, assert_unnoticed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HALVES: dict[str, tuple[Any, Any]] = {
    "redis sync": (redis, redis),
    "redis asyncio": (redis.asyncio, redis),
    "valkey sync": (valkey, valkey),
    "valkey asyncio": (valkey.asyncio, valkey),
}
"""A half of a driver, and the package with its exceptions."""


AT_LEAST = {
    "set": 1,
    "several": 3,
    "pipeline": 1,
    "watched": 2,
    "lost": 2,
    "script": 1,
    "nothing to pop": 1,
    "too late": 1,
    "exhausted": 1,
    "exhausted while waiting": 1,
    "lock": 2,
    "two locks": 2,
    "refused": 1,
    "given up": 1,
    "pipeline given up": 1,
    "lock given up": 2,
    "wait for a pool given up": 2,
}
"""How many spans a step makes in any case."""

NO_FAILURES = ("WatchError", "LockError", "LockNotOwnedError", "RuntimeError", "IndexError")
"""A lost WATCH, a lock that is another's, and what the driver does not even try."""


def _steps(half: str) -> dict[str, Callable[[State], Any]]:
    return {**COMMANDS, **CONNECTIONS, **(ASYNCIO if half.endswith("asyncio") else {})}


def _sequence(redis_url: str, half: str, sequence: list[str]) -> None:
    module, errors = HALVES[half]
    package = errors.__name__
    address = urlsplit(redis_url)._replace(path="/11")

    @asynccontextmanager
    async def opened() -> AsyncIterator[State]:
        with contextlib.closing(redis.Redis.from_url(address.geturl())) as before:
            before.flushdb()
            before.script_flush()
        state = State(address._replace(scheme=package).geturl(), module, errors, None, [])
        state.client = state.make()
        try:
            yield state
        finally:
            for each in state.subscriptions:
                await close(each)
            await close(state.client)

    assert_unnoticed([package], opened, _steps(half), sequence, AT_LEAST, NO_FAILURES)


def _of(half: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(_steps(half))), min_size=1, max_size=10)


@pytest.mark.parametrize(
    "half", [each if each.startswith("redis") else pytest.param(each, marks=pytest.mark.long) for each in HALVES]
)
def test_each_step(redis_url: str, half: str) -> None:
    """All that the sequences are made of, once and in order."""
    _sequence(redis_url, half, list(_steps(half)))


@settings(max_examples=2, derandomize=True, **AS_LONG_AS_IT_TAKES)
@given(_of("redis asyncio"))
def test_a_few_sequences(redis_url: str, sequence: list[str]) -> None:
    """Random sequences, as many as there is time for."""
    _sequence(redis_url, "redis asyncio", sequence)


@pytest.mark.long
@pytest.mark.parametrize("half", HALVES)
@settings(max_examples=5, **AS_LONG_AS_IT_TAKES)
@given(data=st.data())
def test_many_sequences(redis_url: str, half: str, data: st.DataObject) -> None:
    """More of them."""
    _sequence(redis_url, half, data.draw(_of(half)))
