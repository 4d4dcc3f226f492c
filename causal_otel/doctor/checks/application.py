"""Whether the application can be imported, and whether that traces it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from causal_otel.doctor.facts import Application, Facts
from causal_otel.doctor.finding import Finding, Kind, Severity

__all__ = ["KINDS", "check"]

_FAILED = Kind(
    "application-failed",
    Severity.ERROR,
    "The application cannot be imported.",
    "What cannot be imported does not start, and the rest of the report does not know what it uses.",
)
_MISSING = Kind(
    "command-missing",
    Severity.ERROR,
    "There is no such program.",
    "The application does not start, or it starts in another environment than this one.",
)
_FOREIGN = Kind(
    "not-installed-there",
    Severity.ERROR,
    "The Python that runs the command has no causal_otel.",
    "The application cannot call `install()`, and nothing can trace it from outside.",
)
_UNKNOWN = Kind(
    "application-unknown",
    Severity.ERROR,
    "Nobody can tell what the command imports.",
    "Without the application's import nothing is known of what it uses.",
)
_GUARDED = Kind(
    "install-under-guard",
    Severity.ERROR,
    '`install()` is called under `if __name__ == "__main__"` alone.',
    "Processes that import the module instead of running it are not traced: reloaders, workers, spawned children.",
)
_NOT_INSTALLED = Kind(
    "install-not-called",
    Severity.NOTE,
    "Nothing in the application calls `install()`.",
    "The application is traced only if it is started by `causal-otel run` or `opentelemetry-instrument`.",
)
_STILL_RUNNING = Kind(
    "import-does-not-end",
    Severity.WARNING,
    "Importing the application takes longer than the time that it was given.",
    "What is imported later is not in this report, and a server that waits for it may be restarted in vain.",
)
_NO_GUARD = Kind(
    "script-without-guard",
    Severity.NOTE,
    "A script has no main guard, so that it was run as a whole.",
    "Whatever the script does, it has done it once more for this report.",
)

KINDS = (_FAILED, _MISSING, _FOREIGN, _UNKNOWN, _GUARDED, _STILL_RUNNING, _NO_GUARD, _NOT_INSTALLED)

_PREPARED = ("causal-otel", "opentelemetry-instrument")


def check(facts: Facts) -> Iterator[Finding]:
    """Look at what came of the import."""
    application = facts.application
    if application is None:
        return
    if application.outcome in ("failed", "lost") and not application.refused:
        yield _failed(application)
    if application.outcome == "missing":
        yield _MISSING(f"There is no program {application.server}.", f"pip install {application.server}")
    if application.outcome == "foreign":
        yield _FOREIGN(
            f"{application.server} is run by {application.python}, which has no causal_otel.",
            f"{application.python} -m pip install .    # in the checkout of causal_otel",
        )
    if application.outcome == "unknown":
        yield _UNKNOWN(
            f"{application.problem}.", f"causal-otel doctor uvicorn shop.api:app    # not {_shown(application)}"
        )
    if application.guarded_install and not application.installed:
        yield _GUARDED(
            f"install() stands at {application.guarded_install}, under the main guard.",
            "import causal_otel\n\ncausal_otel.install()  # at the top of the module that defines the application",
        )
    if application.outcome == "running":
        at = f", and was at {application.place} then" if application.place else ""
        yield _STILL_RUNNING(
            f"{application.target} had not been imported when the time was up{at}.",
            'if __name__ == "__main__":\n    main()'
            if application.guarded is False
            else f"causal-otel doctor --timeout 120 {_shown(application)}",
        )
    if application.guarded is False:
        yield _NO_GUARD(
            f"{application.target} has no main guard.",
            'if __name__ == "__main__":\n    main()  # what it does when it runs',
        )
    imported = application.outcome == "imported" and not application.guarded_install
    if imported and not application.installed and application.command[0] not in _PREPARED:
        yield _NOT_INSTALLED(
            f"{application.target} has been imported, and install() was not called.",
            f"causal-otel run {_shown(application)}",
        )


def _failed(application: Application) -> Finding:
    target, problem = application.target, application.problem
    what = f"{target or _shown(application)} cannot be imported: {problem.rstrip('.')}"
    if application.place:
        what += f" ({application.place})"
    missing = problem.partition("No module named ")[2].strip("'\"")
    module = target.partition(":")[0]
    if missing and missing in (module, module.partition(".")[0]):
        fix = f"cd THE_DIRECTORY_OF_{module.partition('.')[0]} && causal-otel doctor {_shown(application)}"
    elif missing:
        fix = f"pip install {missing.partition('.')[0]}"
    else:
        fix = f'python -c "import {module}"' if module.replace(".", "").isidentifier() else _shown(application)
    return _FAILED(f"{what}.", fix)


def _shown(application: Application) -> str:
    return shlex.join(application.command)
