"""The layer under every patch: post-import hooks, version gate, placing, contained failure, exact undoing.

A patch is a declaration (:class:`Patch`): which distribution, which versions, and which targets. A target is an
attribute of a class (:class:`Wrap`) or an extension point that the driver itself offers (:class:`Connect`).

wrapt resolves the targets and hooks their imports. Replacements are plain functions, not ``FunctionWrapper`` objects:
they bind, pickle, deep-copy and introspect as the original does, and cost less per call (see docs/architecture.md).
Each of them asks :meth:`Tracing.recorded` first, which is also the switch that an uninstall turns off: where somebody
else has wrapped around ours, ours stays in place and does nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import wrapt

from causal_otel._log import logger
from causal_otel.engine import faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from causal_otel.patches._tracing import Options, Tracing

__all__ = ["Applied", "Connect", "Patch", "PatchStatus", "Target", "Wrap"]

_logger = logger()


@dataclass(frozen=True)
class Wrap:
    """Replace an attribute of a class or module.

    Args:
        module: its module; importing that module is what applies the target.
        attribute: its path in the module, such as ``"Connection.fetch"``.
        wrap: takes the tracing handle and the original, and returns the replacement: a plain function made with
            :func:`functools.wraps`.
        optional: whether some supported versions lack it, so that its absence is nothing to report.
    """

    module: str
    attribute: str
    wrap: Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]
    optional: bool = False


@dataclass(frozen=True)
class Connect:
    """Use an extension point of the driver, such as a signal.

    Args:
        module: the module that offers it; importing it is what connects.
        connect: takes the tracing handle, connects, and returns what disconnects again.
    """

    module: str
    connect: Callable[[Tracing[Any]], Callable[[], None]]


Target = Wrap | Connect


@dataclass(frozen=True)
class Patch:
    """The declaration of one patch.

    Args:
        name: what ``install(patches=...)`` calls it.
        versions: per distribution that it covers, the first version supported and the first that is not.
        options: its options class.
        targets: where it takes hold.
        records: the keys of all attributes that its spans may have.
        never: in words, what it has at hand and does not record.
    """

    name: str
    versions: dict[str, tuple[str, str]]
    options: type[Options]
    targets: tuple[Target, ...]
    records: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


@dataclass
class PatchStatus:
    """What a patch is doing. ``str()`` is a line for people.

    ``state`` is ``off`` (not chosen), ``waiting`` (the driver is not imported yet), ``on``, ``partial`` (something it
    wanted is not there), ``unsupported`` (a version outside the range), or ``failed``.
    """

    name: str
    state: str = "off"
    version: str = ""
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.name}: {self.state}", self.version, "; ".join(self.problems))))


class Applied:
    """A patch at work: waits for its modules, places the targets, and takes them away again."""

    def __init__(self, patch: Patch, tracing: Tracing[Any]) -> None:
        self.patch = patch
        self.tracing = tracing
        self.status = PatchStatus(patch.name, "waiting")
        self._undo: list[Callable[[], None]] = []
        self._gate: dict[str, bool] = {}

    def apply(self) -> None:
        """Take hold of every module that is imported already, and of the others when they are."""
        for target in self.patch.targets:
            # wrapt keeps hooks for ever and lets their exceptions fail the import, hence the two checks in _arrived.
            wrapt.register_post_import_hook(partial(self._arrived, target), target.module)

    def undo(self) -> None:
        """Turn the switch off, then put every attribute back to the very object that stood there."""
        self.tracing.active = False
        for undo in reversed(self._undo):
            try:
                undo()
            except Exception:
                faults.report(f"{self.patch.name}: uninstall")
        self._undo.clear()

    def _arrived(self, target: Target, module: ModuleType) -> None:
        if not self.tracing.active:
            return
        try:
            if self._supported(target.module.partition(".")[0]):
                self._place(module, target)
        except Exception:
            self._problem("failed", f"{target.module}: see the log")
            faults.report(f"{self.patch.name}: patching {target.module}")

    def _place(self, module: ModuleType, target: Target) -> None:
        if isinstance(target, Connect):
            self._undo.append(target.connect(self.tracing))
        else:
            try:
                owner, attribute, original = wrapt.resolve_path(module, target.attribute)
            except AttributeError:
                if not target.optional:
                    self._problem("partial", f"{target.module}.{target.attribute} does not exist in this version")
                return
            inherited = attribute not in vars(owner)
            replacement = target.wrap(self.tracing, original)
            wrapt.apply_patch(owner, attribute, replacement)

            def undo() -> None:
                if vars(owner).get(attribute) is not replacement:
                    return  # somebody wrapped around ours: theirs stays, ours is switched off
                if inherited:
                    delattr(owner, attribute)
                else:
                    setattr(owner, attribute, original)

            self._undo.append(undo)
        if self.status.state == "waiting" and self._gate:
            self.status.state = "on"

    def _supported(self, distribution: str) -> bool:
        """The version gate; a driver outside the range is left alone, visibly."""
        if distribution not in self.patch.versions:
            return True  # no driver: a module of ours
        if distribution not in self._gate:
            first, last = self.patch.versions[distribution]
            try:
                version = metadata.version(distribution)
            except metadata.PackageNotFoundError:  # a copy of the driver that was not installed as a package
                version = "of unknown version"
            supported = _release(first) <= _release(version) < _release(last)
            self._gate[distribution] = supported
            self.status.version = " ".join(filter(None, (self.status.version, f"{distribution} {version}")))
            if not supported:
                problem = f"{distribution} {version} is not supported (from {first}, below {last})"
                self._problem("unsupported", problem)
                _logger.warning("%s is not traced: %s", self.patch.name, problem)
        return self._gate[distribution]

    def _problem(self, state: str, problem: str) -> None:
        self.status.state = state
        self.status.problems.append(problem)


def _release(version: str) -> tuple[int, ...]:
    """The release numbers of a version, ``"5.26.0rc1"`` as ``(5, 26, 0)``."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()
