"""Libraries that are imported and that nothing traces, and what to install or to write."""

from __future__ import annotations

import re
from collections.abc import Iterator

from causal_otel.doctor.facts import Facts
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.doctor.suggestions import suggestion

__all__ = ["KINDS", "check"]

_UNTRACED = Kind(
    "library-untraced",
    Severity.WARNING,
    "A library is imported that nothing traces.",
    "The time that it takes is a gap in every trace, and the context does not travel through it.",
)
_FRAMEWORK = Kind(
    "framework-unwrapped",
    Severity.WARNING,
    "A web framework is imported whose requests nothing traces.",
    "No request of it is the root of a trace: what it queries and sends is in traces of its own.",
)

KINDS = (_UNTRACED, _FRAMEWORK)

_KNOWN = frozenset({"celery", "dramatiq", "starlette", "taskiq"})
"""What an application may be made of whose requests or tasks are traced without being asked."""


def check(facts: Facts) -> Iterator[Finding]:
    """Look at what the process has imported."""
    if facts.observed is None:
        return
    for line in facts.observed.status.untraced:
        library, _, more = line.partition(" (")
        idle = f": {more.rstrip(')')}" if "not at work" in more else ""
        yield _UNTRACED(f"{library} is imported, and nothing traces it{idle}.", suggestion(line.partition(" ")[0]))
    if facts.application is not None and _KNOWN.intersection(facts.application.packages):
        return  # what serves is known: the frameworks were imported by some library
    for warning in facts.observed.status.warnings:
        framework, separator, line = warning.partition(" is imported, and nothing traces its requests; ")
        if separator:
            line = re.sub(r" in (\w+\.py)(, )?", r"    # in \1\n", line.partition(": ")[2]).rstrip()
            yield _FRAMEWORK(
                f"{framework} is imported, and nothing traces its requests.", f"import causal_otel\n\n{line}"
            )
