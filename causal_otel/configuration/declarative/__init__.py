"""OpenTelemetry's declarative configuration file: what we can do of it is done, what we cannot is refused by name.

It is read, checked against its schema and filled in from the environment by the package
``opentelemetry-configuration``. ``signals.py`` and ``general.py`` say what its keys are here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel._internal.extras import missing
from causal_otel._internal.log import without_errors_of
from causal_otel._internal.secrets import hide_credentials
from causal_otel.configuration.declarative.general import read_distribution, read_general
from causal_otel.configuration.declarative.reading import Reading
from causal_otel.configuration.declarative.sections import Section, plain
from causal_otel.configuration.declarative.signals import read_signals
from causal_otel.configuration.source import combined
from causal_otel.settings import SettingError

if TYPE_CHECKING:
    from causal_otel.configuration.source import Source

__all__ = ["read_declarative"]

_PACKAGE = "opentelemetry.configuration"


def read_declarative(path: str) -> Source:
    """What the file says of our settings.

    Args:
        path: of the file: ``.yaml``, ``.yml`` or ``.json``.

    Raises:
        SettingError: the extra is not installed, the file does not fit the schema, or it asks for what we cannot do.
    """
    if problem := missing((_PACKAGE,), "declarative"):
        raise SettingError(f"{path} cannot be read: {problem}")
    root, reading = Section(_content(path)), Reading(path)
    read_general(root, reading)
    read_signals(root, reading)
    ours = read_distribution(root, path)
    return combined(ours, reading.source(root.left()))


def _content(path: str) -> dict[str, Any]:
    from opentelemetry.configuration import ConfigurationError, load_config_file

    try:
        with without_errors_of(f"{_PACKAGE}.file._loader"):
            content = plain(load_config_file(path))
    except ConfigurationError as error:
        raise SettingError(f"{path}: {_explained(error)}") from None  # its cause may tell a secret
    assert isinstance(content, dict)
    return content


def _explained(error: Exception) -> str:
    """What is wrong with a file, without what may be a secret of it."""
    cause = error.__cause__
    place = getattr(cause, "problem_mark", None)  # of YAML, whose own words show the line
    if place is not None:
        return f"it is not YAML: {getattr(cause, 'problem', '')} (line {place.line + 1}, column {place.column + 1})"
    text = str(error)
    instance = getattr(cause, "instance", None)  # of the schema, whose words begin with what does not fit it
    if isinstance(instance, dict | list) or "headers" in text:
        text = text.replace(repr(instance), "what is there")
    return hide_credentials(text)
