"""Other tracers at work beside ours: what is recorded twice, and whose provider gets the spans."""

from __future__ import annotations

from collections.abc import Iterator

from causal_otel.doctor.facts import Facts, Observed
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.instrumentors.known import replaced_by_ours

__all__ = ["KINDS", "check"]

_DROPPED = Kind(
    "provider-without-export",
    Severity.ERROR,
    "The tracer provider that was set before `install()` sends its spans nowhere.",
    "The patches use a provider that is set already, and that one drops what it gets.",
)
_DOUBLES = Kind(
    "another-tracer",
    Severity.WARNING,
    "Another tracer is at work in the same process.",
    "What both trace costs twice, and is there twice where both send to one place.",
)
_FOREIGN = Kind(
    "provider-of-another",
    Severity.NOTE,
    "The patches use a tracer provider that was set before `install()`.",
    "Sampling, export and redaction are that provider's, and the settings about them are not read.",
)

KINDS = (_DROPPED, _DOUBLES, _FOREIGN)

_OFF = {
    "ddtrace": "export DD_TRACE_ENABLED=false    # or start the application without ddtrace-run",
    "Sentry": "sentry_sdk.init(dsn=..., traces_sample_rate=None)  # errors go on",
    "New Relic": "export NEW_RELIC_ENABLED=false",
    "Elastic APM": "export ELASTIC_APM_ENABLED=false",
    "FastAPI's own telemetry": "unset FASTAPI_OTEL_AUTO_CONFIGURE    # and no telemetry={'auto_configure': True}",
}


def check(facts: Facts) -> Iterator[Finding]:
    """Look at who else is there."""
    if facts.observed is None:
        return
    observed, status = facts.observed, facts.observed.status
    if status.installed and status.sampling is None:  # not our provider
        if observed.span_processors == ():
            yield _DROPPED(
                "A tracer provider without span processors was set before install().",
                "causal_otel.install()  # before the provider is set, and then set none",
            )
        else:
            given = " and ".join(observed.span_processors or ()) or "its own exporters"
            yield _FOREIGN(
                f"Another tracer provider was set before install(); spans go to {given}.",
                "causal_otel.install()  # first of all, to use the exporter of the settings",
            )
    for tracer in observed.other_tracers:
        both = _both(observed, tracer.traces)
        if tracer.traces and not both:
            continue
        named = f"{tracer.name} {tracer.version}".rstrip()
        what = _what(tracer.name, both, ours=status.sampling is not None)
        yield _DOUBLES(f"{named} is at work{what}.", _fix(tracer.name, both))


def _both(observed: Observed, traces: tuple[str, ...] | None) -> tuple[str, ...]:
    """What of that our patches trace as well, without the frameworks of our middleware: of these ``status()`` warns."""
    ours = {patch.name for patch in observed.status.patches if patch.state in ("on", "partial")}
    return tuple(name for name in traces or () if replaced_by_ours(name) in ours)


def _what(name: str, both: tuple[str, ...], *, ours: bool) -> str:
    if name == "FastAPI's own telemetry":
        return ": it adds an exporter to our provider when the application starts, so every span is sent twice"
    if name == "Logfire":
        return "; its own spans go elsewhere" if ours else ", and its provider gets the spans of our patches"
    return f": {', '.join(both)} {'is' if len(both) == 1 else 'are'} traced twice" if both else " and traces on its own"


def _fix(name: str, both: tuple[str, ...]) -> str:
    if name == "OpenTelemetry's instrumentations":
        return (
            f"export OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={','.join(both)}    # or take their instrument() calls out"
        )
    if name == "Logfire":
        return (
            "logfire.configure(...)  # and no logfire.instrument_asyncpg(), _redis(), _httpx(), _celery(), _fastapi()"
        )
    return _OFF[name]
