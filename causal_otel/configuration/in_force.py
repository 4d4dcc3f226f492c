"""The settings in force, as people and programs look at them: ``status()`` and ``causal-otel config``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel._internal.secrets import hide_credentials, is_secret
from causal_otel.settings import Settings, table
from causal_otel.settings.given import Given, Origin

if TYPE_CHECKING:
    from dataclasses import Field

__all__ = ["SettingInForce", "in_force"]

_HIDDEN = "…"


class SettingInForce(NamedTuple):
    """A setting, and who has given it."""

    name: str
    value: Any
    """Of types that JSON has, without secrets."""
    origin: str
    """The argument, the variable, or the file and the path in it."""

    def __str__(self) -> str:
        return f"{self.name} = {self.text} ({self.origin})"

    @property
    def text(self) -> str:
        """The value as people read it."""
        return _text(self.value)


def in_force(settings: Settings, call: str = "install()", *, defaults: bool = False) -> tuple[SettingInForce, ...]:
    """The settings that are not as they are by default, in the order of the page, then options of patches.

    Args:
        settings: of the installation.
        call: where ``install()`` was called, for its arguments.
        defaults: all others, too.
    """
    default, found = Settings(), []
    for setting in table():
        name, value = setting.name, getattr(settings, setting.name)
        if value == getattr(default, name):
            if defaults:
                found.append(SettingInForce(name, _shown(setting, value), "default"))
            continue
        given = settings.given.get(name, ())[: None if name == "resource_attributes" else 1]
        origins = dict.fromkeys(_origin(each, call) for each in given)
        # Without any it follows from what says where spans go.
        found.append(SettingInForce(name, _shown(setting, value), " and ".join(origins) or "implied"))
    for patch, options in settings.patch_options.items():
        for option, each in options.items():
            found.append(SettingInForce(f"patches.{patch}.{option}", _plain(each.value), _origin(each, call)))
    return tuple(found)


def _origin(given: Given, call: str) -> str:
    return call if given.origin is Origin.ARGUMENT else given.cited


def _shown(setting: Field[Any], value: object) -> Any:
    if setting.metadata["secret"] and isinstance(value, Mapping):
        return dict.fromkeys(value, _HIDDEN)
    return _plain(value)


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _HIDDEN if is_secret(str(key)) else _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return hide_credentials(str(value))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "" if value is None else str(value)
