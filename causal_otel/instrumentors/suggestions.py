"""What to install for libraries that are imported and that nothing traces."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.configuration.others_names import PREFIX
from causal_otel.instrumentors.known import by_module, replaced_by_ours

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Suggestion", "advice", "suggest"]


class Suggestion(NamedTuple):
    """How a library can be traced that no patch of ours is for.

    Args:
        module: the library, by the name by which it is imported.
        instrumentor: what ``install(instrumentors=[...])`` calls it.
        distribution: what has to be installed.
        installed: whether it is.
    """

    module: str
    instrumentor: str
    distribution: str
    installed: bool

    @property
    def fix(self) -> str:
        """What to do, in a line that can be read and pasted from."""
        use = f'instrumentors=["{self.instrumentor}"]'
        return use if self.installed else f"pip install {self.distribution}, and {use}"


def suggest(module_names: Iterable[str]) -> list[Suggestion]:
    """What traces libraries that no patch of ours is for.

    It says nothing of whether something traces them already: give it those that nothing does, such as the first words
    of ``causal_otel.status().untraced``, or all that are imported, to learn what there is for them. Looks at the
    metadata of installed packages and imports nothing.

    Args:
        module_names: of libraries, as ``sys.modules`` has them: ``"pymongo"``, ``"mysql.connector"``.

    Returns:
        One for each library that an instrumentor of our list is for, in the order of the names. The others are either
        ours to trace, or nobody's.
    """
    names = by_module()
    return [
        Suggestion(module, name, f"{PREFIX}{name}", _is_installed(f"{PREFIX}{name}"))
        for module in module_names
        if (name := names.get(module)) is not None and replaced_by_ours(name) is None
    ]


def advice(module: str) -> str:
    """What to do about one library, in a line; empty: there is nothing for it."""
    return "".join(found.fix for found in suggest([module]))


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
