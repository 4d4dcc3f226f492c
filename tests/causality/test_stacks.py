"""Frames in words: whose code it is, where it stands, and a stack without source lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from causal_otel.causality import stacks
from causal_otel.causality.stacks import Place, formatted, function_name, is_own, own_frame, place

if TYPE_CHECKING:
    from types import CodeType


def compiled(file: str, text: str = "def render():\n    return frames()\n") -> Any:
    """What a module of that file defines, which was never on a disk."""
    defined: dict[str, Any] = {"frames": lambda: sys._getframe(1)}
    exec(compile(text, file, "exec"), defined)
    return defined["render"]


def code_of(file: str) -> CodeType:
    code: CodeType = compiled(file).__code__
    return code


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/srv/shop/report.py", True),
        ("report.py", True),
        ("/srv/shop/.venv/lib/python3.11/site-packages/sqlalchemy/orm/query.py", False),
        ("/usr/lib/python3/dist-packages/apt.py", False),
        (json.__file__, False),
        (stacks.__file__, False),
        ("<string>", False),
        ("<frozen importlib._bootstrap>", False),
    ],
)
def test_whose_code_it_is(file: str, own: bool) -> None:
    """The user's own is what is neither the standard library, nor installed, nor ours, nor made at run time."""
    assert [is_own(code_of(file)), is_own(code_of(file))] == [own, own]


def test_files_are_remembered_up_to_a_bound() -> None:
    """A program that makes code under ever new names does not fill the memory."""
    for number in range(2 * stacks._REMEMBERED):
        file = f"/srv/made/{number}.py"
        assert is_own(code_of(file)) if number < 3 else stacks._looked_at(file)
        stacks._shortened(file)
    assert len(stacks._own) <= stacks._REMEMBERED
    assert len(stacks._short) <= stacks._REMEMBERED


def test_the_nearest_frame_of_the_user() -> None:
    """Of a library that calls back into the user's code it is the user's code; of one that does not, its caller."""
    library = compiled("/srv/site-packages/acme/db.py", "def render(call):\n    return call()\n")
    within = library(compiled("/srv/shop/report.py"))
    found = own_frame(within)
    assert found is within
    assert found.f_code.co_filename == "/srv/shop/report.py"
    inside = compiled("/srv/site-packages/acme/db.py")
    caller = compiled("/srv/shop/orders.py", "def render(call):\n    return call()\n")(inside)
    found = own_frame(caller)
    assert found is not None
    assert found.f_code.co_filename == "/srv/shop/orders.py"


def test_nobody_is_the_users() -> None:
    """Where no frame is the user's own there is none."""
    assert own_frame(None) is None


def _nested() -> list[CodeType]:
    def inner() -> CodeType:
        return next(iter([sys._getframe().f_code for _ in range(1)]))

    class Local:
        def method(self) -> CodeType:
            return sys._getframe().f_code

    return [inner(), (lambda: sys._getframe().f_code)(), Local().method()]


class Report:
    def render(self) -> CodeType:
        return sys._getframe().f_code


def test_names_of_functions() -> None:
    """Nesting is left out, a class is not, and a comprehension is its function, whatever Python makes of it."""
    assert [function_name(code) for code in (*_nested(), Report().render())] == [
        "inner",
        "<lambda>",
        "Local.method",
        "Report.render",
    ]


def test_a_place_in_words(tmp_path: Path) -> None:
    """File, line and function; a module of a package is named with its package."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    assert str(Place(code_of(str(package / "report.py")), 31)) == "shop/report.py:31 render()"
    assert str(Place(code_of(str(tmp_path / "report.py")), 31)) == "report.py:31 render()"
    assert str(Place(code_of("report.py"), 31)) == "report.py:31 render()"
    assert str(place(compiled(str(tmp_path / "lines.py"))())) == "lines.py:2 render()"


def test_a_stack_in_words() -> None:
    """It is in Python's form, the innermost call last, without source lines."""
    outer, inner = code_of("/srv/outer.py"), code_of("/srv/inner.py")
    assert formatted([(inner, 3), (outer, 7)]) == (
        "Stack (most recent call last):\n"
        '  File "/srv/outer.py", line 7, in render\n'
        '  File "/srv/inner.py", line 3, in render\n'
    )
