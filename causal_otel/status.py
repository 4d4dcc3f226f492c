"""What :func:`causal_otel.status` answers, as values and as a page for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from causal_otel.configuration.in_force import SettingInForce
    from causal_otel.export.status import ExportStatus
    from causal_otel.instrument.declaration import PatchStatus
    from causal_otel.instrumentors.status import InstrumentorStatus
    from causal_otel.sampling.status import BufferStatus, SamplingStatus

__all__ = ["Status"]


class Status(NamedTuple):
    """What tracing is doing in this process. ``str()`` is a page for people."""

    installed: bool
    reason: str = ""
    """Why nothing is traced, if so."""
    service_name: str = ""
    destination: str = ""
    """Where spans go, without credentials."""
    warnings: tuple[str, ...] = ()
    """Settings that contradict each other or are not read, web frameworks that nothing traces: a sentence each."""
    settings: tuple[SettingInForce, ...] = ()
    """The settings that are not as they are by default, with where each was given."""
    patches: tuple[PatchStatus, ...] = ()
    instrumentors: tuple[InstrumentorStatus, ...] = ()
    """OpenTelemetry's instrumentors that were asked for, and what became of each."""
    untraced: tuple[str, ...] = ()
    """Libraries that are imported and that nothing traces, each with what would."""
    export: ExportStatus | None = None
    logs: ExportStatus | None = None
    """What has become of log records, where ``logs`` is ``export``."""
    metrics: str = ""
    """Where metrics go, and how many exports of them went well or failed; empty: there are none."""
    sampling: SamplingStatus | None = None
    """Which traces are recorded, and problems with the source of the rules; None: your own provider decides."""
    buffer: BufferStatus | None = None
    """Traces that are not sampled and wait for a failure; None: ``keep_errors`` is not ``process``."""
    profiling: str = ""
    """How often threads are looked at, and how many samples were taken; empty: ``profiling`` is off."""
    redacted: Mapping[str, int] = MappingProxyType({})
    """How often each rule has taken a secret out of what was exported, printed or read."""
    faults: Mapping[str, int] = MappingProxyType({})
    """How often we failed, by site; the user's calls were not affected."""

    def __str__(self) -> str:
        if not self.installed:
            return f"causal_otel: not tracing ({self.reason})"
        lines = [f"causal_otel: tracing {self.service_name or 'with your provider'} to {self.destination}"]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        lines += [f"  {setting}" for setting in self.settings]
        lines += [f"  {patch}" for patch in self.patches]
        lines += [f"  instrumentor {instrumentor}" for instrumentor in self.instrumentors]
        if self.untraced:
            lines.append(f"  imported, but not traced: {', '.join(self.untraced)}")
        if self.export is not None:
            lines.append(f"  spans: {self.export}")
        if self.logs is not None:
            lines.append(f"  log records: {self.logs}")
        if self.metrics:
            lines.append(f"  metrics: {self.metrics}")
        if self.sampling is not None:
            lines.append(f"  sampling: {self.sampling}")
        if self.buffer is not None:
            lines.append(f"  not sampled: {self.buffer}")
        if self.profiling:
            lines.append(f"  profiling: {self.profiling}")
        if self.redacted:
            lines.append(f"  redacted: {', '.join(f'{count} by {rule}' for rule, count in self.redacted.items())}")
        lines += [f"  failed {count} times: {site}" for site, count in self.faults.items()]
        return "\n".join(lines)
