"""Whether an instrumentor goes with what is installed: told from its metadata, before anything of it is imported."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import Distribution

    from packaging.requirements import Requirement

__all__ = ["conflict"]


def conflict(distribution: Distribution) -> str:
    """What does not go with it, in words; empty: all does.

    Those are the libraries that it says it instruments (its extra ``instruments``: all of them, and
    ``instruments-any``: one of them), and what it needs of OpenTelemetry itself. pip looks at the latter only, and
    only when it installs.
    """
    from packaging.requirements import Requirement  # opentelemetry-instrumentation needs it

    needed: list[Requirement] = []
    some: list[Requirement] = []
    for requirement in map(Requirement, distribution.requires or ()):
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}):
            if requirement.name.startswith("opentelemetry-"):
                needed.append(requirement)
        elif marker.evaluate({"extra": "instruments"}):
            needed.append(requirement)
        elif marker.evaluate({"extra": "instruments-any"}):
            some.append(requirement)
    problems = list(_unmet(needed))
    others = list(_unmet(some))
    if some and len(others) == len(some):
        problems.append(" or ".join(others))
    return "; ".join(problems)


def _unmet(requirements: Iterable[Requirement]) -> Iterable[str]:
    for requirement in requirements:
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"needs {wanted}, which is not installed"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"needs {wanted}, not {version}"
