"""``install()``: settings, then provider, then patches, once; and its exact undoing.

What imports the OpenTelemetry SDK, such as the pipeline, is imported only inside, after the settings are checked: the
SDK reads some variables while it is imported, and would refuse bad ones in words that help nobody.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Unpack

from opentelemetry import trace
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER

from causal_otel._internal.log import logger
from causal_otel.destination import conflicts
from causal_otel.engine.foreign import NoTracer
from causal_otel.installation import Call, Installation, installation, lock, put_in_force
from causal_otel.instrument import registry
from causal_otel.instrument.baggage import BaggageBorder
from causal_otel.load_settings import load_settings, unread_variables
from causal_otel.patch_choice import Patches, check_app, choose, with_defaults
from causal_otel.settings import SettingError
from causal_otel.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import TracerProvider

    from causal_otel.export.privacy import Policy
    from causal_otel.instrumentors.choice import Choice, Instrumentors
    from causal_otel.metrics.measuring import Measuring
    from causal_otel.setting_arguments import SettingArguments
    from causal_otel.settings import Settings

__all__ = ["Patches", "install", "status", "uninstall"]

_logger = logger()
_NO_GIL = (
    "this Python runs without the GIL, on which the engine's counts and spans rest: start it with PYTHON_GIL=1, or use "
    "the ordinary build"
)


def install(
    app: object = None,
    *,
    service_name: str | None = None,
    patches: Patches = None,
    instrumentors: Instrumentors = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    **settings: Unpack[SettingArguments],
) -> Installation:
    """Trace this process. The one call of an API process and of a worker alike, as early as you can.

    A second call changes nothing; where it asks for something else than the first, a warning names both. But a call
    with arguments takes the place of what ``causal-otel run`` and its like have installed before the application ran.

    With ``TRACING_ENABLED=false`` or ``OTEL_SDK_DISABLED=true`` it returns at once. Where a tracer provider is set
    already, by you or by another tool, the patches use that one. If that provider raises when it is asked for a tracer,
    nothing is patched: :func:`status` and one line of the log say so. Nor is anything where a free-threaded Python runs
    without the GIL.

    Args:
        app: the FastAPI or Starlette application, if you like to name it: applications are traced by class, so those
            made earlier or later are traced as well.
        service_name: what the spans are about. Leave it out in a module that several programs import, and set
            ``OTEL_SERVICE_NAME`` for each of them.
        patches: None for all; names, such as ``["asyncpg", "redis"]``; or a mapping of name to bool or options. One
            that only leaves out, such as ``{"threads": False}`` or ``["-threads"]``, is all others.
        instrumentors: OpenTelemetry's instrumentors, for libraries that we have no patch for. None for the setting, and
            by default for none; ``"all"`` for all of our list that are installed; names, such as ``["requests"]``; or a
            mapping of name to bool or to the arguments of its ``instrument()``.
        tracer_provider: use this one, and configure no pipeline.
        meter_provider: hand the metrics of operations to this one. Default: the one that is set already, if any; else
            they go where the setting ``metrics_exporter`` says.
        settings: any other setting by its name in ``docs/reference/settings.md``; it beats its environment variable,
            which beats OpenTelemetry's configuration file, which beats ``pyproject.toml``.

    Returns:
        The installation, for ``flush()``, ``status()`` and ``uninstall()``.

    Raises:
        SettingError: something given, in the environment or in a file is not allowed. Nothing has been changed then.
    """
    providers = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    given = {
        "service_name": service_name,
        "patches": patches,
        "instrumentors": instrumentors,
        **providers,
        **settings,
    }
    caller = sys._getframe(1)
    call = Call(
        f"{caller.f_code.co_filename}:{caller.f_lineno}",
        {name: value for name, value in given.items() if value is not None},
    )
    with lock:
        before = installation()
        if before is not None:
            if not (before.replaceable and call.arguments):
                before.called_again(call)
                return before
            patches = before.call.arguments.get("patches") if patches is None else patches
        loaded = load_settings(service_name=service_name, patches=patches, **settings)
        if not loaded.wanted:
            uninstall()
            return put_in_force(Installation(trace.NoOpTracerProvider(), None, call, _switched_off(loaded)))
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            _logger.warning("nothing is traced: %s", _NO_GIL)
            return put_in_force(Installation(trace.NoOpTracerProvider(), None, call, _NO_GIL))
        registered = registry.patches()
        chosen = choose(loaded, registered)
        check_app(app, chosen)
        chosen_instrumentors = _instrumentors(loaded, instrumentors, chosen)
        uninstall()  # what was replaceable
        made = _made(loaded, call, tracer_provider, meter_provider)
        if made.reason:
            return put_in_force(made)
        made.settings = loaded
        for warning in (*loaded.warnings, *unread_variables(os.environ)):
            made.warn(warning)
        if loaded.logs == "export" and not made.exports_logs:
            why = "your provider exports" if made.pipeline is None else f"the exporter is {loaded.exporter}"
            made.warn(f"log records are not exported, although logs='export', because {why}")
        if loaded.profiling and made.pipeline is None:
            why = "your provider makes the spans"
            made.warn(f"nothing is profiled, although profiling=True, because {why}")
        put_in_force(made)
        border = BaggageBorder(loaded.baggage_hosts, loaded.baggage_max_bytes)
        options = with_defaults(chosen, loaded)
        made.apply(registered, options, border, loaded.logs, chosen_instrumentors, require_parent=loaded.require_parent)
        if loaded.status_directory:
            made.keep_status_file(loaded.status_directory)
        return made


def _switched_off(settings: Settings) -> str:
    """Why nothing is traced, where the settings say so."""
    name, value = ("sdk_disabled", "true") if settings.sdk_disabled else ("enabled", "false")
    given = settings.used(name)
    return f"switched off by {given.cited if given else name}={value}"


def _made(
    settings: Settings, call: Call, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
) -> Installation:
    """An installation without patches: with the caller's provider, the one that is set already, or a pipeline."""
    from causal_otel.export.privacy import Policy

    policy = Policy(settings.redact, settings.redact_keys, settings.redact_patterns)
    measuring = _measuring(settings, policy, meter_provider)
    found = _provider_in_place() if tracer_provider is None else tracer_provider
    if found is not None:
        try:
            return Installation(found, None, call, policy=policy, measuring=measuring)
        except NoTracer as problem:
            if measuring is not None:
                measuring.close()
            _logger.warning("nothing is traced: %s", problem, exc_info=problem.__cause__)
            return Installation(trace.NoOpTracerProvider(), None, call, str(problem), policy)
    from causal_otel.pipeline import Pipeline

    try:
        pipeline = Pipeline(settings, policy, None if measuring is None else measuring.flush_with)
    except Exception:
        if measuring is not None:
            measuring.close()
        raise
    made = Installation(pipeline.provider, pipeline, call, policy=policy, measuring=measuring)
    for warning in (*conflicts(settings), *pipeline.warnings):
        made.warn(warning)
    return made


def _instrumentors(settings: Settings, given: Instrumentors, patches: Iterable[str]) -> Choice | None:
    """What is to be done with OpenTelemetry's instrumentors; None: nobody has asked for any."""
    asked = settings.instrumentors if given is None else given
    if not asked:
        return None
    from causal_otel.instrumentors.choice import choose

    return choose(asked, {*patches, *(() if settings.logs == "off" else ("logs",))})


def uninstall() -> None:
    """Undo :func:`install`: every patched attribute is the very object again that it was before."""
    installed = installation()
    if installed is not None:
        installed.uninstall()


def status() -> Status:
    """What tracing is doing in this process."""
    installed = installation()
    return Status(False, "install() has not been called") if installed is None else installed.status()


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
