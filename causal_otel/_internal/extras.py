"""What to tell the user where a package of an extra is missing.

There is no release on an index yet. ``pip install`` with the name of the distribution would find nothing.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from causal_otel._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["how_to_install", "missing"]


def how_to_install(extra: str) -> str:
    """What installs an extra before there is a release: the commands that the README has.

    Args:
        extra: its name in ``pyproject.toml``.
    """
    wheel = f"dist/causal_otel-{__version__}-py3-none-any.whl"
    return f'install the extra {extra}: pip install ".[{extra}]" in the checkout, or pip install "{wheel}[{extra}]"'


def missing(packages: Iterable[str], extra: str) -> str:
    """A sentence that says which of ``packages`` are not installed, and what to do; empty if all are there.

    Args:
        packages: the names by which they are imported. None of them is imported here, but for what a name has before
            its last dot.
        extra: what brings them.
    """
    absent = [name for name in packages if not _importable(name)]
    return f"{' and '.join(absent)} cannot be imported; {how_to_install(extra)}" if absent else ""


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what stands before the last dot is missing
        return False
