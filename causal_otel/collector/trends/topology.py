"""Who calls whom: services, and the databases, brokers and external hosts that their spans tell of.

A service calls another where a span of the one is the parent of a span of the other. What it calls besides is known
from its client and producer spans alone, by their system. An HTTP host that answers with spans of its own is a service
and no host; a message that a producer sends and a consumer takes goes through the broker.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from causal_otel.collector.figures import Selected
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.systems import OTHERS, host
from causal_otel.names import CAUSAL_QUEUE_WAIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from causal_otel.collector.figures import CallSum, Dependency, MeasureSum, Series, SeriesSum
    from causal_otel.collector.query import TraceReader

__all__ = ["Edge", "Kind", "Node", "QueueWait", "Topology", "topology"]

Kind = Literal["service", "database", "broker", "external"]

_HOUR = 3600 * 10**9

# The conventions' names of what is called and is neither a database nor, by the kind of its spans, a broker.
_BROKERS = frozenset(
    ("activemq", "aws.sns", "aws_sqs", "celery", "dramatiq", "eventgrid", "eventhubs", "gcp_pubsub", "jms", "kafka")
) | frozenset(("nats", "pulsar", "rabbitmq", "rocketmq", "servicebus", "taskiq"))
_EXTERNAL = frozenset(
    ("apache_dubbo", "aws-api", "connect_rpc", "dotnet_wcf", "dubbo", "graphql", "grpc", "http", "java_rmi", "jsonrpc")
) | frozenset(("onc_rpc", OTHERS))
_MODELS = (
    *("anthropic", "aws.bedrock", "az.ai.", "azure.ai.", "cohere", "deepseek", "gcp.", "gemini", "groq", "ibm."),
    *("mistral_ai", "ollama", "openai", "perplexity", "vertex_ai", "x_ai", "xai"),
)


@dataclass(frozen=True, slots=True)
class QueueWait:
    """How long messages waited in a broker before a consumer took them, in nanoseconds.

    Attributes:
        messages: how many told it.
        total: of all together.
        longest: of one.
        trace: the id of the trace that waited longest, 16 bytes.
    """

    messages: int
    total: int
    longest: int
    trace: bytes

    @property
    def mean(self) -> int:
        """Of one message."""
        return self.total // self.messages


@dataclass(frozen=True, slots=True)
class Node:
    """A service, or what services call.

    Attributes:
        name: the service's, the system's or the host's; no two nodes have the same.
        kind: which of these.
        system: as :attr:`~causal_otel.collector.query.Query.system` has it; of a service empty.
        calls: requests and messages that it was given.
        errors: how many of these failed.
        p95: 95 % of them took at most about this, in nanoseconds.
        queue_wait: of a broker, if its consumers tell it.
    """

    name: str
    kind: Kind
    system: str
    calls: int
    errors: int
    p95: int
    queue_wait: QueueWait | None = None

    def document(self) -> dict[str, Any]:
        """It as JSON has it, for programs."""
        waited: dict[str, int] = {}
        if self.queue_wait:
            waited = {"queue_wait_nano": self.queue_wait.mean, "queue_wait_longest_nano": self.queue_wait.longest}
        figures = {"calls": self.calls, "errors": self.errors, "p95_nano": self.p95}
        return {"name": self.name, "kind": self.kind, **figures, **waited}


@dataclass(frozen=True, slots=True)
class Edge:
    """Calls from one node to another, named as in :class:`Node`; of a broker, the messages that a service took."""

    parent: str
    child: str
    calls: int
    errors: int
    p95: int


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes by name, and edges by their names.

    Attributes:
        nodes: those that call or are called, or were asked something.
        edges: no two between the same nodes in the same direction, and none of a node to itself.
        start: when the first hour that was counted begins, Unix time in nanoseconds.
        end: until when was counted.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    start: int
    end: int

    @property
    def seconds(self) -> float:
        """How long the time is that the calls were counted in."""
        return max(1.0, (self.end - self.start) / 10**9)

    def around(self, name: str | None) -> Topology:
        """What a node calls, and who calls it; None: all."""
        if name is None:
            return self
        edges = tuple(each for each in self.edges if name in (each.parent, each.child))
        names = {name, *(end for each in edges for end in (each.parent, each.child))}
        return replace(self, nodes=tuple(each for each in self.nodes if each.name in names), edges=edges)

    def document(self) -> dict[str, Any]:
        """It as JSON has it, for programs."""
        edges = [
            {
                "parent": edge.parent,
                "child": edge.child,
                "calls": edge.calls,
                "errors": edge.errors,
                "per_second": edge.calls / self.seconds,
                "p95_nano": edge.p95,
            }
            for edge in self.edges
        ]
        return {
            "nodes": [node.document() for node in self.nodes],
            "edges": edges,
            "start_unix_nano": self.start,
            "end_unix_nano": self.end,
        }


class _Sum:
    """Calls that are counted together."""

    __slots__ = ("calls", "durations", "errors")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.durations = Histogram()

    def add(self, other: SeriesSum | _Sum) -> None:
        """Count these as well."""
        self.calls += other.calls
        self.errors += other.errors
        self.durations.merge((other.durations,))

    def figures(self) -> tuple[int, int, int]:
        """Calls, errors and p95."""
        return self.calls, self.errors, self.durations.quantile(0.95)


def topology(reader: TraceReader, start: int, end: int) -> Topology:
    """Who called whom between two Unix times in nanoseconds, to the hour.

    What is one and the same, a host and a service or a message's both ends, is looked for on the whole UTC days.
    """
    messages = reader.calls(Selected(kind="producer"), Selected(kind="consumer"), start, end)
    # Where there are no messages, only calls of hosts are needed, which are few beside all others.
    wanted = (Selected(), Selected(entries=True)) if messages else (Selected(kind="client"), Selected(kind="server"))
    calls = reader.calls(*wanted, start, end)
    entries = reader.series(Selected(entries=True), start, end, "all")
    outward = [
        each
        for kind in ("client", "producer")
        for each in reader.series(Selected(kind=kind), start, end, "all")
        if each.series.system
    ]
    waits = reader.measures(Selected(kind="consumer"), start, end, "all", (CAUSAL_QUEUE_WAIT,))
    services, loads = _loads(entries, outward)
    found = _Found(calls, [*entries, *outward])
    edges = _between_services(reader.dependencies(start, end), found.only_messages)
    to_systems, from_brokers = _with_systems(entries, outward, found, edges)
    names = _names({system for _, system in to_systems} | {system for system, _ in from_brokers}, services, edges)
    for (service, system), total in to_systems.items():
        edges[service, names[system]] = total.figures()
    for (system, service), total in from_brokers.items():
        edges[names[system], service] = total.figures()
    nodes = [
        _system_node(system, name, found.kind(system), to_systems, from_brokers, waits)
        for system, name in names.items()
    ]
    taken = set(names.values())
    services.update(name for edge in edges for name in edge if name not in taken)
    nodes += [_service_node(name, loads.get(name), edges) for name in services]
    return Topology(
        tuple(sorted(nodes, key=lambda node: node.name)),
        tuple(Edge(*edge, *figures) for edge, figures in sorted(edges.items())),
        start // _HOUR * _HOUR,
        end,
    )


_Figures = tuple[int, int, int]
_Edges = dict[tuple[str, str], _Figures]


class _Found:
    """What the calls between series tell of systems.

    Args:
        calls: between series.
        sums: all series whose systems are known.
    """

    def __init__(self, calls: Iterable[CallSum], sums: Iterable[SeriesSum]) -> None:
        self._brokers = {each.series.system for each in sums if each.series.kind in ("producer", "consumer")}
        self.answered: set[tuple[str, str]] = set()
        """A service and a host, or an RPC system, that answered it with spans of a service."""
        self._hosts: dict[str, set[str]] = defaultdict(set)
        messages: set[tuple[str, str]] = set()
        others: set[tuple[str, str]] = set()
        for call in calls:
            parent, child = call.parent, call.child
            if parent.kind == "client" and child.kind == "server" and self.kind(parent.system) == "external":
                self.answered.add((parent.service, parent.system))
                self._hosts[parent.system].add(child.service)
            pair = parent.service, child.service
            (messages if _is_message(parent, child) else others).add(pair)
        self.only_messages = messages - others
        """Services of which one calls the other through a broker only."""

    def kind(self, system: str) -> Kind:
        """What a system is."""
        if system in self._brokers or system in _BROKERS:
            return "broker"
        name, address = host(system)
        return "external" if address or name in _EXTERNAL or name.startswith(_MODELS) else "database"

    def service(self, system: str) -> str | None:
        """The service that an HTTP host is; empty if it is one of several, None if it is none."""
        if not host(system)[1] or system not in self._hosts:
            return None
        services = self._hosts[system]
        return next(iter(services)) if len(services) == 1 else ""


def _is_message(parent: Series, child: Series) -> bool:
    return parent.kind == "producer" and child.kind == "consumer" and bool(parent.system and child.system)


def _loads(entries: Iterable[SeriesSum], outward: Iterable[SeriesSum]) -> tuple[set[str], Mapping[str, _Sum]]:
    """All services, and what was asked of each."""
    loads: dict[str, _Sum] = defaultdict(_Sum)
    services = {each.series.service for each in outward}
    for each in entries:
        services.add(each.series.service)
        if each.series.kind in ("server", "consumer"):
            loads[each.series.service].add(each)
    return services, loads


def _between_services(dependencies: Iterable[Dependency], through_brokers: set[tuple[str, str]]) -> _Edges:
    return {
        (each.parent, each.child): (each.calls, each.errors, each.p95)
        for each in dependencies
        if each.parent != each.child and each.calls and (each.parent, each.child) not in through_brokers
    }


def _with_systems(
    entries: Iterable[SeriesSum], outward: Iterable[SeriesSum], found: _Found, edges: _Edges
) -> tuple[dict[tuple[str, str], _Sum], dict[tuple[str, str], _Sum]]:
    """Calls of systems, by service and system; and messages of brokers, by system and service.

    Calls of a host that is a service, by one whose calls it does not go on with, are put into ``edges``.
    """
    calls: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    to_hosts: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    messages: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for each in outward:
        service, system = each.series.service, each.series.system
        if (service, system) in found.answered:
            continue
        known = found.service(system)
        if known is None:
            calls[service, system].add(each)
        elif known and known != service:
            to_hosts[service, known].add(each)
    for each in entries:
        if each.series.kind == "consumer" and each.series.system:
            messages[each.series.system, each.series.service].add(each)
    for edge, total in to_hosts.items():
        edges.setdefault(edge, total.figures())
    return calls, messages


def _names(systems: Iterable[str], services: set[str], edges: _Edges) -> dict[str, str]:
    """A name for each system that no service and no other system has."""
    taken = services | {name for edge in edges for name in edge}
    names: dict[str, str] = {}
    for system in sorted(systems):
        name = host(system)[1] or system
        while name in taken:
            name += " (system)" if name == system else " (host)"
        taken.add(name)
        names[system] = name
    return names


def _system_node(
    system: str,
    name: str,
    kind: Kind,
    to_systems: Mapping[tuple[str, str], _Sum],
    from_brokers: Mapping[tuple[str, str], _Sum],
    waits: Iterable[MeasureSum],
) -> Node:
    sent, taken = _Sum(), _Sum()
    for (_, called), total in to_systems.items():
        if called == system:
            sent.add(total)
    for (broker, _), total in from_brokers.items():
        if broker == system:
            taken.add(total)
    figures = (sent if sent.calls else taken).figures()
    return Node(name, kind, system, *figures, _waited([each for each in waits if each.series.system == system]))


def _waited(waits: list[MeasureSum]) -> QueueWait | None:
    if not waits:
        return None
    longest = max(waits, key=lambda each: each.largest)
    return QueueWait(
        sum(each.spans for each in waits), sum(each.total for each in waits), longest.largest, longest.trace
    )


def _service_node(name: str, load: _Sum | None, edges: _Edges) -> Node:
    if load is not None:
        return Node(name, "service", "", *load.figures())
    # It tells of no request: then it is as busy, and at least as slow, as others found it.
    called = [figures for (_, child), figures in edges.items() if child == name]
    calls, errors = sum(each[0] for each in called), sum(each[1] for each in called)
    return Node(name, "service", "", calls, errors, max((each[2] for each in called), default=0))
