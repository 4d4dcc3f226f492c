"""What ``install()`` has put in place in this process: its patches, its pipeline, and the exact undoing of both."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel import names
from causal_otel._internal import faults
from causal_otel._internal.log import logger
from causal_otel.engine.children import Children
from causal_otel.engine.environ import Caller
from causal_otel.engine.foreign import contained, starter, tracer_of
from causal_otel.export.shutdown_hooks import ServerShutdown
from causal_otel.instrument.baggage import BaggageBorder
from causal_otel.instrument.declaration import PatchStatus
from causal_otel.instrument.deferred import DeferredPatch
from causal_otel.instrument.frameworks import recorded_twice, unwrapped
from causal_otel.instrument.tracing import Tracing
from causal_otel.instrument.untraced import untraced
from causal_otel.logs.correlation import Correlation
from causal_otel.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, Tracer, TracerProvider

    from causal_otel.configuration.in_force import SettingInForce
    from causal_otel.export.privacy import Policy
    from causal_otel.instrument.declaration import Patch
    from causal_otel.instrument.options import Options
    from causal_otel.instrument.registry import Registered
    from causal_otel.instrumentors.applied import AppliedInstrumentors
    from causal_otel.instrumentors.choice import Choice
    from causal_otel.instrumentors.provider import Providers
    from causal_otel.metrics.measuring import Measuring
    from causal_otel.pipeline import Pipeline
    from causal_otel.settings import Settings
    from causal_otel.status_file import StatusFile

__all__ = ["Call", "Installation", "installation", "lock", "observe", "put_in_force"]

_logger = logger()
lock = threading.RLock()
"""Held while an installation is made or undone."""
_current: Installation | None = None
_observers: list[Callable[[Installation], None]] = []


def installation() -> Installation | None:
    """The installation in force, if any."""
    return _current


def put_in_force(made: Installation) -> Installation:
    """Make this the installation in force, and return it. The caller has the lock."""
    global _current
    _current = made
    for told in _observers.copy():
        told(made)
    return made


def observe(told: Callable[[Installation], None]) -> Callable[[], None]:
    """Have ``told`` called with each installation that is put in force from now on, before its patches are applied.

    Returns:
        Ends that.
    """
    _observers.append(told)
    return lambda: _observers.remove(told)


class Call(NamedTuple):
    """A call of :func:`install`: where it stands, and what it was given."""

    place: str
    arguments: Mapping[str, Any]


class Installation:
    """What :func:`install` has put in place.

    Attributes:
        tracer_provider: the provider that the patches use.
        tracer: the tracer for spans of your own; the one that :func:`causal_otel.span` uses. With a provider of your
            own it starts that provider's spans, and never raises in doing so.
        pipeline: what exports the spans; None with a provider of your own.
        reason: why nothing is traced, if so.
        settings: what it was made with; None: it traces nothing.
        start: starts the spans that our own code ends, with the arguments of the tracer's ``start_span``.
    """

    # Whether it was made before the application ran, from the environment alone: a call of install() that says more
    # takes its place.
    replaceable = False
    # Whether tests are recorded: patches that are applied from then on tell which line of code issued an operation.
    in_tests = False

    def __init__(
        self,
        tracer_provider: TracerProvider,
        pipeline: Pipeline | None,
        call: Call,
        reason: str = "",
        policy: Policy | None = None,
        measuring: Measuring | None = None,
    ) -> None:
        self.tracer_provider = tracer_provider
        self.tracer: Tracer = contained(tracer_of(tracer_provider, "causal_otel"))
        self.start: Callable[..., Span] = starter(self.tracer)
        self.pipeline = pipeline
        self.settings: Settings | None = None
        self.call = call
        self._warnings: dict[str, None] = {}
        self.reason = reason
        self.tracings: dict[str, Tracing[Any]] = {}
        self._patches: list[DeferredPatch] = []
        self._instrumentors: AppliedInstrumentors | None = None
        self._instrumentor_providers: Providers | None = None
        self._require_parent = False
        self._border = BaggageBorder()
        self._handles: dict[str, Tracing[Any]] = {}
        self._registered: Mapping[str, Registered] = {}
        self._server_shutdown: ServerShutdown | None = None
        self._forget: tuple[Callable[[], None], ...] = ()
        self._correlation: Correlation | None = None
        self._policy = policy
        self._measuring = measuring
        self._status_file: StatusFile | None = None
        self._log_filter: logging.Filter | None = None
        if policy is not None:
            self._log_filter = policy.log_filter()
            _logger.logger.addFilter(self._log_filter)

    def __repr__(self) -> str:
        if self.reason:
            return f"<Installation, not tracing: {self.reason}>"
        patches = ", ".join(patch.status.name for patch in self._patches) or "none"
        if self.pipeline is None:
            return f"<Installation on {type(self.tracer_provider).__qualname__}, patches: {patches}>"
        pipeline = self.pipeline
        return f"<Installation of {pipeline.service_name!r}, sending to {pipeline.destination}, patches: {patches}>"

    def apply(
        self,
        registered: Mapping[str, Registered],
        chosen: Mapping[str, Callable[[Patch], Options]],
        border: BaggageBorder,
        logs: str,
        instrumentors: Choice | None,
        *,
        require_parent: bool,
    ) -> None:
        """Put the chosen patches and what goes with them in place. The caller has put this in force."""
        self._registered = registered
        self._border = border
        self._require_parent = require_parent
        self._correlation = Correlation(self._service_name(), records=logs != "off")
        self._forget = (Children().forget, Caller(border.admit).forget)
        self._server_shutdown = ServerShutdown(self._leave)
        if self._measuring is not None:
            self._measuring.start()
        for name, options in chosen.items():
            patch = DeferredPatch(registered[name], partial(self._tracing, options, border))
            self._patches.append(patch)
            patch.apply()
        if instrumentors is not None:
            from causal_otel.instrumentors.applied import AppliedInstrumentors

            self._instrumentors = AppliedInstrumentors(instrumentors, self.instrumentor_providers(), self.warn)
            self._instrumentors.apply()

    def keep_status_file(self, directory: str) -> None:
        """Keep what :meth:`status` says in a file of that directory, for ``causal-otel doctor``."""
        from causal_otel.status_file import StatusFile, described

        self._status_file = StatusFile(directory, lambda: described(self.status(), self.tracer_provider))
        if self.pipeline is not None:
            self.pipeline.set_heartbeat(self._status_file)

    def instrumentor_providers(self) -> Providers:
        """Where the data of OpenTelemetry's instrumentors goes, for whoever applies some."""
        if self._instrumentor_providers is None:
            from causal_otel.instrumentors.provider import Providers

            meters = None if self._measuring is None else self._measuring.meters()
            roots = not self._require_parent
            self._instrumentor_providers = Providers(self.tracer_provider, meters, self._border, roots=roots)
        return self._instrumentor_providers

    @property
    def exports_logs(self) -> bool:
        """Whether log records are sent."""
        return self.pipeline is not None and self.pipeline.logs() is not None

    def tracing(self, patch: Patch) -> Tracing[Any]:
        """The handle of what is not placed but called by the application, with the options that it has by default."""
        found = self._handles.get(patch.name)
        if found is None:
            made = self._tracing(lambda patch: patch.options(), self._border, patch)
            found = self._handles.setdefault(patch.name, made)
        return found

    def _tracing(self, options: Callable[[Patch], Options], border: BaggageBorder, patch: Patch) -> Tracing[Any]:
        tracer = tracer_of(self.tracer_provider, f"causal_otel.{patch.name}")
        metrics = None if self._measuring is None else self._measuring.metrics(patch)
        pools = self._measuring.pools if self._measuring is not None and patch.pools else None
        loops = self._measuring.loops if self._measuring is not None and patch.loops else None
        place = self.pipeline
        about = "with your provider" if place is None else f"{place.service_name} to {place.destination}"
        flush, policy = self.flush, self._policy
        chosen = options(patch)
        if self.in_tests:
            chosen = _for_tests(chosen)
        made: Tracing[Any] = Tracing(
            tracer, chosen, flush, border, policy, metrics=metrics, pools=pools, loops=loops, about=about
        )
        self.tracings[patch.name] = made
        return made

    def _service_name(self) -> str:
        if self.pipeline is not None:
            return self.pipeline.service_name
        try:  # the SDK's providers tell it, the API's do not
            return str(self.tracer_provider.resource.attributes.get(names.SERVICE_NAME, ""))  # type: ignore[attr-defined]
        except Exception:
            return ""

    def warn(self, warning: str) -> None:
        """Say it in the log, and from now on in :meth:`status`."""
        self._warnings[warning] = None
        _logger.warning("%s", warning)

    def called_again(self, call: Call) -> None:
        """Say what a later call of :func:`install` wanted and does not get; nothing if it wants the same."""
        if self.reason:
            return  # switched off
        first, name = self.call, call.arguments.get("service_name")
        ours = first.arguments.get("service_name")
        ignored = [key for key, value in call.arguments.items() if first.arguments.get(key) != value]
        if name and ours and name != ours:
            self.warn(
                f"this process is named {ours!r} by install() at {first.place}, so install(service_name={name!r}) at "
                f"{call.place} is ignored. Name no service in a module that several programs import: call install() "
                "without service_name there, and set OTEL_SERVICE_NAME for each process"
            )
        elif ignored:
            self.warn(
                f"install() at {call.place} is ignored, with its {', '.join(ignored)}: install() was called at "
                f"{first.place} before; call uninstall() first to change something"
            )

    def flush(self, timeout: float = 5.0) -> bool:
        """Export every span that has ended so far, what has been measured, and every record that is to be sent.

        Args:
            timeout: how long to wait, in seconds.

        Returns:
            Whether all of that was delivered in that time.
        """
        if self._measuring is None:
            return self._flush_spans(timeout)
        deadline = time.monotonic() + timeout
        finish = self._measuring.begin_flush()
        return self._flush_spans(timeout) & finish(deadline)

    def _leave(self) -> None:
        """Export what is left: a server has shut down, and the process may end or not."""
        spans = self._flush_spans if self.pipeline is None else self.pipeline.leave
        if self._measuring is None:
            spans()
        else:
            self._measuring.flush_with(spans)

    def _flush_spans(self, timeout: float = 5.0) -> bool:
        force_flush: Callable[[int], bool] | None = getattr(self.tracer_provider, "force_flush", None)
        try:
            if self.pipeline is not None:
                return self.pipeline.flush(timeout)
            return force_flush is None or bool(force_flush(int(timeout * 1000)))
        except Exception:
            faults.report("your tracer provider: force_flush")
            return False

    def status(self) -> Status:
        """What is patched, where spans go, and what has become of them."""
        if self.reason:
            return Status(False, self.reason)
        from causal_otel.instrumentors.suggestions import advice

        rows = {status.name: status for status in (patch.status for patch in self._patches)}
        patches = tuple(rows.get(name, PatchStatus(name)) for name in self._registered)
        common = Status(
            True,
            destination="it",
            warnings=(*self._warnings, *unwrapped(rows), *recorded_twice()),
            settings=self._settings_in_force(),
            patches=patches,
            instrumentors=() if self._instrumentors is None else self._instrumentors.status(),
            untraced=untraced(advice),
            metrics="" if self._measuring is None else str(self._measuring),
            redacted={} if self._policy is None else self._policy.counts(),
            faults=faults.counts(),
        )
        if self.pipeline is None:
            return common
        return common._replace(
            service_name=self.pipeline.service_name,
            destination=self.pipeline.destination,
            export=self.pipeline.status(),
            logs=self.pipeline.logs(),
            sampling=self.pipeline.sampling(),
            buffer=self.pipeline.buffer(),
            profiling=self.pipeline.profiling(),
        )

    def _settings_in_force(self) -> tuple[SettingInForce, ...]:
        if self.settings is None:
            return ()
        from causal_otel.configuration.in_force import in_force

        return in_force(self.settings, f"install() at {self.call.place}")

    def uninstall(self) -> None:
        """Restore every patched attribute to the very object it was, and export what is left."""
        global _current
        with lock:
            if _current is not self:
                return
            _current = None
        if self._server_shutdown is not None:
            self._server_shutdown.remove()
        for forget in self._forget:
            forget()
        if self._instrumentors is not None:
            self._instrumentors.undo()
        if self._instrumentor_providers is not None:
            self._instrumentor_providers.close()
        for patch in reversed(self._patches):
            patch.undo()
        if self._correlation is not None:
            self._correlation.undo()
        if self._status_file is not None:
            self._status_file.remove()
        self.reason = "uninstalled"
        measuring = self._measuring
        if self.pipeline is not None:
            self.pipeline.close(None if measuring is None else measuring.close)
        elif measuring is not None:
            measuring.close()
        if self._log_filter is not None:
            _logger.logger.removeFilter(self._log_filter)


def _for_tests(options: Options) -> Options:
    """The options of a patch, with the line of code that has issued an operation switched on where there is that."""
    known = any(each.name == "code_origin" for each in fields(options))
    return replace(options, code_origin=True) if known else options  # type: ignore[call-arg]
