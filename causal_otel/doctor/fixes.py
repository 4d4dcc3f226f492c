"""How a setting is given another value where it has its present one from: by its variable, or in the call."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from causal_otel.settings import table

if TYPE_CHECKING:
    from causal_otel.doctor.facts import Facts

__all__ = ["assign", "is_argument"]


def assign(facts: Facts, name: str, value: str, comment: str = "") -> str:
    """A line to paste that gives a setting a value.

    Args:
        facts: say where it has its value from.
        name: of the setting.
        value: as its variable has it.
        comment: what else there is to say.
    """
    said = f"    # {comment}" if comment else ""
    if is_argument(facts, name):
        return f"causal_otel.install({name}={value!r}){said}"
    (variables,) = (setting.metadata["variables"] for setting in table() if setting.name == name)
    given = next((each for each in variables if facts.environ.get(each, "").strip()), None)
    short = min(variables, key=lambda each: (not each.startswith("OTEL_"), len(each)))
    return f"export {given or short}={shlex.quote(value)}{said}"


def is_argument(facts: Facts, name: str) -> bool:
    """Whether the application's call of ``install()`` gives the setting."""
    return facts.application is not None and name in facts.application.arguments
