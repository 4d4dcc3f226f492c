"""A cluster of three: a command tells the node that answered, from the first one on and after a redirection."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import redis.asyncio
from opentelemetry.trace import get_current_span

from causal_otel.testing.process import LOOPBACK
from tests.patches.either import close, settle
from tests.patches.planted.waits import WAIT, assert_part
from tests.patches.valkeys import three_nodes
from tests.services.slow import slow
from tests.slow_machine import assert_at_least
from tests.span_relations import assert_span, attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.patches.valkeys import Nodes
    from tests.recording import Recording

KEYS = ("{b}", "{c}", "{a}")
"""One of each node: their slots are 3300, 7365 and 15495."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Three nodes that have a third of the slots each."""
    with three_nodes() as found:
        yield found


@pytest_asyncio.fixture(params=["redis.cluster", "redis.asyncio.cluster", "valkey.cluster", "valkey.asyncio.cluster"])
async def cluster(request: pytest.FixtureRequest, nodes: Nodes) -> AsyncIterator[Any]:
    """A client of the cluster that has sent nothing yet, of either half of either driver, with its patch at work."""
    module: Any = importlib.import_module(request.param)
    kind = getattr(module, "RedisCluster", None) or module.ValkeyCluster
    made = kind(host=LOOPBACK, port=nodes.ports[2])
    yield made
    await close(made)
    with contextlib.suppress(Exception):
        nodes.give_back()


def port_of(recorded: Recording, name: str) -> Any:
    """The port of the server of the one span of that name, which went well."""
    return assert_span(recorded.only(name), get_current_span()).get("server.port")


@pytest.mark.asyncio
async def test_the_node_that_answered(cluster: Any, nodes: Nodes, traced_both: Recording) -> None:
    """Each command has the node of its key, the first of a client too; what several carry out has none."""
    for key, port in zip(KEYS, nodes.ports, strict=True):
        await settle(cluster.set(key, 1))
        assert port_of(traced_both, "SET") == port
        traced_both.clear()
    pipeline = cluster.pipeline()
    pipeline.get(KEYS[1])
    pipeline.get(KEYS[1])
    assert await settle(pipeline.execute()) == [b"1", b"1"]
    assert port_of(traced_both, "PIPELINE GET") == nodes.ports[1]
    traced_both.clear()
    await settle(pipeline.get(KEYS[1]).get(KEYS[2]).execute())
    await settle(cluster.flushall())
    for span in traced_both.spans:
        assert_span(span, get_current_span())
        assert not {"server.address", "server.port"} & attributes(span).keys()
    assert traced_both.names() == ["PIPELINE GET", "FLUSHALL"]


@pytest.mark.asyncio
async def test_the_node_that_a_command_was_referred_to(cluster: Any, nodes: Nodes, traced_both: Recording) -> None:
    """A command that one node refers to another, for once (``ASK``) or for good (``MOVED``), has the other one."""
    key = "{b}moving"
    await settle(cluster.get("{b}"))
    traced_both.clear()
    nodes.move(key, finish=False)
    await settle(cluster.get(key))
    assert port_of(traced_both, "GET") == nodes.ports[1]
    traced_both.clear()
    nodes.move(key, finish=True)
    await settle(cluster.set(key, 2))
    assert port_of(traced_both, "SET") == nodes.ports[1]
    assert "causal.attempts" not in attributes(traced_both.only("SET"))


@pytest.mark.asyncio
async def test_what_a_node_is_waited_for_in_a_task_of_its_own(nodes: Nodes, traced: Recording) -> None:
    """A pipeline that asks several nodes at once has the parts of the one that took longest."""
    with slow(LOOPBACK, nodes.ports[0]) as first, slow(LOOPBACK, nodes.ports[1]) as second:
        ways = dict(zip(nodes.ports, (first.port, second.port), strict=False))
        cluster: Any = redis.asyncio.RedisCluster(
            host=LOOPBACK,
            port=nodes.ports[2],
            address_remap=lambda address: (LOOPBACK, ways.get(address[1], address[1])),
        )
        await cluster.initialize()
        traced.clear()
        second.once = WAIT
        assert await cluster.pipeline().get(KEYS[0]).get(KEYS[1]).execute() == [None, None]
        span = traced.only("PIPELINE GET")
        assert_span(span, get_current_span())
        assert_part(span, "causal.connect")
        await close(cluster)


@pytest.mark.long
@pytest.mark.asyncio
async def test_the_pauses_of_a_cluster(cluster: Any, nodes: Nodes, traced_both: Recording) -> None:
    """A command for keys of which some have moved already is tried again in vain, and the pauses are told."""
    here, there = "{b}here", "{b}there"
    await settle(cluster.set(here, 1))
    nodes.move(here, finish=False)
    traced_both.clear()
    with pytest.raises(Exception, match="TTL"):
        await settle(cluster.mget(here, there))
    told = assert_span(traced_both.only("MGET"), get_current_span(), error="*", lasts=0.3)
    assert_at_least(0.3, told["causal.retry.wait"])
    assert told["server.port"] == nodes.ports[0]
