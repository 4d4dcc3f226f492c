"""Patches that are not at work though their driver is there: versions outside their range, refusals, failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec

from causal_otel.doctor.facts import Facts
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.instrument import registry
from causal_otel.instrument.applying import release
from causal_otel.instrument.declaration import Patch
from causal_otel.instrument.registry import BrokenPatch

__all__ = ["KINDS", "check"]

_VERSION = Kind(
    "driver-version",
    Severity.ERROR,
    "A driver has a version that its patch does not support.",
    "Nothing of that driver is traced: half a patch would lose some spans, and record others twice.",
)
_REFUSED = Kind(
    "patch-refused",
    Severity.ERROR,
    "A patch found something that it needs missing in the driver, or has failed.",
    "Nothing of that driver is traced.",
)
_PARTIAL = Kind(
    "patch-partial",
    Severity.WARNING,
    "A patch is at work on some of its drivers only.",
    "Traces have gaps where the others are used.",
)
_WAITING = Kind(
    "patch-waiting",
    Severity.NOTE,
    "A patch is asked for by name, and the application does not import its driver.",
    "It takes hold when something imports that driver, which may be never.",
)
_OFF = Kind(
    "patch-off",
    Severity.NOTE,
    "A patch is switched off, and its driver is imported.",
    "Nothing of that driver is traced, as somebody has asked for.",
)

KINDS = (_VERSION, _REFUSED, _PARTIAL, _WAITING, _OFF)


def check(facts: Facts) -> Iterator[Finding]:
    """Look at the patches of the process; without one, at the versions that are installed here."""
    patches = _declarations()
    if facts.observed is None:
        if facts.application is None and not facts.refused:
            yield from _installed(patches)
        return
    named = () if facts.application is None else facts.application.named_patches
    for status in facts.observed.status.patches:
        patch = patches.get(status.name)
        versions = {} if patch is None else patch.versions
        if status.state in ("unsupported", "partial"):
            found = [*_out_of_range(versions, _told(status.version))]
            yield from found
            if not found:
                kind = _PARTIAL if status.state == "partial" else _REFUSED
                yield kind(f"{status.name}: {'; '.join(status.problems)}.", _pins(versions))
        elif status.state == "failed":
            yield _REFUSED(
                f"The patch {status.name} has failed: {'; '.join(status.problems) or 'see the log'}.",
                f'causal_otel.install(patches={{"{status.name}": False}})  # until it is mended',
            )
        elif status.state == "waiting" and status.name in named:
            missing = [name for name in versions if find_spec(name) is None]
            yield _WAITING(
                f"The patch {status.name} is asked for by name, and waits for its driver.",
                _pins({name: versions[name] for name in missing}) or f"import {next(iter(versions), status.name)}",
            )
        elif status.state == "off" and facts.observed.imported & versions.keys():
            yield _OFF(
                f"The patch {status.name} is switched off, and {status.name} is imported.",
                f'causal_otel.install(patches={{"{status.name}": True}})  # or leave patches= out',
            )


def _declarations() -> dict[str, Patch]:
    found = {}
    for name, registered in registry.patches().items():
        try:
            found[name] = registered.load()
        except BrokenPatch:
            continue
    return found


def _installed(patches: Mapping[str, Patch]) -> Iterator[Finding]:
    versions = {name: each for patch in patches.values() for name, each in patch.versions.items()}
    found = {}
    for name in versions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    yield from _out_of_range(versions, found)


def _told(text: str) -> dict[str, str]:
    """Names and versions of ``PatchStatus.version``: ``redis 7.0 celery 5.4``."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=False))


def _out_of_range(versions: Mapping[str, tuple[str, str]], found: Mapping[str, str]) -> Iterator[Finding]:
    for name, version in found.items():
        first, last = versions.get(name, ("", ""))
        if first and not release(first) <= release(version) < release(last):
            yield _VERSION(
                f"{name} {version} is installed, and the patch supports versions from {first} to below {last}.",
                f'pip install "{name}>={first},<{last}"',
            )


def _pins(versions: Mapping[str, tuple[str, str]]) -> str:
    return "\n".join(f'pip install --upgrade "{name}>={first},<{last}"' for name, (first, last) in versions.items())
