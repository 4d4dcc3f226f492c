"""The settings in force: argument, variable, OpenTelemetry's configuration file, ``pyproject.toml``; the first counts.

Of several variables of a setting the first one that is set and not empty counts. OpenTelemetry's own come first, then
the names that deployments already have. What is not allowed is explained.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from causal_otel.configuration.checking import checked, did_you_mean, parse
from causal_otel.configuration.pyproject import read_pyproject
from causal_otel.configuration.source import NOTHING, Source, combined
from causal_otel.destination import implies_jaeger
from causal_otel.settings import SettingError, Settings, table
from causal_otel.settings.given import Given, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load_settings", "unread_variables"]

_NOT_SETTINGS = ("app", "tracer_provider", "meter_provider")
"""The other arguments of ``install()``, which somebody may have meant."""
_FORMER_FILE = "OTEL_EXPERIMENTAL_CONFIG_FILE"
"""The variable for OpenTelemetry's configuration file while that was an experiment."""


def load_settings(
    environ: Mapping[str, str] | None = None, directory: str | None = None, /, **arguments: object
) -> Settings:
    """Read what is given, by whatever way, and check all of it.

    No file is read if an argument or a variable switches tracing off, so that this always works.

    Args:
        environ: where the variables are; default: the process's environment.
        directory: where to look for ``pyproject.toml``, from there upwards; default: the working directory.
        arguments: values by field name; None means "not given".

    Raises:
        SettingError: a value is not allowed, there is no setting of that name, or a file asks for what we cannot do.
    """
    own = _arguments_and_variables(os.environ if environ is None else environ, arguments)
    switched_off = own.values.get("sdk_disabled") is True or own.values.get("enabled") is False
    every = own if switched_off else combined(own, *_files(own, directory))
    values = dict(every.values)
    if implies_jaeger(every.given.keys()):
        values["exporter"] = "jaeger"
    loaded = Settings(
        **values,
        given=every.given,
        patch_options=every.patch_options,
        of_metrics=every.of_metrics,
        warnings=every.warnings,
    )
    _check_sampler(loaded)
    return loaded


def _files(own: Source, directory: str | None) -> tuple[Source, Source]:
    """What OpenTelemetry's configuration file says, and ``pyproject.toml``."""
    pyproject = read_pyproject(directory)
    path = own.values.get("config_file") or pyproject.values.get("config_file")
    if not path:
        return NOTHING, pyproject
    from causal_otel.configuration.declarative import read_declarative  # it imports the SDK

    return read_declarative(path), pyproject


def _arguments_and_variables(variables: Mapping[str, str], arguments: Mapping[str, object]) -> Source:
    names = [setting.name for setting in table()]
    for name in arguments:
        if name not in names:
            near = did_you_mean(name, (*names, *_NOT_SETTINGS))
            raise SettingError(
                f"install() has no argument {name!r}{near}; docs/reference/settings.md lists all settings"
            )
    values: dict[str, Any] = {}
    given: dict[str, tuple[Given, ...]] = {}
    for setting in table():
        name, argument = setting.name, arguments.get(setting.name)
        texts = [(it, text) for it in setting.metadata["variables"] if (text := variables.get(it, "").strip())]
        if argument is not None:
            values[name], given[name] = checked(setting, argument, name), (Given(name, argument, Origin.ARGUMENT),)
        elif texts:
            values[name] = parse(setting, *texts[0])
            given[name] = tuple(Given(*each, Origin.VARIABLE) for each in texts)
    return Source(values, given)


def unread_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that nobody reads: a former name, or what looks like a misspelt setting."""
    known = [variable for setting in table() for variable in setting.metadata["variables"]]
    path = environ.get(_FORMER_FILE, "").strip()
    former = [f"{_FORMER_FILE}={path} is not read: the variable is OTEL_CONFIG_FILE now"] if path else []
    return former + [
        f"there is no variable {name}{near}"
        for name in environ
        if name.startswith("TRACING_") and name not in known and (near := did_you_mean(name, known))
    ]


def _check_sampler(settings: Settings) -> None:
    """Whether the sampler understands its argument; samplers without one take any."""
    argument, remote = settings.sampler_arg, "remote" in settings.sampler
    if argument is None or isinstance(argument, str) is remote or not (remote or "ratio" in settings.sampler):
        return
    allowed = "endpoint=URL,pollingIntervalMs=N,initialSamplingRate=N" if remote else "a number from 0 to 1"
    raise SettingError(
        f"sampler_arg (OTEL_TRACES_SAMPLER_ARG)={argument!r} is not allowed with the sampler {settings.sampler}; "
        f"it must be {allowed}"
    )
