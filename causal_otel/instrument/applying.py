"""A patch at work: post-import hooks, version gate, placing all or nothing, exact undoing.

wrapt resolves the targets and hooks their imports. Replacements are plain functions, not ``FunctionWrapper`` objects:
they bind, pickle, deep-copy and introspect as the original does, and cost less per call (see
docs/explanation/decisions/0020-replacements-are-plain-functions.md).
Each of them asks :meth:`Tracing.recorded` first, which is also the switch that an uninstall turns off: where somebody
else has wrapped around ours, ours stays in place and does nothing.
"""

from __future__ import annotations

import re
import sys
from copy import copy
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel._internal import faults
from causal_otel._internal.binding import bindable, in_place
from causal_otel._internal.log import logger
from causal_otel.instrument.declaration import Connect, PatchStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import ModuleType

    from causal_otel.instrument.declaration import Patch, Target
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Applied", "at_work", "release"]

_logger = logger()

at_work: set[str] = set()
"""The names of the patches that are on now. A patch of what is above a driver asks whether the driver's is."""


class _Group:
    """Targets that are placed all together or not at all.

    Attributes:
        name: what they trace.
        tracing: their handle, with a switch of their own.
        undoing: takes away what is placed.
        state: see :class:`PatchStatus`.
    """

    def __init__(self, name: str, tracing: Tracing[Any]) -> None:
        self.name = name
        self.tracing = tracing
        self.undoing: list[Callable[[], None]] = []
        self.state = "waiting"

    def undo(self, site: str) -> None:
        """Turn the switch off, then put every attribute back to the very object that stood there."""
        self.tracing.active = False
        while self.undoing:
            try:
                self.undoing.pop()()
            except Exception:
                faults.report(site)


class Applied:
    """A patch at work: waits for its modules, places the targets, and takes them away again."""

    def __init__(self, patch: Patch, tracing: Tracing[Any]) -> None:
        self.patch = patch
        told = (*([] if tracing.metrics is None else [tracing.metrics]), *tracing.observers)
        observers = tuple(type(observer).__name__.lower() for observer in told)
        self.status = PatchStatus(patch.name, "waiting", observers=observers)
        self._tracing = tracing
        self._over = False
        self._groups: dict[str, _Group] = {}
        self._gate: dict[str, str] = {}
        self._half_imported: list[Target] = []

    def apply(self, arrived: ModuleType | None = None, waited_for: Container[str] = ()) -> None:
        """Place the targets of all modules that are imported already, and of the others when they are imported.

        Args:
            arrived: the module that has just been imported.
            waited_for: the modules that :meth:`arrived` is called for when they have been. One of them may be imported
                halfway now, as psycopg_pool is where it was asked for first and imports psycopg: its targets wait.
        """
        for target in self.patch.targets:
            now = arrived is not None and target.module == arrived.__name__
            if target.module in waited_for and not now and _half_imported(target.module):
                self._half_imported.append(target)
                continue
            # wrapt keeps hooks for ever and lets their exceptions fail the import, hence the two checks in _imported.
            wrapt.register_post_import_hook(partial(self._imported, target), target.module)

    def arrived(self, module: ModuleType) -> None:
        """Place the targets of a module that was imported halfway before."""
        for target in [each for each in self._half_imported if each.module == module.__name__]:
            self._half_imported.remove(target)
            self._imported(target, module)

    def undo(self) -> None:
        """Take all of it away, exactly."""
        self._over = True
        at_work.discard(self.patch.name)
        for group in reversed(list(self._groups.values())):
            group.undo(f"{self.patch.name}: uninstall")

    def _imported(self, target: Target, module: ModuleType) -> None:
        if self._over:
            return
        name = target.module.partition(".")[0]
        distribution = self.patch.distributions.get(name, name)
        group = self._group(distribution)
        if group.state in ("unsupported", "failed"):
            return
        try:
            problem = self._out_of_range(distribution) or self._place(group, module, target)
        except Exception:
            faults.report(f"{self.patch.name}: patching {target.module}")
            self._leave_alone(group, "failed", f"{target.module}: see the log")
        else:
            if problem:
                self._leave_alone(group, "unsupported", problem)
            elif distribution in self.patch.versions or not self.patch.versions:
                group.state = "on"
        self._update_state()

    def _group(self, distribution: str) -> _Group:
        """The group that the targets of ``distribution`` belong to."""
        if distribution not in self.patch.versions:
            key = ""  # no driver but a module of ours, which needs none, or of the standard library
        else:
            key = distribution if self.patch.independent else self.patch.name
        return self._groups.setdefault(key, _Group(key or self.patch.name, copy(self._tracing)))

    def _leave_alone(self, group: _Group, state: str, problem: str) -> None:
        """Give the whole group up: undo what is placed, and place nothing that is imported later."""
        group.state = state
        group.undo(f"{self.patch.name}: undoing")
        self.status.problems.append(problem)
        _logger.warning("%s is not traced: %s", group.name, problem)

    def _update_state(self) -> None:
        states = {group.state for group in self._groups.values()} - {"waiting"}
        if states:
            self.status.state = states.pop() if len(states) == 1 else "partial"
        if self.status.state == "on":
            at_work.add(self.patch.name)
        else:
            at_work.discard(self.patch.name)

    def _place(self, group: _Group, module: ModuleType, target: Target) -> str:
        """Place ``target``; returns why that is impossible, or an empty string."""
        if isinstance(target, Connect):
            group.undoing.append(target.connect(group.tracing))
            return ""
        try:
            owner, attribute, original = wrapt.resolve_path(module, target.attribute)
        except AttributeError:
            return "" if target.optional else f"{target.module}.{target.attribute} does not exist in this version"
        inherited = attribute not in vars(owner)
        call = bindable(owner, attribute, original)
        replacement = target.wrap(group.tracing, call)
        if replacement is call:
            return ""  # the patch leaves this one alone
        placed = in_place(original, replacement)
        wrapt.apply_patch(owner, attribute, placed)

        def undo() -> None:
            if vars(owner).get(attribute) is not placed:
                return  # somebody wrapped around ours: theirs stays, ours is switched off
            if inherited:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, original)

        group.undoing.append(undo)
        return ""

    def _out_of_range(self, distribution: str) -> str:
        """The version gate: says that the version of a driver is not supported; empty: it is."""
        if distribution in self.patch.versions and distribution not in self._gate:
            first, last = self.patch.versions[distribution]
            try:
                version = metadata.version(distribution)
            except metadata.PackageNotFoundError:  # a copy of the driver that was not installed as a package
                version = "of unknown version"
            found = f"{distribution} {version}"
            self.status.version = " ".join(filter(None, (self.status.version, found)))
            supported = release(first) <= release(version) < release(last)
            self._gate[distribution] = "" if supported else f"{found} is not supported (from {first}, below {last})"
        return self._gate.get(distribution, "")


def _half_imported(name: str) -> bool:
    """Whether somebody is importing that module, and has not come to its end."""
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def release(version: str) -> tuple[int, ...]:
    """The release numbers of a version, ``"5.26.0rc1"`` as ``(5, 26, 0)``."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()
