"""``install()``: settings, then provider, then patches, once; and its exact undoing.

What imports the OpenTelemetry SDK, such as the pipeline, is imported only inside, after the settings are checked: the
SDK reads some variables while it is imported, and would refuse bad ones in words that help nobody.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from opentelemetry import trace
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER

from causal_otel import names
from causal_otel._internal import faults
from causal_otel._internal.log import logger
from causal_otel.destination import conflicts
from causal_otel.engine.children import Children
from causal_otel.engine.environ import Caller
from causal_otel.engine.foreign import NoTracer, contained, starter, tracer_of
from causal_otel.export.shutdown_hooks import ServerShutdown
from causal_otel.instrument import registry
from causal_otel.instrument.baggage import BaggageBorder
from causal_otel.instrument.declaration import PatchStatus
from causal_otel.instrument.deferred import DeferredPatch
from causal_otel.instrument.frameworks import unwrapped
from causal_otel.instrument.tracing import Tracing
from causal_otel.instrument.untraced import untraced
from causal_otel.load_settings import load_settings, unread_variables
from causal_otel.logs.correlation import Correlation
from causal_otel.patch_choice import Patches, check_app, choose, with_defaults
from causal_otel.settings import SettingError
from causal_otel.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from causal_otel.export.privacy import Policy
    from causal_otel.instrument.declaration import Patch
    from causal_otel.instrument.options import Options
    from causal_otel.instrument.registry import Registered
    from causal_otel.metrics.measuring import Measuring
    from causal_otel.pipeline import Pipeline
    from causal_otel.setting_arguments import SettingArguments
    from causal_otel.settings import Settings

__all__ = ["Installation", "Patches", "install", "installation", "status", "uninstall"]

_logger = logger()
_lock = threading.RLock()
_current: Installation | None = None


class _Call(NamedTuple):
    """A call of :func:`install`: where it stands, and what it was given."""

    place: str
    arguments: Mapping[str, object]


class Installation:
    """What :func:`install` has put in place.

    Attributes:
        tracer_provider: the provider that the patches use.
        tracer: the tracer for spans of your own; the one that :func:`causal_otel.span` uses. With a provider of your
            own it starts that provider's spans, and never raises in doing so.
        start: starts the spans that our own code ends, with the arguments of the tracer's ``start_span``.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider,
        pipeline: Pipeline | None,
        call: _Call,
        reason: str = "",
        policy: Policy | None = None,
        measuring: Measuring | None = None,
    ) -> None:
        self.tracer_provider = tracer_provider
        self.tracer: Tracer = contained(tracer_of(tracer_provider, "causal_otel"))
        self.start: Callable[..., Span] = starter(self.tracer)
        self._pipeline = pipeline
        self._call = call
        self._warnings: dict[str, None] = {}
        self._reason = reason
        self._patches: list[DeferredPatch] = []
        self._border = BaggageBorder()
        self._handles: dict[str, Tracing[Any]] = {}
        self._registered: Mapping[str, Registered] = {}
        self._server_shutdown: ServerShutdown | None = None
        self._forget: tuple[Callable[[], None], ...] = ()
        self._correlation: Correlation | None = None
        self._policy = policy
        self._measuring = measuring
        self._log_filter: logging.Filter | None = None
        if policy is not None:
            self._log_filter = policy.log_filter()
            _logger.logger.addFilter(self._log_filter)

    def __repr__(self) -> str:
        if self._reason:
            return f"<Installation, not tracing: {self._reason}>"
        patches = ", ".join(patch.status.name for patch in self._patches) or "none"
        if self._pipeline is None:
            return f"<Installation on {type(self.tracer_provider).__qualname__}, patches: {patches}>"
        pipeline = self._pipeline
        return f"<Installation of {pipeline.service_name!r}, sending to {pipeline.destination}, patches: {patches}>"

    def _apply(
        self,
        registered: Mapping[str, Registered],
        chosen: Mapping[str, Callable[[Patch], Options]],
        border: BaggageBorder,
        logs: str,
    ) -> None:
        self._registered = registered
        self._border = border
        self._correlation = Correlation(self._service_name(), records=logs != "off")
        self._forget = (Children().forget, Caller(border.admit).forget)
        self._server_shutdown = ServerShutdown(self._leave)
        if self._measuring is not None:
            self._measuring.start()
        for name, options in chosen.items():
            patch = DeferredPatch(registered[name], partial(self._tracing, options, border))
            self._patches.append(patch)
            patch.apply()

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
        place = self._pipeline
        about = "with your provider" if place is None else f"{place.service_name} to {place.destination}"
        flush, policy = self.flush, self._policy
        return Tracing(
            tracer, options(patch), flush, border, policy, metrics=metrics, pools=pools, loops=loops, about=about
        )

    def _service_name(self) -> str:
        if self._pipeline is not None:
            return self._pipeline.service_name
        try:  # the SDK's providers tell it, the API's do not
            return str(self.tracer_provider.resource.attributes.get(names.SERVICE_NAME, ""))  # type: ignore[attr-defined]
        except Exception:
            return ""

    def _warn(self, warning: str) -> None:
        self._warnings[warning] = None
        _logger.warning("%s", warning)

    def _called_again(self, call: _Call) -> None:
        """Say what a later call of :func:`install` wanted and does not get; nothing if it wants the same."""
        if self._reason:
            return  # switched off
        first, name = self._call, call.arguments.get("service_name")
        ours = first.arguments.get("service_name")
        ignored = [key for key, value in call.arguments.items() if first.arguments.get(key) != value]
        if name and ours and name != ours:
            self._warn(
                f"this process is named {ours!r} by install() at {first.place}, so install(service_name={name!r}) at "
                f"{call.place} is ignored. Name no service in a module that several programs import: call install() "
                "without service_name there, and set OTEL_SERVICE_NAME for each process"
            )
        elif ignored:
            self._warn(
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
        spans = self._flush_spans if self._pipeline is None else self._pipeline.leave
        if self._measuring is None:
            spans()
        else:
            self._measuring.flush_with(spans)

    def _flush_spans(self, timeout: float = 5.0) -> bool:
        force_flush: Callable[[int], bool] | None = getattr(self.tracer_provider, "force_flush", None)
        try:
            if self._pipeline is not None:
                return self._pipeline.flush(timeout)
            return force_flush is None or bool(force_flush(int(timeout * 1000)))
        except Exception:
            faults.report("your tracer provider: force_flush")
            return False

    def status(self) -> Status:
        """What is patched, where spans go, and what has become of them."""
        if self._reason:
            return Status(False, self._reason)
        rows = {status.name: status for status in (patch.status for patch in self._patches)}
        patches = tuple(rows.get(name, PatchStatus(name)) for name in self._registered)
        common = Status(
            True,
            destination="it",
            warnings=(*self._warnings, *unwrapped(rows)),
            patches=patches,
            untraced=untraced(),
            metrics="" if self._measuring is None else str(self._measuring),
            redacted={} if self._policy is None else self._policy.counts(),
            faults=faults.counts(),
        )
        if self._pipeline is None:
            return common
        return common._replace(
            service_name=self._pipeline.service_name,
            destination=self._pipeline.destination,
            export=self._pipeline.status(),
            logs=self._pipeline.logs(),
            sampling=self._pipeline.sampling(),
            buffer=self._pipeline.buffer(),
        )

    def uninstall(self) -> None:
        """Restore every patched attribute to the very object it was, and export what is left."""
        global _current
        with _lock:
            if _current is not self:
                return
            _current = None
        if self._server_shutdown is not None:
            self._server_shutdown.remove()
        for forget in self._forget:
            forget()
        for patch in reversed(self._patches):
            patch.undo()
        if self._correlation is not None:
            self._correlation.undo()
        self._reason = "uninstalled"
        measuring = self._measuring
        if self._pipeline is not None:
            self._pipeline.close(None if measuring is None else measuring.close)
        elif measuring is not None:
            measuring.close()
        if self._log_filter is not None:
            _logger.logger.removeFilter(self._log_filter)


def install(
    app: object = None,
    *,
    service_name: str | None = None,
    patches: Patches = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    **settings: Unpack[SettingArguments],
) -> Installation:
    """Trace this process. The one call of an API process and of a worker alike, as early as you can.

    A second call changes nothing; where it asks for something else than the first, a warning names both. With
    ``TRACING_ENABLED=false`` or ``OTEL_SDK_DISABLED=true`` it returns at once. Where a tracer provider is set already,
    by you or by another tool, the patches use that one. If that provider raises when it is asked for a tracer, nothing
    is patched: :func:`status` and one line of the log say so.

    Args:
        app: the FastAPI or Starlette application, if you like to name it: applications are traced by class, so those
            made earlier or later are traced as well.
        service_name: what the spans are about. Leave it out in a module that several programs import, and set
            ``OTEL_SERVICE_NAME`` for each of them.
        patches: None for all; names, such as ``["asyncpg", "redis"]``; or a mapping of name to bool or options. One
            that only leaves out, such as ``{"threads": False}``, is all others.
        tracer_provider: use this one, and configure no pipeline.
        meter_provider: hand the metrics of operations to this one. Default: the one that is set already, if any; else
            they go where the setting ``metrics_exporter`` says.
        settings: any other setting by its name in ``docs/reference/settings.md``; it beats its environment variable.

    Returns:
        The installation, for ``flush()``, ``status()`` and ``uninstall()``.

    Raises:
        SettingError: something given, or in the environment, is not allowed. Nothing has been changed then.
    """
    global _current
    providers = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    given = {"service_name": service_name, "patches": patches, **providers, **settings}
    caller = sys._getframe(1)
    call = _Call(
        f"{caller.f_code.co_filename}:{caller.f_lineno}",
        {name: value for name, value in given.items() if value is not None},
    )
    with _lock:
        if _current is not None:
            _current._called_again(call)
            return _current
        loaded = load_settings(service_name=service_name, **settings)
        if not loaded.wanted:
            variable = "OTEL_SDK_DISABLED=true" if loaded.sdk_disabled else "TRACING_ENABLED=false"
            _current = Installation(trace.NoOpTracerProvider(), None, call, f"switched off by {variable}")
            return _current
        registered = registry.patches()
        chosen = choose(patches, registered)
        check_app(app, chosen)
        from causal_otel.export.privacy import Policy

        policy = Policy(loaded.redact, loaded.redact_keys, loaded.redact_patterns)
        measuring = _measuring(loaded, policy, meter_provider)
        found = _provider_in_place() if tracer_provider is None else tracer_provider
        if found is not None:
            try:
                _current = Installation(found, None, call, policy=policy, measuring=measuring)
            except NoTracer as problem:
                if measuring is not None:
                    measuring.close()
                _current = Installation(trace.NoOpTracerProvider(), None, call, str(problem), policy)
                _logger.warning("nothing is traced: %s", problem, exc_info=problem.__cause__)
                return _current
        else:
            from causal_otel.pipeline import Pipeline

            try:
                pipeline = Pipeline(loaded, policy, None if measuring is None else measuring.flush_with)
            except Exception:
                if measuring is not None:
                    measuring.close()
                raise
            _current = Installation(pipeline.provider, pipeline, call, policy=policy, measuring=measuring)
            for warning in conflicts(loaded):
                _current._warn(warning)
        for warning in unread_variables(os.environ):
            _current._warn(warning)
        if loaded.logs == "export" and (_current._pipeline is None or _current._pipeline.logs() is None):
            why = "your provider exports" if _current._pipeline is None else f"the exporter is {loaded.exporter}"
            _current._warn(f"log records are not exported, although logs='export', because {why}")
        border = BaggageBorder(loaded.baggage_hosts, loaded.baggage_max_bytes)
        _current._apply(registered, with_defaults(chosen, loaded), border, loaded.logs)
        return _current


def uninstall() -> None:
    """Undo :func:`install`: every patched attribute is the very object again that it was before."""
    installed = _current
    if installed is not None:
        installed.uninstall()


def status() -> Status:
    """What tracing is doing in this process."""
    installed = _current
    return Status(False, "install() has not been called") if installed is None else installed.status()


def installation() -> Installation | None:
    """The installation in force, if any."""
    return _current


def _measuring(settings: Settings, policy: Policy, provider: MeterProvider | None) -> Measuring | None:
    """What measures operations, if metrics are on."""
    from causal_otel.metrics.measuring import measuring

    def resource() -> Resource:
        from causal_otel.pipeline import make_resource

        return make_resource(settings, policy)

    return measuring(settings, provider, resource, policy.value)


def _provider_in_place() -> TracerProvider | None:
    """The provider that somebody else has made global, if any.

    Raises:
        SettingError: OpenTelemetry's variable names a provider that cannot be made.
    """
    try:
        provider = trace.get_tracer_provider()
    except Exception as error:  # of the entry point that the variable names, or there is none of that name
        chosen = f"{OTEL_PYTHON_TRACER_PROVIDER}={os.environ.get(OTEL_PYTHON_TRACER_PROVIDER)!r}"
        raise SettingError(
            f"{chosen} is not allowed; it must be the name of an installed tracer provider, or be left out"
        ) from error
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    from causal_otel.engine.provider import TracerProvider as OurProvider

    if isinstance(provider, OurProvider) and provider.closed:
        return None  # left by an uninstall: the pipeline opens it again
    _logger.info("a tracer provider is set already: the patches use it, and no export is configured")
    return provider
