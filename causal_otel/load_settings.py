"""The settings in force: an argument of ``install()`` beats a variable, and what is not allowed is explained.

Of several variables of a setting the first one that is set and not empty counts. OpenTelemetry's own come first, then
the names that deployments already have.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from causal_otel._internal.secrets import hide_credentials
from causal_otel._internal.setting_types import FILE, PROPAGATORS, Kind, installed_propagators, readable_file
from causal_otel.destination import implies_jaeger
from causal_otel.settings import SettingError, Settings, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from dataclasses import Field

__all__ = ["load_settings", "parse", "unread_variables"]

_NOT_SETTINGS = ("app", "patches", "tracer_provider", "meter_provider")
"""The other arguments of ``install()``, which somebody may have meant."""
_CONFIGURATION_FILES = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
"""OpenTelemetry's configuration files, which other SDKs read and which we do not."""


def load_settings(environ: Mapping[str, str] | None = None, **arguments: object) -> Settings:
    """Read the environment, let the arguments beat it, and check everything.

    Args:
        environ: where the variables are; default: the process's environment.
        arguments: values by field name; None means "not given".

    Raises:
        SettingError: a value is not allowed, or there is no setting of that name.
    """
    variables = os.environ if environ is None else environ
    names = [setting.name for setting in table()]
    for name in arguments:
        if name not in names:
            near = _near(name, (*names, *_NOT_SETTINGS))
            raise SettingError(
                f"install() has no argument {name!r}{near}; docs/reference/settings.md lists all settings"
            )
    values: dict[str, Any] = {}
    given: dict[str, dict[str, object]] = {}
    for setting in table():
        name, argument = setting.name, arguments.get(setting.name)
        texts = {it: text for it in setting.metadata["variables"] if (text := variables.get(it, "").strip())}
        if argument is not None:
            values[name], given[name] = _checked(setting, argument), {name: argument}
        elif texts:
            values[name], given[name] = parse(setting, *next(iter(texts.items()))), dict(texts)
    if implies_jaeger(given.keys()):
        values["exporter"] = "jaeger"
    loaded = Settings(**values, given=given)
    _check_sampler(loaded)
    return loaded


def unread_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that nobody reads: a configuration file, or what looks like a misspelt setting."""
    known = [variable for setting in table() for variable in setting.metadata["variables"]]
    files = [
        f"{name}={path} is not read: give its settings as variables or arguments, see docs/reference/settings.md"
        for name in _CONFIGURATION_FILES
        if (path := environ.get(name, "").strip())
    ]
    return files + [
        f"there is no variable {name}{near}"
        for name in environ
        if name.startswith("TRACING_") and name not in known and (near := _near(name, known))
    ]


def _near(name: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches  # for mistakes alone: it takes a millisecond to import

    near = get_close_matches(name, names, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


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


def parse(setting: Field[Any], variable: str, text: str) -> Any:
    """The value of a setting that ``variable`` gives as ``text``.

    Raises:
        SettingError: it is not allowed.
    """
    kind: Kind = setting.metadata["kind"]
    try:
        return kind.parse(text)
    except (ValueError, KeyError, OverflowError):
        raise _refused(setting, text, variable) from None


def _checked(setting: Field[Any], value: Any) -> Any:
    kind: Kind = setting.metadata["kind"]
    try:
        allowed = kind.accepts(value)
    except (ValueError, TypeError, AttributeError):
        allowed = False
    if not allowed:
        raise _refused(setting, value, setting.name)
    if kind is FILE:
        return readable_file(value)
    return tuple(value) if isinstance(setting.default, tuple) else value


def _refused(setting: Field[Any], value: object, name: str) -> SettingError:
    shown = "(not shown, it may hold a secret)" if setting.metadata["secret"] else hide_credentials(repr(value))
    allowed = setting.metadata["kind"].allowed
    if setting.metadata["kind"] is PROPAGATORS:
        allowed += f" (installed: {', '.join(installed_propagators())})"
    return SettingError(f"{name}={shown} is not allowed; it must be {allowed}")
