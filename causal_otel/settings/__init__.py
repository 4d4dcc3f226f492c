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

    from causal_otel.settings.given import Given

__all__ = ["SettingError", "Settings", "table"]


@dataclass(frozen=True, kw_only=True)
class Settings(DestinationSettings, SpanSettings, OperationSettings, ContentSettings):
    """What :func:`causal_otel.install` works with. Times are in seconds."""

    # Not settings, but what belongs to them:
    given: Mapping[str, tuple[Given, ...]] = field(default_factory=dict, repr=False, compare=False)
    """What was given for each setting. The first one counts; of resource attributes, all do."""
    patch_options: Mapping[str, Mapping[str, Given]] = field(default_factory=dict, repr=False)
    """The options of patches that files give, by patch and option."""
    of_metrics: Mapping[str, object] | None = field(default=None, repr=False)
    """What OpenTelemetry's configuration file says of the export of metrics; None: nothing."""
    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """A sentence for each thing that is odd about the files."""

    def used(self, name: str) -> Given | None:
        """What was given for a setting and counts; None: it has its default."""
        return self.given[name][0] if name in self.given else None

    @property
    def wanted(self) -> bool:
        """Whether tracing is switched on at all."""
        return self.enabled and not self.sdk_disabled


def table() -> tuple[Field[Any], ...]:
    """The settings, in the order of the page."""
    return tuple(setting for theme in Settings.__bases__ for setting in fields(theme))
