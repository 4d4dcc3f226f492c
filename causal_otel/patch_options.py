"""The options of a patch as a file gives them: a table becomes an instance of the patch's own dataclass."""

from __future__ import annotations

import types
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from causal_otel.configuration.checking import did_you_mean
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.instrument.options import Options
    from causal_otel.settings.given import Given

__all__ = ["options_of"]

_HOOKS = ("request_hook", "response_hook")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of texts"}


def options_of(kind: type[Options], content: Mapping[str, Given]) -> Options:
    """The options that a table gives.

    A list is a tuple there, and false is None where an option may be None but no boolean: TOML has no None.

    Args:
        kind: the patch's dataclass of options.
        content: of the table.

    Raises:
        SettingError: there is no such option, or it has another type.
    """
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind) if field.name not in _HOOKS]
    values = {}
    for name, given in content.items():
        if name in _HOOKS:
            raise SettingError(f"{given.cited}: hooks are functions, which are given in code: install(patches=...)")
        if name not in names:
            raise SettingError(
                f"{given.cited}: there is no such option{did_you_mean(name, names)}; there are: {', '.join(names)}"
            )
        values[name] = _value(given, _types(hints[name]))
    return kind(**values)


def _types(hint: Any) -> tuple[type, ...]:
    """The types that an option may have, as far as a file can give them."""
    each = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(get_origin(it) or it for it in each)


def _value(given: Given, allowed: tuple[type, ...]) -> Any:
    value = given.value
    if value is False and bool not in allowed and type(None) in allowed:
        return None
    if tuple in allowed and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if type(value) in allowed or (float in allowed and type(value) is int):
        return value
    words = [_WORDS[it] for it in allowed if it in _WORDS]
    if type(None) in allowed and bool not in allowed:
        words.append("false")
    raise SettingError(f"{given.cited}={value!r} is not allowed; it must be {', or '.join(words)}")
