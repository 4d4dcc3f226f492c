"""Settings in a table of a file: ``[tool.causal_otel]``, and ``distribution`` in OpenTelemetry's configuration file.

Keys are the names of settings, and values have the types that arguments have: times are seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causal_otel._internal.setting_types import DIRECTORY, FILE, STRATEGIES
from causal_otel.configuration.checking import checked, did_you_mean
from causal_otel.configuration.source import Source
from causal_otel.settings import SettingError, table
from causal_otel.settings.given import Given, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Citing", "adjusted_patches", "read_table"]

_PATHS = (DIRECTORY, FILE, STRATEGIES)


class Citing:
    """Makes what says where in a file a value stands.

    Args:
        origin: what kind of file it is.
        place: its path.
        path: of the keys around, as ``tool.causal_otel``.
    """

    def __init__(self, origin: Origin, place: str, path: str) -> None:
        self._origin = origin
        self._place = place
        self._path = path

    def __call__(self, key: str, value: object = None) -> Given:
        """Of a value by its key."""
        return Given(f"{self._path}.{key}" if self._path else key, value, self._origin, self._place)

    def below(self, key: str) -> Citing:
        """Of the values of the table by that key."""
        return Citing(self._origin, self._place, self(key).name)


def read_table(content: Mapping[str, Any], citing: Citing, directory: str) -> Source:
    """What a table says.

    Args:
        content: of the table.
        citing: where it stands.
        directory: what relative paths are relative to.

    Raises:
        SettingError: there is no setting of such a name, or its value is not allowed.
    """
    settings = {setting.name: setting for setting in table()}
    values: dict[str, Any] = {}
    given: dict[str, tuple[Given, ...]] = {}
    options: Mapping[str, Mapping[str, Given]] = {}
    for key, value in content.items():
        if key not in settings:
            raise SettingError(
                f"{citing(key).cited}: there is no such setting{did_you_mean(key, settings)}; "
                "docs/reference/settings.md lists all settings"
            )
        if key == "patches" and isinstance(value, Mapping):
            names, options = adjusted_patches(value, citing.below(key))
            if names is None:
                continue
            value = names
        elif settings[key].metadata["kind"] in _PATHS and isinstance(value, str) and "://" not in value:
            value = os.path.join(directory, value)
        given[key] = (citing(key, value),)
        values[key] = checked(settings[key], value, given[key][0].cited)
    return Source(values, given, options)


def adjusted_patches(
    content: Mapping[str, Any], citing: Citing
) -> tuple[tuple[str, ...] | None, dict[str, dict[str, Given]]]:
    """What a table says of patches, each by its name: false leaves it out, a table has its options.

    All others are applied, unless ``"*"`` is false.

    Returns:
        Their names as the setting ``patches`` has them, None for all; and their options, by patch.

    Raises:
        SettingError: something is neither a boolean nor a table.
    """
    for name, choice in content.items():
        if not isinstance(choice, bool | Mapping) or (name == "*" and not isinstance(choice, bool)):
            raise SettingError(
                f"{citing(name).cited}={choice!r} is not allowed; it must be true, false or a table of its options"
            )
    options = dict(_options(content, citing))
    others = content.get("*", True)
    chosen = [name for name, choice in content.items() if name != "*" and (choice is not False) is not others]
    if others:
        return tuple(f"-{name}" for name in chosen) or None, options
    return tuple(chosen) or ("none",), options


def _options(content: Mapping[str, Any], citing: Citing) -> Iterator[tuple[str, dict[str, Given]]]:
    for name, choice in content.items():
        if isinstance(choice, Mapping):
            below = citing.below(name)
            yield name, {key: below(key, value) for key, value in choice.items()}
