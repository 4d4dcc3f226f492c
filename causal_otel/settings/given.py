"""What was given for a setting, and where: what messages and ``status()`` name it by."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Given", "Origin"]


class Origin(StrEnum):
    """The ways to give a setting, the first of which counts."""

    ARGUMENT = "argument"
    VARIABLE = "variable"
    FILE = "file"
    """OpenTelemetry's configuration file."""
    PYPROJECT = "pyproject"


class Given(NamedTuple):
    """What was given for a setting.

    Args:
        name: of the argument or the variable, or the path of the key in the file.
        value: as it was given: of a variable, its text.
        origin: which way it was given.
        place: the path of the file, if it stands in one.
    """

    name: str
    value: object
    origin: Origin
    place: str = ""

    @property
    def cited(self) -> str:
        """How a message names it."""
        return f"{self.place}: {self.name}" if self.place else self.name
