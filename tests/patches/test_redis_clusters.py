"""Clusters and Sentinel: a command is one span of the node that answers, and how that was found is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from opentelemetry.trace import get_current_span

from causal_otel.testing.process import LOOPBACK
from tests.patches.either import close, settle
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.recording import Recording


@pytest.mark.asyncio
async def test_a_cluster_is_one_span_a_command(make_cluster: Any, cluster_port: int, traced: Recording) -> None:
    """Finding the nodes is not traced, commands are, with the node that answered."""
    cluster = await make_cluster()
    assert traced.spans == []
    assert await settle(cluster.set("{a}1", 1)) is True
    assert await settle(cluster.zunion(["{a}2", "{a}3"])) == []  # its keys are asked of the server
    assert await settle(cluster.dbsize()) >= 1
    assert traced.names() == ["SET", "ZUNION", "DBSIZE"]
    for span in traced.spans:
        found = assert_span(span, get_current_span())
        assert (found["server.address"], found["server.port"]) == (LOOPBACK, cluster_port)
        assert (found["db.system.name"], found["db.namespace"]) == ("redis", "0")
    with pytest.raises(redis.ResponseError):
        await settle(cluster.lpush("{a}1", 1))
    assert assert_span(traced.only("LPUSH"), get_current_span(), error="WRONGTYPE")["server.port"] == cluster_port


@pytest.mark.asyncio
async def test_a_cluster_is_one_span_a_pipeline(make_cluster: Any, cluster_port: int, traced: Recording) -> None:
    """A cluster's pipeline is one span, an error in it shows, and an empty one is none."""
    cluster = await make_cluster()
    assert await settle(cluster.pipeline().execute()) == []
    assert traced.spans == []
    assert await settle(cluster.pipeline().set("a", 1).set("b", 2).execute()) == [True, True]
    results = await settle(cluster.pipeline().set("a", 1).lpush("a", 1).execute(raise_on_error=False))
    assert isinstance(results[1], redis.ResponseError)
    assert traced.names() == ["PIPELINE SET", "PIPELINE"]
    stored, failed = traced.spans
    found = assert_span(stored, get_current_span())
    assert found["db.operation.batch.size"] == 2
    assert found["db.query.text"] == "SET ? ?; SET ? ?"
    assert found["server.port"] == cluster_port
    assert_span(failed, get_current_span(), error="WRONGTYPE")


@pytest.mark.asyncio
async def test_a_cluster_lasts_as_long_as_its_server(make_cluster: Any, traced: Recording) -> None:
    """A command and a pipeline of a cluster, of either client, take what the server takes."""
    cluster = await make_cluster()
    assert await settle(cluster.execute_command("BLPOP", "{a}empty", 0.12)) is None
    assert await settle(cluster.pipeline().execute_command("BLPOP", "{a}empty", 0.12).execute()) == [None]
    assert traced.names() == ["BLPOP", "PIPELINE BLPOP"]
    for span in traced.spans:
        assert_span(span, get_current_span(), lasts=0.1)


@pytest.mark.asyncio
@pytest.mark.skipif(not hasattr(redis.cluster, "TransactionStrategy"), reason="redis-py has it since 6.0")
async def test_a_clusters_transaction_is_one_span(make_cluster: Any, traced: Recording) -> None:
    """A transaction in a cluster is one span named MULTI."""
    cluster = await make_cluster()
    pipeline = cluster.pipeline(transaction=True)
    pipeline.set("{a}1", 1)
    pipeline.set("{a}2", 2)
    assert len(await settle(pipeline.execute())) == 2
    assert_span(traced.only("MULTI SET"), get_current_span())
    assert len(traced.spans) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
async def test_sentinel_is_not_traced(kind: str, sentinel_port: int, redis_port: int, traced: Recording) -> None:
    """Asking Sentinel for the master is not traced, and commands name the server that answers from the first one on."""
    module: Any = redis.sentinel if kind == "sync" else redis.asyncio.sentinel
    sentinel = module.Sentinel([(LOOPBACK, sentinel_port)])
    master = sentinel.master_for("main")
    replica = sentinel.slave_for("main")  # there is none: the master stands in
    await settle(master.set("k", 1))
    await settle(master.get("k"))
    await settle(replica.get("k"))
    for client in (master, replica, *sentinel.sentinels):
        await close(client)
    assert traced.names() == ["SET", "GET", "GET"]
    for span in traced.spans:
        found = assert_span(span, get_current_span())
        assert (found["server.address"], found["server.port"]) == (LOOPBACK, redis_port)
