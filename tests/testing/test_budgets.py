"""The file of budgets: how it is read, merged and written, and how a test is compared with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from causal_otel.testing.budgets import BudgetError, kept, over, read, write
from causal_otel.testing.figures import Figures

_LIST = "tests/test_orders.py::test_list"
_SHOW = "tests/test_orders.py::test_show[müller]"
_TWO = {_LIST: Figures({"GET /orders": 3}, 1, 5), _SHOW: Figures({}, 0, 1)}


def test_file_is_a_line_for_each_test(tmp_path: Path) -> None:
    """What is written is read again; tests are sorted, one a line, and such as call nothing have none."""
    file = tmp_path / "of" / "causal-budget.jsonl"
    assert read(file) == {}
    write(file, {_SHOW: _TWO[_SHOW], _LIST: _TWO[_LIST], "tests/test_orders.py::test_nothing": Figures()})
    assert file.read_text(encoding="utf-8") == (
        '{"test": "tests/test_orders.py::test_list", "queries": {"GET /orders": 3}, "external": 1, "spans": 5}\n'
        '{"test": "tests/test_orders.py::test_show[müller]", "queries": {}, "external": 0, "spans": 1}\n'
    )
    assert read(file) == _TWO


def test_lines_of_two_branches_count_together(tmp_path: Path) -> None:
    """Of two lines of one test, as a merge leaves them, the greater numbers count."""
    file = tmp_path / "causal-budget.jsonl"
    write(file, {_LIST: Figures({"GET /orders": 3}, 4, 9)})
    write(tmp_path / "other", {_LIST: Figures({"GET /items": 2}, 1, 12)})
    file.write_text(file.read_text() + "\n" + (tmp_path / "other").read_text())
    assert read(file) == {_LIST: Figures({"GET /orders": 3, "GET /items": 2}, 4, 12)}


def test_branches_merge_without_a_conflict(tmp_path: Path) -> None:
    """Git merges two branches that change the same test and add others, by the attribute that the page tells of."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    file = tmp_path / "causal-budget.jsonl"
    (tmp_path / ".gitattributes").write_text("causal-budget.jsonl merge=union\n")
    git("init")
    write(file, {_LIST: Figures({}, 0, 5)})
    git("add", ".")
    git("commit", "-m", "first")
    git("checkout", "-b", "other")
    write(file, {_LIST: Figures({}, 0, 7), "tests/test_a.py::test_a": Figures({}, 0, 1)})
    git("commit", "-am", "other")
    git("checkout", "main")
    write(file, {_LIST: Figures({}, 2, 6), _SHOW: Figures({}, 0, 2)})
    git("commit", "-am", "main")
    git("merge", "other")
    assert read(file) == {
        _LIST: Figures({}, 2, 7),
        _SHOW: Figures({}, 0, 2),
        "tests/test_a.py::test_a": Figures({}, 0, 1),
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("<<<<<<< HEAD", r"budget:2: a merge has left a conflict: .* merge=union"),
        ("{", "budget:2: this is no budget"),
        ('{"spans": 1}', "budget:2: this is no budget: 'test'"),
        ('{"test": "t", "queries": 3}', "budget:2: this is no budget"),
        ("[]", "budget:2: this is no budget"),
    ],
)
def test_line_that_is_no_budget_is_told_by_its_number(tmp_path: Path, line: str, said: str) -> None:
    """A file that cannot be read says which line, and what to do about a conflict."""
    file = tmp_path / "budget"
    file.write_text(f'{{"test": "t", "spans": 1}}\n{line}\n')
    with pytest.raises(BudgetError, match=said):
        read(file)


def test_budgets_of_tests_that_are_no_more_go(tmp_path: Path) -> None:
    """A budget goes with its file, and with its test where all of that file was looked at; others stay."""
    (tmp_path / "tests").mkdir()
    for name in ("test_orders.py", "test_items.py"):
        (tmp_path / "tests" / name).touch()
    gone, elsewhere = "tests/test_orders.py::test_renamed", "tests/test_items.py::test_items"
    before = {each: Figures({}, 0, 1) for each in (_LIST, gone, elsewhere, "tests/test_deleted.py::test_x")}
    assert list(kept(before, {_LIST}, tmp_path, whole=True)) == [_LIST, elsewhere]
    assert list(kept(before, {_LIST}, tmp_path, whole=False)) == [_LIST, gone, elsewhere]


def test_test_over_its_budget_is_told_what_grew() -> None:
    """A test that calls more than it may says what, how much more and which queries there are, and how to accept it."""
    budget = Figures({"GET /orders": 3, "GET /items": 1}, 1, 5)
    found = Figures({"GET /orders": 23}, 1, 25)
    assert over(_LIST, found, budget, ["20× SELECT items  from shop.py:31 load()"]) == (
        "the test is over its budget:\n"
        "  queries of GET /items   1 →  0  (-1)\n"
        "  queries of GET /orders  3 → 23  (+20)\n"
        "  spans                   5 → 25  (+20)\n"
        "  its queries are\n"
        "    20× SELECT items  from shop.py:31 load()\n"
        f"If that is meant: pytest --causal-budget=update '{_LIST}'"
    )
    assert over(_LIST, budget, budget, []) == over(_LIST, Figures({"GET /items": 1}, 1, 4), budget, []) == ""
