"""The account of :mod:`tests.patches.test_celery_chaos`: what the plan and the ledger say, beside the spans."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.patches.celery_chaos_plan import Node, Plan
    from tests.services.received import ReceivedSpan

__all__ = ["Seen", "problems"]

OUTCOMES = {
    "ok": ("SUCCESS", None),
    "fail": ("FAILURE", "ValueError"),
    "expected": ("FAILURE", None),
    "ignore": ("IGNORED", None),
    "reject": ("REJECTED", None),
    "requeue": ("REJECTED", None),
    "retry": ("RETRY", None),
    "exit": ("FAILURE", "SystemExit"),
    "soft": ("FAILURE", "billiard.exceptions.SoftTimeLimitExceeded"),
    "hard": ("FAILURE", "billiard.exceptions.TimeLimitExceeded"),
    "hang": ("REVOKED", "billiard.exceptions.Terminated"),
}
"""The state of an attempt's span and its ``error.type``, by the word of the script."""
LOST = ("REJECTED", "billiard.exceptions.WorkerLostError")
"""Of an attempt that was lost, where Celery makes another one."""
UNENDED = frozenset(("kill", "hang", "hard"))
"""What an attempt comes to that its process does not end."""
DISCARDED = {
    "revoked": ("REVOKED", None),
    "expired": ("REVOKED", None),
    "unknown": ("FAILURE", "celery.exceptions.NotRegistered"),
}


class Seen(NamedTuple):
    """A span, whoever has recorded it; ``links`` are roles and span ids."""

    trace_id: str
    span_id: str
    parent: str | None
    name: str
    kind: str
    attributes: Mapping[str, Any]
    links: frozenset[tuple[str, str]]

    @classmethod
    def received(cls, span: ReceivedSpan) -> Seen:
        """One that a worker has sent."""
        links = frozenset((link["attributes"].get("causal.link", ""), link["span_id"]) for link in span["links"])
        known = span["trace_id"], span["span_id"], span["parent_span_id"], span["name"], span["kind"]
        return cls(*known, span["attributes"], links)

    @classmethod
    def recorded(cls, span: ReadableSpan) -> Seen:
        """One of the process that sends."""
        parent = None if span.parent is None else f"{span.parent.span_id:016x}"
        ids = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
        return cls(*ids, parent, span.name, span.kind.name, dict(span.attributes or {}), frozenset())

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return str(self.attributes.get("messaging.message.id"))

    @property
    def outcome(self) -> tuple[Any, Any]:
        """Its state and the type of its error."""
        return self.attributes.get("celery.task.state"), self.attributes.get("error.type")


class _Account:
    def __init__(self, plan: Plan, ledger: list[dict[str, Any]], spans: Iterable[Seen]) -> None:
        self.plan = plan
        self.spans = list(spans)
        self.by_id = {span.span_id: span for span in self.spans}
        self.attempts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in ledger:
            self.attempts[line["node"]].append(line)
        self.task_ids = {unit.nodes[0].name: unit.task_id for unit in plan.units if unit.task_id}
        self.task_ids |= {name: lines[0]["task_id"] for name, lines in self.attempts.items()}
        self.units = {node.name: {each.name for each in unit.nodes} for unit in plan.units for node in unit.nodes}
        self.consumers: dict[str, list[Seen]] = defaultdict(list)
        self.producers: dict[str, list[Seen]] = defaultdict(list)
        for span in self.spans:
            if span.kind in ("CONSUMER", "PRODUCER"):
                (self.consumers if span.kind == "CONSUMER" else self.producers)[span.task_id].append(span)

    def ended(self, name: str) -> str:
        """The span of the attempt that was the last one at a node."""
        lines = self.attempts[name]
        return str(lines[-1]["span_id"]) if lines else ""


def problems(plan: Plan, ledger: list[dict[str, Any]], spans: Iterable[Seen]) -> list[str]:
    """Everything in which the spans are not what the plan and the ledger say."""
    account = _Account(plan, ledger, spans)
    found = list(_whole(account))
    twice = {line["node"] for line in ledger if line["put_back"] and line["word"] not in UNENDED}
    for node in plan.nodes.values():
        if twice & account.units[node.name]:
            continue  # Celery did once more what one of them had done, and what comes of that
        try:
            found += [f"{node}: {problem}" for problem in _of_node(account, node)]
        except LookupError as error:
            found.append(f"{node}: {error!r}")
    return found


def _whole(account: _Account) -> Iterator[str]:
    """What holds of all spans."""
    twice = [span_id for span_id, count in Counter(span.span_id for span in account.spans).items() if count > 1]
    if twice:
        yield f"spans that have ended more than once: {[account.by_id[each] for each in twice[:5]]}"
    for span in account.spans:
        if span.kind not in ("CONSUMER", "PRODUCER") and span.name not in ("request", "send group", "send chord"):
            yield f"a span of something else: {span}"
        if span.parent is not None and span.parent not in account.by_id:
            yield f"a span without its parent: {span}"
        if span.parent in account.by_id and account.by_id[span.parent].trace_id != span.trace_id:
            yield f"a span of another trace than its parent's: {span}"
        for role, target in span.links:
            if target not in account.by_id:
                yield f"a link {role} to nothing: {span}"
    known = set(account.task_ids.values())
    for task_id in account.consumers.keys() - known:
        yield f"attempts at what nobody has planned: {account.consumers[task_id]}"


def _of_node(account: _Account, node: Node) -> Iterator[str]:
    """What holds of a task."""
    lines = account.attempts[node.name]
    words = [line["word"] for line in lines]
    again = [word for word in words[len(node.script) :] if word in UNENDED]  # of one that was put back
    if words != node.script + again or len(again) > sum(line["put_back"] for line in lines):
        yield f"it came to {words}"
    task_id = account.task_ids.get(node.name)
    if task_id is None:
        return
    spans = {span.span_id: span for span in account.consumers[task_id]}
    attempts = [(line, spans.pop(line["span_id"], None)) for line in lines]
    for line, span in attempts:
        if span is None:
            yield f"no span of the attempt {line}; there are {account.consumers[task_id]}"
        elif (wrong := _outcome(node, line)) != span.outcome:
            yield f"{span.outcome} in place of {wrong} for {line}"
    rest = [span.outcome for span in spans.values()]
    if rest != ([] if node.discarded is None else [DISCARDED[node.discarded]]):
        yield f"other spans of it: {list(spans.values())}"
    found = [(line, span) for line, span in attempts if span is not None]
    yield from _parents(account, node, [span for _, span in found] + list(spans.values()), task_id)
    yield from _links(account, node, found)


def _outcome(node: Node, line: dict[str, Any]) -> tuple[str, str | None]:
    if line["word"] == "kill":
        return LOST if node.late or line["put_back"] else ("FAILURE", LOST[1])
    if line["word"] in UNENDED and line["put_back"]:
        return LOST
    return OUTCOMES[line["word"]]


def _parents(account: _Account, node: Node, attempts: list[Seen], task_id: str) -> Iterator[str]:
    """All attempts are children of the span that has sent the first message; other messages are those of retries."""
    senders = {span.span_id: span for span in account.producers[task_id]}
    parents = {span.parent for span in attempts}
    if len(parents) > 1:
        yield f"attempts with several parents: {attempts}"
    first = senders.pop(next(iter(parents)) or "", None) if parents else None
    if first is None:
        yield f"the parent is not who has sent it: {parents}, {list(senders)}"
        return
    around = {account.ended(name) for name in node.sender}
    if node.sender and first.parent not in around:
        yield f"sent by {first.parent}, not by one of {around}"
    retried = {line["span_id"] for line in account.attempts[node.name] if line["word"] == "retry"}
    if {span.parent for span in senders.values()} != retried or len(senders) != len(retried):
        yield f"retries were sent by {list(senders.values())}"


def _links(account: _Account, node: Node, attempts: list[tuple[dict[str, Any], Seen]]) -> Iterator[str]:
    """Each attempt has the links of its task, and those to the attempts that it repeats."""
    for position, (line, span) in enumerate(attempts):
        wanted = {(role, _target(account, role, name, span)) for role, name in node.links}
        if line["redelivered"] or any(
            each["put_back"] and each["retries"] == line["retries"] for each, _ in attempts[:position]
        ):
            wanted.add(("redelivery", _first_delivery(attempts, line["retries"])))
        if line["retries"]:
            before = [each for each, _ in attempts[:position] if each["word"] == "retry"]
            wanted.add(("retry", before[-1]["span_id"]))
        if wanted != span.links:
            yield f"attempt {position}: links {sorted(span.links)} in place of {sorted(wanted)}"


def _target(account: _Account, role: str, name: str, span: Seen) -> str:
    """The id of the span that a link leads to."""
    if role == "group":  # whoever has sent the group
        sender = account.by_id[span.parent or ""]
        return sender.parent or ""
    if role == "chord-header":
        return str(account.attempts[name][0]["span_id"])
    return account.ended(name)


def _first_delivery(attempts: list[tuple[dict[str, Any], Seen]], retries: int) -> str:
    return next(str(line["span_id"]) for line, _ in attempts if line["retries"] == retries)
