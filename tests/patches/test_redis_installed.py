"""The redis patch itself: it keeps tasks and threads apart, can be taken out, and leaves methods as they look."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import socket
import threading
import time
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster
import redis.connection
import wrapt

from causal_otel.instrument.declaration import Wrap
from causal_otel.patches.redis import PATCH, RedisOptions
from tests.patches.either import settle
from tests.patches.valkeys import TIMEOUT, parent_of
from tests.recording import recording
from tests.span_relations import assert_span


@pytest.mark.asyncio
async def test_tasks_keep_their_parents(redis_url: str) -> None:
    """Among many tasks at once, each span is the child of its own task's span."""
    with recording(["redis"]) as recorded:
        client: Any
        async with redis.asyncio.Redis.from_url(redis_url, max_connections=20) as client:
            limit = asyncio.Semaphore(20)

            async def work(number: int) -> None:
                async with limit:
                    with recorded.tracer.start_as_current_span(f"task {number}"):
                        await client.set(f"k{number}", number)
                        await asyncio.sleep(0)
                        await client.pipeline().get(f"k{number}").execute()

            await asyncio.gather(*(work(number) for number in range(200)))
        tasks = {span.context.span_id: span for span in recorded.spans if span.name.startswith("task")}
        children = [span for span in recorded.spans if not span.name.startswith("task")]
    assert len(tasks) == 200
    assert len(children) == 400
    for child in children:
        assert_span(child, tasks[parent_of(child)])
    names = {number: [child.name for child in children if parent_of(child) == number] for number in tasks}
    assert set(map(tuple, names.values())) == {("SET", "MULTI GET")}


def test_threads_keep_their_parents(redis_url: str) -> None:
    """Threads that share a client do not see each other's spans."""
    with recording(["redis"]) as recorded, redis.Redis.from_url(redis_url) as client:

        def work() -> None:
            for _ in range(20):
                with recorded.tracer.start_as_current_span("thread"):
                    client.incr("counter")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        parents = {span.context.span_id: span for span in recorded.spans if span.name == "thread"}
        children = [span for span in recorded.spans if span.name == "INCRBY"]
    assert len(parents) == 160
    assert sorted(map(parent_of, children)) == sorted(parents)
    for child in children:
        assert_span(child, parents[parent_of(child)])


SEEN = {"sleep", "getaddrinfo", "__name__", "__doc__", "__dict__", "__loader__", "__spec__", "__package__"}
"""What such a module has of its own."""


def places() -> list[tuple[Any, str]]:
    """Every class that the patch changes, and the name of what it changes there."""
    found = []
    for target in PATCH.targets:
        if not isinstance(target, Wrap):  # what a module of the driver calls another: the next test but one
            continue
        try:
            owner, name, _ = wrapt.resolve_path(target.module, target.attribute)
        except (AttributeError, ModuleNotFoundError):
            assert target.optional
            continue
        if vars(owner).get(name) is not None:  # else it inherits what the patch replaces
            found.append((owner, name))
    return found


def test_uninstall_restores_every_target() -> None:
    """After an uninstall every attribute is the very object again that it was, and while installed it is another."""
    found = places()
    before = [vars(owner)[name] for owner, name in found]
    with recording({"redis": RedisOptions(consumer_spans=True)}):
        during = [vars(owner)[name] for owner, name in found]
    same = [place for place, one, other in zip(found, before, during, strict=True) if one is other]
    assert all(owner.__name__.endswith("ConnectionPool") for owner, _ in same), same  # only for metrics, which are off
    assert all(vars(owner)[name] is one for (owner, name), one in zip(found, before, strict=True))
    assert places() == found


def test_the_driver_calls_modules_by_their_names_again() -> None:
    """The modules that time one function have all else of the true ones, and are gone after an uninstall."""
    true = (time, asyncio, socket)

    def named() -> tuple[Any, ...]:
        return redis.cluster.time, redis.asyncio.cluster.asyncio, redis.connection.socket  # type: ignore[attr-defined]

    assert named() == true
    with recording(["redis"]):
        for ours, its in zip(named(), true, strict=True):
            assert ours is not its
            assert all(
                getattr(ours, name) is getattr(its, name) for name in dir(its) if name in vars(its).keys() - SEEN
            )
    assert named() == true


def test_patched_methods_look_as_before() -> None:
    """Signature, name, kind, pickling and copying of what is patched stay as they were."""

    def looks(method: Any) -> tuple[Any, ...]:
        return (
            inspect.signature(method),
            method.__qualname__,
            method.__module__,
            inspect.iscoroutinefunction(method),
            inspect.isfunction(method),
        )

    found = [(owner, name) for owner, name in places() if not inspect.ismodule(owner)]
    before = [looks(getattr(owner, name)) for owner, name in found]
    with recording({"redis": RedisOptions(consumer_spans=True)}):
        for (owner, name), look in zip(found, before, strict=True):
            method = getattr(owner, name)
            assert looks(method) == look
            assert pickle.loads(pickle.dumps(method)) is method
            assert copy.deepcopy(method) is method


@pytest.mark.asyncio
async def test_uninstalled_means_silent(client: Any) -> None:
    """A wrapper that somebody has kept does nothing after an uninstall."""
    with recording(["redis"]) as recorded:
        kept = client.execute_command
        await settle(kept("DBSIZE"))
        assert_span(recorded.only("DBSIZE"), None)
    assert isinstance(await settle(kept("DBSIZE")), int)
    assert recorded.names() == ["DBSIZE"]
