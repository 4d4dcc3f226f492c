"""Whether the settings are allowed, whether they switch tracing off, and what of them is in vain."""

from __future__ import annotations

import re
from collections.abc import Iterator

from causal_otel.destination import conflicts
from causal_otel.doctor.facts import Facts
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.doctor.fixes import assign
from causal_otel.load_settings import unread_variables
from causal_otel.names import SERVICE_NAME

__all__ = ["KINDS", "check"]

_REFUSED = Kind(
    "setting-refused",
    Severity.ERROR,
    "A setting has a value that is not allowed.",
    "`install()` raises, so the application does not start or is not traced.",
)
_OFF = Kind(
    "switched-off",
    Severity.ERROR,
    "Tracing is switched off, or has failed to start.",
    "Nothing is recorded.",
)
_NOWHERE = Kind(
    "exporter-none",
    Severity.WARNING,
    "Spans are recorded and sent nowhere.",
    "No trace appears anywhere, though everything else is in order.",
)
_IN_VAIN = Kind(
    "setting-in-vain",
    Severity.WARNING,
    "A setting is misspelt, contradicts another one, or is not read.",
    "What it was meant to do does not happen.",
)
_NAMED_IN_CODE = Kind(
    "service-named-in-code",
    Severity.WARNING,
    "The code names the service, and the environment another one.",
    "The name in the code counts: every program that imports this module has it.",
)
_UNNAMED = Kind(
    "service-unnamed",
    Severity.WARNING,
    "Nothing names the service.",
    "It is called after its program, and so are all others that the same program runs.",
)

KINDS = (_REFUSED, _OFF, _NOWHERE, _IN_VAIN, _NAMED_IN_CODE, _UNNAMED)

_VARIABLE = re.compile(r"\b(?:OTEL|TRACING|JAEGER|OTLP|SERVICE|ENVIRONMENT)\w*")


def check(facts: Facts) -> Iterator[Finding]:
    """Look at the settings."""
    if facts.refused:
        yield _REFUSED(f"{facts.refused.rstrip('.')}.", _allowed(facts.refused))
    status = None if facts.observed is None else facts.observed.status
    if status is not None and not status.installed:
        yield _OFF(f"{_program(facts)} is not traced: {status.reason}.", _on(status.reason))
    settings = facts.settings
    if facts.observed is None and settings is not None and not settings.wanted:
        name = "OTEL_SDK_DISABLED" if settings.sdk_disabled else "TRACING_ENABLED"
        yield _OFF(f"Tracing is switched off by {name}.", f"unset {name}")
    if settings is not None and settings.wanted and settings.exporter == "none":
        yield _NOWHERE("The exporter is none.", assign(facts, "exporter", "otlp"))
    yield from _warnings(facts)
    yield from _name(facts)


def _allowed(sentence: str) -> str:
    """What to do about a setting that is refused in these words."""
    variable, argument = _VARIABLE.search(sentence), re.match(r"(\w+)=", sentence)
    _, _, allowed = sentence.partition("it must be ")
    install = re.search(r'pip install "\.\[\w+\]"', sentence)
    if install:
        return f"{install[0]}    # in the checkout of causal_otel"
    if variable:
        return f"unset {variable[0]}    # or set {allowed or 'another value'}"
    return f"causal_otel.install({argument[1]}=...)  # {allowed or sentence}" if argument else f"# {sentence}"


def _on(reason: str) -> str:
    if "PYTHON_GIL" in reason:
        return "export PYTHON_GIL=1"
    variable = _VARIABLE.search(reason)
    return f"unset {variable[0]}" if variable else "import causal_otel\n\ncausal_otel.install()"


def _program(facts: Facts) -> str:
    if facts.application is not None:
        return facts.application.target
    return "The process" if facts.observed is None else facts.observed.program


def _warnings(facts: Facts) -> Iterator[Finding]:
    """What ``install()`` has warned of, or would."""
    if facts.observed is not None:
        sentences = [each for each in facts.observed.status.warnings if "nothing traces its requests" not in each]
    elif facts.settings is not None and facts.settings.wanted:
        sentences = [*unread_variables(facts.environ), *conflicts(facts.settings)]
    else:
        sentences = []
    for sentence in sentences:
        yield _IN_VAIN(f"{sentence[0].upper()}{sentence[1:].rstrip('.')}.", _mended(sentence))


def _mended(sentence: str) -> str:
    wrong = _VARIABLE.search(sentence)
    meant = re.search(r"did you mean (\w+)\?", sentence)
    if meant and wrong:
        return f'export {meant[1]}="${wrong[0]}"; unset {wrong[0]}'
    return f"unset {wrong[0]}" if wrong else sentence


def _name(facts: Facts) -> Iterator[Finding]:
    settings, application = facts.settings, facts.application
    if settings is None or not settings.wanted:
        return
    variable = facts.environ.get("OTEL_SERVICE_NAME", "").strip()
    if variable and settings.service_name not in ("", variable):
        place = f" at {application.installed}" if application is not None and application.installed else ""
        yield _NAMED_IN_CODE(
            f"install(){place} names the service {settings.service_name!r}, not OTEL_SERVICE_NAME={variable!r}.",
            "causal_otel.install()  # without service_name",
        )
    elif application is not None and not settings.service_name and SERVICE_NAME not in settings.resource_attributes:
        name = "" if facts.observed is None else facts.observed.status.service_name
        yield _UNNAMED(
            f"Nothing names the service, so it is {name!r}." if name else "Nothing names the service.",
            assign(facts, "service_name", application.target.partition(":")[0].partition(".")[0] or "shop-api"),
        )
