"""What :mod:`tests.patches.test_celery_chaos` sends: random tasks and canvases, and what must come of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import chain, chord, group

from tests.patches.celery_chaos_app import HARD_LIMIT, SOFT_LIMIT, app, errback, late, step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

__all__ = ["Node", "Plan", "Unit"]

REPEATED = ("retry", "retry", "retry", "requeue", "kill")
"""What an attempt comes to after which there is another one."""
LAST = (*("ok",) * 60, *("fail",) * 8, *("expected",) * 4, *("ignore",) * 4, *("reject",) * 3)
RARE = ("exit", "hard", "hang", "soft", "kill", "revoked", "expired", "unknown")
"""What costs a process, a second or a control command: so many of each."""

LIMITS: dict[str, dict[str, Any]] = {"hard": {"time_limit": HARD_LIMIT}, "soft": {"soft_time_limit": SOFT_LIMIT}}


@dataclass
class Node:
    """A task of a unit.

    Attributes:
        name: its own.
        script: what becomes of each attempt at it; nothing: there is none.
        links: the roles of the links of each attempt, and the nodes that they lead to; "": to who has sent it.
        discarded: why it is discarded before there is an attempt, as ``revoked``.
        late: whether it is acknowledged late.
        sender: the nodes one of whose attempts sends it; none: the test does.
    """

    name: str
    script: list[str]
    links: set[tuple[str, str]] = field(default_factory=set)
    discarded: str | None = None
    late: bool = False
    sender: tuple[str, ...] = ()


@dataclass
class Unit:
    """What is sent at once, and the nodes it has; ``task_id`` is known once it has been sent."""

    canvas: Any
    nodes: list[Node]
    task_id: str | None = None


class Plan:
    """Random units.

    Args:
        random: where from.
        tasks: how many nodes there are at least.
        rare: how many there are of each of the rare things.
    """

    def __init__(self, random: Random, tasks: int, rare: int) -> None:
        self._random = random
        self._count = 0
        shapes = [
            *(self._chain, self._chain, self._group, self._chord, self._nested, self._callbacks),
            *(self._chains_in_group, self._chains_in_chord, self._chord_in_chord, self._broken_chord),
        ]
        units = [self._single(word) for word in RARE for _ in range(rare)]
        while self._count < tasks:
            units.append(self._single() if random.random() < 0.8 else random.choice(shapes)())
        random.shuffle(units)
        self.units = units
        self.nodes = {node.name: node for unit in units for node in unit.nodes}

    def is_done(self, ledger: Iterable[Mapping[str, Any]]) -> bool:
        """Whether there are all the attempts that there must be, and those that Celery adds where it puts one back."""
        missing = Counter({name: len(node.script) for name, node in self.nodes.items()})
        for line in ledger:
            is_again = line["put_back"] and line["word"] == self.nodes[line["node"]].script[-1]
            missing[line["node"]] -= not is_again
        return max(missing.values()) <= 0

    def _node(self, *script: str, late: bool | None = None, **known: Any) -> Node:
        """A node; without a script, one that goes well in the end."""
        self._count += 1
        is_late = self._random.random() < 0.5 if late is None else late
        words = list(script)
        if not script:
            words = ["ok"]
            while self._random.random() < 0.1:
                words.insert(0, "retry" if not is_late else self._random.choice(REPEATED[:4]))
        return Node(f"n{self._count}", words, late=is_late, **known)

    def _signature(self, node: Node, **options: Any) -> Any:
        task = late if node.late else step
        return task.s(node=node.name, script=node.script).set(**options)

    def _single(self, word: str | None = None) -> Unit:
        options: dict[str, Any] = {}
        if word is None:
            node = self._node()
            node.script[-1] = self._random.choice(LAST)
            if node.script[-1] == "reject":  # which only what is acknowledged late can be
                node.late = True
            if self._random.random() < 0.1:
                options["countdown"] = self._random.random()
        elif word == "unknown":
            node = self._node("ok")
            node.script, node.discarded = [], word
            return Unit(app.signature("chaos.nowhere", kwargs={"node": node.name}), [node])
        elif word in ("revoked", "expired"):
            node = self._node("ok")
            node.script, node.discarded = [], word
            options = {"countdown": 8} if word == "revoked" else {"expires": 0}
        elif word == "kill":
            again = self._random.random() < 0.7
            node = self._node("retry", "kill", "kill", "ok", late=True) if again else self._node("kill", late=False)
        else:
            node = self._node(word, late=False)
            options = LIMITS.get(word, {})
        return Unit(self._signature(node, **options), [node])

    def _chain(self) -> Unit:
        nodes = self._chained(self._random.randint(2, 5))
        return Unit(chain(*map(self._signature, nodes)), nodes)

    def _chained(self, count: int, before: Node | None = None) -> list[Node]:
        nodes: list[Node] = []
        for _ in range(count):
            known: dict[str, Any] = {}
            if before is not None:
                known = {"links": {("chain", before.name)}, "sender": (before.name,)}
            before = self._node(**known)
            nodes.append(before)
        return nodes

    def _members(self) -> list[Node]:
        return [self._node(links={("group", "")}) for _ in range(self._random.randint(2, 6))]

    def _body(self, header: list[Node]) -> Node:
        names = tuple(each.name for each in header)
        return self._node(links={("chord-header", name) for name in names}, sender=names)

    def _group(self) -> Unit:
        nodes = self._members()
        return Unit(group([self._signature(each) for each in nodes]), nodes)

    def _chord(self) -> Unit:
        nodes = self._members()
        body = self._body(nodes)
        canvas = chord(group([self._signature(each) for each in nodes]), self._signature(body))
        return Unit(canvas, [*nodes, body])

    def _chains(self) -> tuple[list[Any], list[Node], list[Node]]:
        """Members of a group that are chains of two: their signatures, all nodes, and the last ones."""
        signatures, nodes, last = [], [], []
        for first in self._members()[:3]:
            [second] = self._chained(1, first)
            signatures.append(chain(self._signature(first), self._signature(second)))
            nodes += [first, second]
            last.append(second)
        return signatures, nodes, last

    def _chains_in_group(self) -> Unit:
        signatures, nodes, _ = self._chains()
        return Unit(group(signatures), nodes)

    def _chains_in_chord(self) -> Unit:
        signatures, nodes, last = self._chains()
        body = self._body(last)
        return Unit(chord(group(signatures), self._signature(body)), [*nodes, body])

    def _chord_in_chord(self) -> Unit:
        inner, others = self._members(), self._members()[:2]
        between = self._body(inner)
        last = self._body([between, *others])
        member = chord(group([self._signature(each) for each in inner]), self._signature(between))
        canvas = chord(group([member, *map(self._signature, others)]), self._signature(last))
        return Unit(canvas, [*inner, *others, between, last])

    def _nested(self) -> Unit:
        """A chain, a group, its body and a task after that: Celery makes a chord of the middle."""
        [first] = self._chained(1)
        members = [
            self._node(links={("chain", first.name)}, sender=(first.name,)) for _ in range(self._random.randint(2, 5))
        ]
        body = self._body(members)
        last = self._chained(self._random.randint(1, 2), body)
        canvas = chain(
            self._signature(first),
            group([self._signature(each) for each in members]),
            self._signature(body),
            *map(self._signature, last),
        )
        return Unit(canvas, [first, *members, body, *last])

    def _callbacks(self) -> Unit:
        """A task with a callback, or one that fails and has an errback."""
        if self._random.random() < 0.5:
            node = self._node()
            after = self._node(links={("callback", node.name)}, sender=(node.name,))
            signature = self._signature(node, link=self._signature(after))
        else:
            node = self._node("retry", "fail")
            after = self._node("ok", late=False, links={("errback", node.name)}, sender=(node.name,))
            signature = self._signature(node, link_error=errback.s(node=after.name, script=after.script))
        return Unit(signature, [node, after])

    def _broken_chord(self) -> Unit:
        """A chord one of whose header's tasks fails, so that its body is never sent."""
        nodes = self._members()
        nodes[0].script[-1] = "fail"
        body = self._node("ok")
        body.script = []
        canvas = chord(group([self._signature(each) for each in nodes]), self._signature(body))
        return Unit(canvas, [*nodes, body])
