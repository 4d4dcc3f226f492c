"""What ``install(instrumentors=...)`` says: which instrumentors to apply, with which options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import Distribution, EntryPoint
from typing import Any, NamedTuple

from causal_otel._internal.installed import entry_points
from causal_otel._internal.log import logger
from causal_otel.configuration.others_names import PREFIX, REPLACED, normal, short
from causal_otel.instrument.registry import BUILT_IN
from causal_otel.instrumentors.known import KNOWN, Known
from causal_otel.instrumentors.status import InstrumentorStatus
from causal_otel.settings import SettingError

__all__ = ["ENTRY_POINTS", "Choice", "Chosen", "Instrumentors", "choose", "installed_instrumentors"]

ENTRY_POINTS = "opentelemetry_instrumentor"

Instrumentors = bool | str | Iterable[str] | Mapping[str, bool | Mapping[str, Any]] | None
"""What to apply: None or False for none; ``"all"`` or True; names, each as it is or with a ``-`` before it to leave it
out; or a mapping of name to bool or to arguments of its ``instrument()``. What only leaves out is everything else."""

_OURS = ("meter_provider", "raise_exception_on_conflict", "skip_dep_check", "tracer_provider")
"""Arguments of ``instrument()`` that are not the user's: where the data goes is what ``install()`` says, and a library
of another version is never instrumented."""

_logger = logger()


class Chosen(NamedTuple):
    """An instrumentor to apply.

    Args:
        entry: where it is.
        distribution: whose it is.
        known: what the table says of it; one that is not there is applied at once.
        options: arguments of its ``instrument()``.
    """

    entry: EntryPoint
    distribution: Distribution
    known: Known
    options: Mapping[str, Any]

    @property
    def status(self) -> InstrumentorStatus:
        """That of one that nothing has been done with."""
        return InstrumentorStatus(self.entry.name, self.distribution.name, self.distribution.version)


class Choice(NamedTuple):
    """What becomes of all that somebody may expect.

    Args:
        chosen: those to apply.
        others: what is told of those that are not.
    """

    chosen: list[Chosen]
    others: list[InstrumentorStatus]


def installed_instrumentors() -> list[Chosen]:
    """All that are installed, ours or not, by the names of their distributions; none if metadata cannot be read."""
    try:
        entries = tuple(entry_points(ENTRY_POINTS))
    except Exception as error:  # some package's metadata is damaged
        _logger.warning("no instrumentors are known: their entry points cannot be read (%r)", error)
        return []
    found = [Chosen(entry, entry.dist, _known(entry, entry.dist), {}) for entry in entries if entry.dist is not None]
    return sorted(found, key=lambda each: (each.distribution.name, each.entry.name))


def choose(asked: Instrumentors, ours: Collection[str]) -> Choice:
    """Which instrumentors to apply, and what becomes of the others. Nothing is imported.

    Args:
        asked: what the user says.
        ours: the patches that are chosen, and ``"logs"`` if records are correlated or exported.

    Raises:
        SettingError: there is no such instrumentor, or it cannot have such options.
    """
    wanted = _wanted(asked)
    if not any(choice is not False for choice in wanted.values()):
        wanted = {"all": True, **wanted} if wanted else {}
    if not wanted:
        return Choice([], [])
    installed = installed_instrumentors()
    told: list[InstrumentorStatus] = []
    named: dict[int, Mapping[str, Any] | None] = {}  # by the place among the installed; None: it is left out
    for name, choice in wanted.items():
        if name == "all":
            continue
        found = [at for at, each in enumerate(installed) if _answers_to(each, name)]
        if not found:
            told += _absent(name, choice, ours, installed)
        named |= dict.fromkeys(found, None if choice is False else _checked(name, choice))
    everything = wanted.get("all", False) is not False and not _checked("all", wanted["all"])
    chosen: list[Chosen] = []
    for at, each in enumerate(installed):
        options = named.get(at, {} if everything and _in_all(each) else None)
        if options is None:
            continue
        by = _replacing(each, ours) or ("" if at in named else _beside(each, ours))
        if by:
            told.append(each.status.because("replaced", by))
            if at in named:
                _logger.warning("the instrumentor %s is not applied: it is replaced %s", each.entry.name, by)
        elif at in named or not _replacing(each, BUILT_IN):  # whoever leaves ours out knows why nothing is traced
            chosen.append(each._replace(options=options))
    return Choice(chosen, told)


def _wanted(asked: Instrumentors) -> dict[str, bool | Mapping[str, Any]]:
    if asked is None or isinstance(asked, bool):
        return {"all": True} if asked else {}
    if isinstance(asked, str):
        if asked != "all":
            raise SettingError(f"instrumentors={asked!r} is not allowed; it must be a list of names: [{asked!r}]")
        return {"all": True}
    if isinstance(asked, Mapping):
        return dict(asked)
    if not isinstance(asked, Iterable):
        raise SettingError(f'instrumentors={asked!r} is not allowed; it must be "all", names, or a mapping of names')
    return {str(name).removeprefix("-"): not str(name).startswith("-") for name in asked}


def _checked(name: str, choice: bool | Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that the user gives, looked at."""
    if choice is True:
        return {}
    if not isinstance(choice, Mapping) or not all(isinstance(key, str) for key in choice) or name == "all":
        allowed = "True or False" if name == "all" else "True, False or arguments of its instrument(), by name"
        raise SettingError(f"instrumentors: {name}={choice!r} is not allowed; it must be {allowed}")
    for key in _OURS:
        if key in choice:
            raise SettingError(f"instrumentors: {name}: {key} is not allowed: install() says it")
    return dict(choice)


def _own_name(distribution: Distribution) -> str:
    """By what the table knows a distribution; the whole name of one that is not OpenTelemetry's."""
    name = normal(distribution.name)
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else f"({name})"


def _known(entry: EntryPoint, distribution: Distribution) -> Known:
    name = _own_name(distribution)
    # The entry points of all that ours replace are called as the module that is imported.
    return KNOWN.get(name) or Known((entry.name,) if normal(entry.name) in REPLACED else ())


def _in_all(each: Chosen) -> bool:
    """Whether ``"all"`` means it, or would, were it not for ours."""
    name = _own_name(each.distribution)
    return (name in KNOWN and not each.known.unasked) or name in REPLACED


def _answers_to(each: Chosen, name: str) -> bool:
    return normal(each.distribution.name) == normal(name) or short(name) in (
        normal(each.entry.name),
        short(each.distribution.name),
    )


def _replacing(each: Chosen, ours: Collection[str]) -> str:
    """What of ours traces the same, in words; empty: nothing."""
    name = each.entry.name
    return _by(normal(name), ours) or _by(_own_name(each.distribution), ours) or (_of(name) if name in ours else "")


def _by(name: str, ours: Collection[str]) -> str:
    patch = REPLACED.get(name)
    return "" if patch is None or patch not in ours else _of(patch)


def _of(patch: str) -> str:
    return "by the setting logs" if patch == "logs" else f"by the patch {patch}"


def _beside(each: Chosen, ours: Collection[str]) -> str:
    """What of ours may trace the same, in words; empty: nothing."""
    if each.known.beside not in ours:
        return ""
    return (
        f"by the patch {each.known.beside}, where the application is wrapped in its middleware; to use this one "
        f'instead: instrumentors=["{each.entry.name}"]'
    )


def _absent(
    name: str, choice: object, ours: Collection[str], installed: Iterable[Chosen]
) -> Iterable[InstrumentorStatus]:
    """What is told of one that is not installed.

    Raises:
        SettingError: nobody has heard of it.
    """
    key = short(name)
    if key not in KNOWN and key not in REPLACED:
        there = [each.entry.name for each in installed]
        near = get_close_matches(key, {*there, *KNOWN}, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"installed are: {', '.join(there) or 'none'}"
        raise SettingError(f"instrumentors: no {name!r} is installed; {hint}")
    if choice is False:
        return
    by = _by(key, ours)
    if by:
        yield InstrumentorStatus(name, "", "").because("replaced", by)
    else:
        fix = f"pip install {PREFIX}{key}"
        _logger.warning("the instrumentor %s is not installed: %s", name, fix)
        yield InstrumentorStatus(name, "", "").because("missing", fix)
