"""Every setting, once: its name, type, default, environment variables and one line of help.

The fields of :class:`Settings` are the table, in a file for each theme. ``load_settings.py`` reads the environment and
the arguments by it, and ``docs/reference/settings.md`` is written from it (``make docs``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from causal_otel.settings.content import ContentSettings
from causal_otel.settings.declaration import SettingError
from causal_otel.settings.destination import DestinationSettings
from causal_otel.settings.operations import OperationSettings
from causal_otel.settings.spans import SpanSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field

__all__ = ["SettingError", "Settings", "table"]


@dataclass(frozen=True, kw_only=True)
class Settings(DestinationSettings, SpanSettings, OperationSettings, ContentSettings):
    """What :func:`causal_otel.install` works with. Times are in seconds."""

    given: Mapping[str, Mapping[str, object]] = field(default_factory=dict, repr=False, compare=False)
    """Not a setting: what was given for each, by the name of the argument or variable. The first is used."""

    @property
    def wanted(self) -> bool:
        """Whether tracing is switched on at all."""
        return self.enabled and not self.sdk_disabled


def table() -> tuple[Field[Any], ...]:
    """The settings, in the order of the page."""
    return tuple(setting for theme in Settings.__bases__ for setting in fields(theme))
