"""The table ``[tool.causal_otel]`` of ``pyproject.toml``, from the working directory upwards.

The nearest file that has the table counts, as with ruff; files without it are passed over. What reads the table is
imported only for a file that has its name in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causal_otel._internal.secrets import hide_credentials, is_secret
from causal_otel.configuration.source import NOTHING, Source
from causal_otel.settings import SettingError
from causal_otel.settings.given import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_pyproject"]

_NAME = "pyproject.toml"
_TABLE = "causal_otel"


def read_pyproject(directory: str | None = None) -> Source:
    """What the nearest ``pyproject.toml`` with the table says.

    Relative paths in it are relative to its directory. A file above the working directory counts only if it belongs to
    root, to this process's user, or to whom the working directory belongs: others could send the traces elsewhere.

    Args:
        directory: where to begin; default: the working directory.

    Raises:
        SettingError: the file is no TOML, there is no setting of such a name, or its value is not allowed.
    """
    try:
        directory = os.getcwd() if directory is None else os.path.abspath(directory)
    except OSError:  # the working directory has been deleted
        return NOTHING
    warnings: list[str] = []
    trusted: set[int] | None = None
    for place in _upwards(directory):
        try:
            with open(place, "rb") as file:
                owner, content = os.fstat(file.fileno()).st_uid, file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            warnings.append(_unread(place, error.strerror or ""))
            continue
        table = _table(place, content)
        if table is None:
            continue
        trusted = trusted or _trusted(directory)
        if os.path.dirname(place) != directory and owner not in trusted:
            warnings.append(_unread(place, "it belongs to another user"))
            continue
        from causal_otel.configuration.tables import Citing, read_table

        source = read_table(table, Citing(Origin.PYPROJECT, place, f"tool.{_TABLE}"), os.path.dirname(place))
        return source._replace(warnings=(*warnings, *_committed_secrets(source)))
    return Source(warnings=tuple(warnings))


def _upwards(directory: str) -> Iterator[str]:
    while True:
        yield os.path.join(directory, _NAME)
        above = os.path.dirname(directory)
        if above == directory:
            return
        directory = above


def _trusted(directory: str) -> set[int]:
    own = {os.geteuid()} if hasattr(os, "geteuid") else set()
    return {0, os.stat(directory).st_uid, *own}


def _table(place: str, content: bytes) -> Mapping[str, Any] | None:
    """The table, if the file has it."""
    if _TABLE.encode() not in content and b"tool.causal-otel" not in content:
        return None
    import tomllib

    try:
        tools = tomllib.loads(content.decode()).get("tool", {})
    except ValueError as error:
        raise SettingError(f"{place} is not TOML: {error}") from None
    if "causal-otel" in tools:
        raise SettingError(f"{place}: the table [tool.causal-otel] is not read; its name is [tool.{_TABLE}]")
    table = tools.get(_TABLE)
    if table is not None and not isinstance(table, Mapping):
        raise SettingError(f"{place}: tool.{_TABLE}={table!r} is not allowed; it must be a table")
    return table


def _unread(place: str, why: str) -> str:
    return f"{place} is not read ({why}): settings in it do not count"


def _committed_secrets(source: Source) -> Iterator[str]:
    """A sentence for each secret, which everybody has who has the repository."""
    for name, (given, *_) in source.given.items():
        value = source.values[name]
        if isinstance(value, Mapping):
            secret = any(map(is_secret, value))
        else:
            secret = isinstance(value, str) and hide_credentials(value) != value
        if secret:
            yield f"{given.cited} holds a secret, which whoever reads the repository has: give it by a variable"
