"""The declaration of a patch: which distribution, which versions, and which targets.

A target is an attribute of a class (:class:`Wrap`) or an extension point that the driver itself offers
(:class:`Connect`). :class:`~causal_otel.instrument.applying.Applied` puts a declaration to work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanKind

    from causal_otel.instrument.measured import Measured
    from causal_otel.instrument.options import Options
    from causal_otel.instrument.tracing import Tracing

__all__ = ["Connect", "Patch", "PatchStatus", "Target", "Wrap"]


class Wrap(NamedTuple):
    """Replace an attribute of a class or module.

    Args:
        module: its module; importing that module is what applies the target.
        attribute: its path in the module, such as ``"Connection.fetch"``.
        wrap: takes the tracing handle and the original, and returns the replacement: a plain function made with
            :func:`functools.wraps`; or the original itself, to leave it alone. The original is to be called with the
            instance first, whatever kind of thing it is.
        optional: whether some supported versions lack it, so that its absence is nothing to report.
    """

    module: str
    attribute: str
    wrap: Callable[[Tracing[Any], Callable[..., Any]], Callable[..., Any]]
    optional: bool = False


class Connect(NamedTuple):
    """Use an extension point of the driver, such as a signal.

    Args:
        module: the module that offers it; importing it is what connects.
        connect: takes the tracing handle, connects, and returns what disconnects again.
    """

    module: str
    connect: Callable[[Tracing[Any]], Callable[[], None]]


Target = Wrap | Connect


class Patch(NamedTuple):
    """The declaration of one patch.

    Args:
        name: what ``install(patches=...)`` calls it.
        versions: per distribution that it covers, the first version supported and the first that is not. Empty: it
            covers modules of the standard library, which is there in one version.
        options: its options class.
        targets: what it replaces: all of them, or none if one cannot be placed or a distribution has another version.
            Half a patch would lose some spans, and record others twice.
        independent: whether its distributions do not need each other, so that each is such a whole by itself.
        records: the keys of all attributes that its spans may have.
        never: in words, what it has at hand and does not record.
        metrics: what is measured of operations of each kind, if metrics are on.
        pools: whether pools of connections are measured then, too.
        loops: whether event loops are.
        distributions: the distributions of top-level modules that have another name.
    """

    name: str
    versions: dict[str, tuple[str, str]]
    options: type[Options]
    targets: tuple[Target, ...]
    records: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    independent: bool = False
    metrics: Mapping[SpanKind, Measured] = MappingProxyType({})
    pools: bool = False
    loops: bool = False
    distributions: Mapping[str, str] = MappingProxyType({})


@dataclass
class PatchStatus:
    """What a patch is doing. ``str()`` is a line for people.

    ``state`` is ``off`` (not chosen), ``waiting`` (the driver is not imported yet), ``on``, ``unsupported`` (a version
    outside the range, or without something that the patch needs), ``failed`` (while patching, by our own fault), or
    ``partial`` (of drivers that do not need each other some are on, others not). ``observers`` are told of each
    operation: ``metrics``, ``hooks``.
    """

    name: str
    state: str = "off"
    version: str = ""
    problems: list[str] = field(default_factory=list)
    observers: tuple[str, ...] = ()

    def __str__(self) -> str:
        observers = f"({', '.join(self.observers)})" if self.observers else ""
        return " ".join(filter(None, (f"{self.name}: {self.state}", self.version, observers, "; ".join(self.problems))))
