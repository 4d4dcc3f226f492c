"""What happens when the process forks."""

from __future__ import annotations

import ast
from pathlib import Path

import causal_otel
from causal_otel._internal import faults, process
from tests.engine.forking import forked


class Told:
    """Notes each moment of a fork that it is told of."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes
        process.at_fork(before=self.before, in_parent=self.in_parent, in_child=self.in_child)

    def before(self) -> None:
        self._notes.append(f"{self._name} before")

    def in_parent(self) -> None:
        self._notes.append(f"{self._name} in parent")

    def in_child(self) -> None:
        self._notes.append(f"{self._name} in child")


def test_order() -> None:
    """Callbacks are called newest first before a fork and oldest first after it, in both processes."""
    notes: list[str] = []
    first, second = Told("first", notes), Told("second", notes)
    told = forked(lambda: ", ".join(notes))
    assert told == "second before, first before, first in child, second in child"
    assert notes == ["second before", "first before", "first in parent", "second in parent"]
    del first, second


def test_weakly_held() -> None:
    """An object that is gone is not called, and leaves nothing behind."""
    notes: list[str] = []
    gone = Told("gone", notes)
    del gone
    assert forked(lambda: ", ".join(notes)) == ""
    assert notes == []
    assert all(resolve() is not None for resolve in process._in_child.oldest_first())


def test_one_that_raises() -> None:
    """A callback that raises is reported, and those after it are called."""

    class Raising(Told):
        def in_child(self) -> None:
            raise RuntimeError("planted")

    notes: list[str] = []
    raising, good = Raising("raising", notes), Told("good", notes)
    site = f"fork: {Raising.in_child.__qualname__}"
    told = forked(lambda: f"{notes[-1]}, {faults.counts().get(site)}")
    assert told == "good in child, 1"
    assert site not in faults.counts()
    del raising, good


def test_token_is_another_in_the_child() -> None:
    """Callbacks in the child see its own token already."""
    seen: list[object] = []

    class Looking:
        def look(self) -> None:
            seen.append(process.token)

    looking = Looking()
    process.at_fork(in_child=looking.look)
    parents = process.token
    assert forked(lambda: str(seen[0] is process.token is not parents)) == "True"
    assert process.token is parents


def test_one_hook() -> None:
    """Nothing else of ours registers with os.register_at_fork()."""
    package = Path(causal_otel.__file__).parent
    callers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "register_at_fork"
    ]
    assert callers == ["_internal/process.py"]
