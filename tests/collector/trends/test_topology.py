from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from causal_otel.collector.attributes import service_name
from causal_otel.collector.matching import span_duration
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.systems import system_of
from causal_otel.collector.trends.topology import Topology, topology
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, NOON, span, spans_of, traces
from tests.collector.store.stores import close, write
from tests.collector.trends.platform import (
    CLIENT,
    CONSUMER,
    END,
    PRODUCER,
    SERVER,
    START,
    http,
    message,
    platform,
    query,
)


def of(*messages: TracesData) -> Topology:
    """The map of these spans."""
    return topology(MemoryReader(messages), START, END)


def edges(found: Topology) -> dict[tuple[str, str], int]:
    """How often who called what."""
    return {(edge.parent, edge.child): edge.calls for edge in found.edges}


def kinds(found: Topology) -> dict[str, str]:
    """What each node is."""
    return {node.name: node.kind for node in found.nodes}


def one(service: str, kind: int, id: int, parent: int = 0, /, **tags: object) -> TracesData:
    """A span of a service with these attributes."""
    return traces(span(trace=7, id=id, parent=parent, kind=kind, tags=tags), service=service)


def test_every_call_of_a_platform_is_counted_once() -> None:
    """Between services, of databases, of the broker by both of its ends, and of hosts, as the spans themselves say."""
    messages = platform()
    names = {"http api.example.com": "api.example.com", "http orders.internal": "orders"}
    expected: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for each in messages:
        (own,) = spans_of(each)
        service, system = service_name(each.resource_spans[0].resource), system_of(own)
        if own.kind == CONSUMER:
            expected[system, service].append(own)
        elif own.kind == SERVER and own.parent_span_id:
            expected["gateway", service].append(own)
        elif system and service != "gateway":
            expected[service, names.get(system, system)].append(own)
    found = of(*messages)
    assert {edge: len(spans) for edge, spans in expected.items()} == edges(found)
    for edge in found.edges:
        spans = expected[edge.parent, edge.child]
        assert edge.errors == sum(each.status.code == Status.STATUS_CODE_ERROR for each in spans)
        ranked = sorted(map(span_duration, spans))
        assert ranked[int(0.9 * len(ranked)) - 1] <= edge.p95 <= 1.1 * ranked[-1] + 1
    assert kinds(found) == {
        **dict.fromkeys(("gateway", "orders", "worker", "batch"), "service"),
        **dict.fromkeys(("postgresql", "redis"), "database"),
        "celery": "broker",
        "api.example.com": "external",
    }


def test_nodes_tell_what_they_were_asked_and_how_it_went() -> None:
    """A service by its own requests and messages, what has no spans by those who call it."""
    messages = platform()
    spans = [
        (service_name(each.resource_spans[0].resource), own, system_of(own))
        for each in messages
        for own in spans_of(each)
    ]
    nodes = {node.name: node for node in of(*messages).nodes}
    for name in ("gateway", "orders", "worker"):
        asked = [own for service, own, _ in spans if service == name and own.kind in (SERVER, CONSUMER)]
        assert nodes[name].calls == len(asked)
        assert nodes[name].errors == sum(own.status.code == Status.STATUS_CODE_ERROR for own in asked)
    for name in ("postgresql", "redis"):
        assert nodes[name].calls == sum(system == name for _, _, system in spans)
    assert nodes["celery"].calls == sum(own.kind == PRODUCER for _, own, _ in spans)
    assert nodes["batch"].calls == 0


def test_a_broker_tells_how_long_messages_waited() -> None:
    """The mean, the longest, and the trace that waited longest."""
    messages = [one("worker", CONSUMER, 1, **message(0.2)), one("worker", CONSUMER, 2, **message(1.0))]
    (broker,) = (node for node in of(*messages).nodes if node.kind == "broker")
    assert broker.queue_wait is not None
    assert (broker.queue_wait.mean, broker.queue_wait.longest) == (600 * MILLISECOND, 1000 * MILLISECOND)
    assert broker.queue_wait.trace == (7).to_bytes(16, "big")
    assert broker.document()["queue_wait_nano"] == 600 * MILLISECOND


def test_a_host_that_is_a_service_is_no_node_of_its_own() -> None:
    """Whoever calls it calls that service, also one whose spans the service's do not belong to."""
    found = of(
        one("a", CLIENT, 1, **http("b.internal")),
        one("b", SERVER, 2, 1),
        one("stranger", CLIENT, 3, **http("b.internal")),
    )
    assert edges(found) == {("a", "b"): 1, ("stranger", "b"): 1}
    assert set(kinds(found).values()) == {"service"}


def test_a_host_with_several_services_behind_it_is_those() -> None:
    """A load balancer is not drawn: calls of it are calls of what has answered."""
    found = of(
        one("a", CLIENT, 1, **http("proxy")),
        one("b", SERVER, 2, 1),
        one("a", CLIENT, 3, **http("proxy")),
        one("c", SERVER, 4, 3),
    )
    assert edges(found) == {("a", "b"): 1, ("a", "c"): 1}


def test_a_database_is_one_also_if_something_traced_is_behind_it() -> None:
    """As a proxy of a database may be."""
    found = of(one("a", CLIENT, 1, 0, **query()), one("proxy", SERVER, 2, 1))
    assert edges(found) == {("a", "postgresql"): 1, ("a", "proxy"): 1}


def test_what_goes_through_a_broker_and_directly_has_both_lines() -> None:
    """Only where all calls are messages is there no line between the services themselves."""
    through = [one("a", PRODUCER, 1, **message()), one("b", CONSUMER, 2, 1, **message())]
    assert edges(of(*through)) == {("a", "celery"): 1, ("celery", "b"): 1}
    both = of(*through, one("a", CLIENT, 3), one("b", SERVER, 4, 3))
    assert edges(both) == {("a", "celery"): 1, ("celery", "b"): 1, ("a", "b"): 2}


def test_a_service_that_sends_messages_to_itself_goes_through_its_broker() -> None:
    """The cycle is there, a line of a service to itself is not."""
    found = of(
        one("shop", PRODUCER, 1, **message()), one("shop", CONSUMER, 2, 1, **message()), one("shop", CLIENT, 3, 2)
    )
    assert edges(found) == {("shop", "celery"): 1, ("celery", "shop"): 1}


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        (query("postgresql"), "database"),
        (query("a database that nobody knows"), "database"),
        ({"rpc.system.name": "grpc"}, "external"),
        ({"gen_ai.provider.name": "openai"}, "external"),
        ({"messaging.system": "kafka"}, "broker"),
        (http("api.example.com"), "external"),
        ({"http.request.method": "GET"}, "external"),
    ],
)
def test_kinds_are_told_by_systems(tags: dict[str, object], kind: str) -> None:
    """Of what a client span calls."""
    (found,) = (each for each in kinds(of(one("a", CLIENT, 1, 0, **tags))).items() if each[0] != "a")
    assert found[1] == kind


def test_a_service_that_is_called_like_a_system_is_another_node() -> None:
    """Both are there, under names of their own."""
    found = of(one("redis", SERVER, 1), one("redis", CLIENT, 2, 1, **query("redis")))
    assert kinds(found) == {"redis": "service", "redis (system)": "database"}
    assert edges(found) == {("redis", "redis (system)"): 1}


def test_only_the_hours_that_are_asked_for_count() -> None:
    """To the hour; the document tells since when."""
    early, late = (traces(span(trace=n, kind=SERVER, start=NOON + n * HOUR), service="a") for n in (0, 1))
    found = topology(MemoryReader([early, late]), NOON + HOUR + 5, END)
    assert [node.calls for node in found.nodes] == [1]
    assert found.document()["start_unix_nano"] == NOON + HOUR


def test_the_store_tells_what_its_spans_do(tmp_path: Path) -> None:
    """Nodes, edges and figures are the same over the store and over the spans in memory."""
    messages = platform(40, seed=5)
    write(tmp_path, messages)
    close(tmp_path)
    with Reader(tmp_path) as reader:
        assert topology(reader, START, END).document() == of(*messages).document()
