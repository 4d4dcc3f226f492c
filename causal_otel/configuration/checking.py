"""A value that was given becomes that of a setting, or is refused in words that help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causal_otel._internal.secrets import hide_credentials, is_secret
from causal_otel._internal.setting_types import FILE, PROPAGATORS, Kind, installed_propagators, readable_file
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from dataclasses import Field

__all__ = ["checked", "did_you_mean", "parse"]


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


def checked(setting: Field[Any], value: Any, name: str) -> Any:
    """The value of a setting that is given as one of Python's, by ``name``: an argument, or a key of a file.

    Raises:
        SettingError: it is not allowed.
    """
    kind: Kind = setting.metadata["kind"]
    try:
        allowed = kind.accepts(value)
    except (ValueError, TypeError, AttributeError):
        allowed = False
    if not allowed:
        raise _refused(setting, value, name)
    if kind is FILE:
        return readable_file(value)
    return tuple(value) if isinstance(setting.default, tuple) else value


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """What to add to a message about ``name``, which is none of ``names``; empty if none is like it."""
    from difflib import get_close_matches  # for mistakes alone: it takes a millisecond to import

    near = get_close_matches(name, names, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def _refused(setting: Field[Any], value: object, name: str) -> SettingError:
    secret = setting.metadata["secret"] or (isinstance(value, Mapping) and any(is_secret(str(key)) for key in value))
    shown = "(not shown, it may hold a secret)" if secret else hide_credentials(repr(value))
    allowed = setting.metadata["kind"].allowed
    if setting.metadata["kind"] is PROPAGATORS:
        allowed += f" (installed: {', '.join(installed_propagators())})"
    return SettingError(f"{name}={shown} is not allowed; it must be {allowed}")
