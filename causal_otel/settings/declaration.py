"""How a setting is declared, and what is raised of one that is not allowed."""

from __future__ import annotations

from typing import Any

from causal_otel._internal import setting_types
from causal_otel._internal.setting_types import Kind

__all__ = ["SettingError", "setting"]


class SettingError(ValueError):
    """A setting has a value that is not allowed. The message names it, the value and what is allowed."""


def setting(kind: Kind, default: Any, help: str, *variables: str, secret: bool = False) -> Any:
    """A field of :class:`causal_otel.settings.Settings`.

    Args:
        kind: what its value may be.
        default: the value, or what makes it.
        help: a line of Markdown, for the page.
        variables: the environment variables that give it; of those that are set, the first counts.
        secret: whether its value is not to be shown.
    """
    return setting_types.setting(kind, default, help, secret=secret, variables=variables)
