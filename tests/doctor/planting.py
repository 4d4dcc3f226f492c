"""Misconfigurations, each planted in real surroundings: what the doctor has to say first, and whether its fix works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["PLANTS", "Case", "Plant", "Soil", "plant"]


class Soil(NamedTuple):
    """Where something is planted.

    Attributes:
        directory: of the application.
        endpoint: of an OTLP receiver that takes everything by HTTP.
    """

    directory: Path
    endpoint: str

    def write(self, name: str, text: str) -> None:
        """Write a file of the application."""
        (self.directory / name).write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        arguments: of ``causal-otel doctor``.
        variables: its environment.
        paste: put into the fix in the place of the text that only a person knows, such as a token; None: the fix is not
            tried. An empty mapping: it is pasted as it is.
    """

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    paste: Mapping[str, str] | None = None


class Plant(NamedTuple):
    """A misconfiguration.

    Attributes:
        name: of the test.
        code: of the finding that has to be the first one.
        severity: of that.
        words: that its fix has to hold.
        set_up: plants it for as long as its block lasts.
        quick: whether it is tried in the default set.
    """

    name: str
    code: str
    severity: str
    words: tuple[str, ...]
    set_up: Callable[[Soil], AbstractContextManager[Case]]
    quick: bool


PLANTS: list[Plant] = []
"""All of them, as :func:`plant` has collected them."""


def plant(
    code: str, severity: str, *words: str, quick: bool = False
) -> Callable[[Callable[[Soil], Iterator[Case]]], Callable[[Soil], Iterator[Case]]]:
    """Collect a function that plants something, yields the case, and clears up."""

    def collect(function: Callable[[Soil], Iterator[Case]]) -> Callable[[Soil], Iterator[Case]]:
        PLANTS.append(Plant(function.__name__, code, severity, words, contextmanager(function), quick))
        return function

    return collect
