"""Budgets: a file that says what each test may call, compared in CI, and written by ``--causal-budget=update``.

A line is a test, and lines are sorted, so that a change of one test is a change of one line. Of two lines of one test,
as a merge by ``union`` leaves them, the greater numbers count; the next update makes one of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from causal_otel.testing.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

__all__ = ["BudgetError", "kept", "over", "read", "write"]

_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


class BudgetError(Exception):
    """The file of budgets cannot be read, and where."""


def read(file: Path) -> dict[str, Figures]:
    """The budgets by test; none, if there is no file.

    Raises:
        BudgetError: a line of it is none.
    """
    found: dict[str, Figures] = {}
    if not file.exists():
        return found
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        if line.startswith(_CONFLICT):
            raise BudgetError(
                f"{file}:{number}: a merge has left a conflict: delete the marks, both sides may stay. With "
                f"'{file.name} merge=union' in .gitattributes there are none"
            )
        try:
            document = json.loads(line)
            test, figures = document["test"], Figures.of(document)
        except (ValueError, KeyError, TypeError) as error:
            raise BudgetError(f"{file}:{number}: this is no budget: {error}") from None
        found[test] = found[test].most(figures) if test in found else figures
    return found


def write(file: Path, budgets: Mapping[str, Figures]) -> None:
    """Write the file: a line for each test that calls anything, by its name."""
    lines = [
        json.dumps({"test": test, **figures.document()}, ensure_ascii=False) + "\n"
        for test, figures in sorted(budgets.items())
        if figures
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines), encoding="utf-8")


def kept(before: Mapping[str, Figures], collected: Collection[str], root: Path, *, whole: bool) -> dict[str, Figures]:
    """The budgets that stay: all but those of tests that are no more.

    Args:
        before: those of the file.
        collected: the tests that pytest has found, also such as were deselected.
        root: what the names of tests begin at.
        whole: whether all tests of each file were looked for, and found without an error. Then one that is not there
            was renamed or deleted.
    """
    files = {_file(test) for test in collected} if whole else set()
    return {
        test: figures
        for test, figures in before.items()
        if test in collected or (_file(test) not in files and (root / _file(test)).exists())
    }


def over(test: str, figures: Figures, budget: Figures, counted: Iterable[str]) -> str:
    """How a test exceeds its budget, in words; empty: it does not.

    Args:
        test: its name.
        figures: what it has called.
        budget: what it may.
        counted: its queries, a line each.
    """
    if not figures.exceeds(budget):
        return ""
    rows = [(what, str(may), str(does), f"{does - may:+d}") for what, may, does in figures.rows(budget) if does != may]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"  {what:{widths[0]}}  {may:>{widths[1]}} → {does:>{widths[2]}}  ({change})"
        for what, may, does, change in rows
    ]
    queries = [f"    {line}" for line in counted]
    return "\n".join(
        (
            "the test is over its budget:",
            *lines,
            *(["  its queries are", *queries] if queries else []),
            f"If that is meant: pytest --causal-budget=update '{test}'",
        )
    )


def _file(test: str) -> str:
    return test.partition("::")[0]
