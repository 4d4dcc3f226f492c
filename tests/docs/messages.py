"""Every message that the package logs, read from its code: whatever is said by a logger of ours, in whatever words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ROOT

__all__ = ["Said", "fault_sites", "said"]

_PACKAGE = ROOT / "causal_otel"
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
_RELAYS = {
    ("install.py", "warn"): "warning",
    ("installation.py", "warn"): "warning",
    ("collector/store/upkeep.py", "_failed"): "error",
}
"""Methods that log the sentence they are given, and at which level."""

SENTENCES = {
    "destination.py": ("conflicts", "_unused"),
    "load_settings.py": ("unread_variables",),
    "configuration/pyproject.py": ("_unread", "_committed_secrets"),
    "instrumentors/conventions.py": ("switch_on",),
    "collector/tokens.py": ("_explained",),
    "collector/certificates.py": ("_explained",),
    "collector/remote_sampling.py": ("_explained",),
}
"""Functions whose sentences are logged elsewhere, as they are."""


class Said(NamedTuple):
    """A place where something is logged."""

    place: str
    """File and line, within the package."""
    level: str
    text: str
    """What it says, with ``...`` for what differs; empty: a sentence that is made elsewhere."""


def _template(node: ast.expr) -> str | None:
    """A text with ``...`` for what is filled in; None: it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    else:
        return None
    return re.sub(r"%[sdrg]", "...", text)


def _texts(node: ast.expr, function: ast.AST) -> list[str]:
    """What an argument may be: a text, one of two, or what the function has put into that name before."""
    text = _template(node)
    if text is not None:
        return [text]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, function), *_texts(node.orelse, function)]
    if not isinstance(node, ast.Name):
        return [""]
    found: list[str] = []
    for each in ast.walk(function):
        if not isinstance(each, ast.Assign):
            continue
        target, value = each.targets[0], each.value
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        for name, given in zip(target.elts, value.elts, strict=True) if both else [(target, value)]:  # type: ignore[attr-defined]
            if isinstance(name, ast.Name) and name.id == node.id and (text := _template(given)):
                found.append(text)
    return found or [""]


def _loggers(tree: ast.Module) -> set[str]:
    """The names of a module that are loggers of ours."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(getattr(node.value, "func", None), "id", "") == "logger"
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Every call, with the innermost function around it."""

    def within(node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.Call, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield child, function
            yield from within(child, child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function)

    return within(tree, tree)


def _of_file(path: Path) -> Iterator[Said]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = str(path.relative_to(_PACKAGE))
    loggers = _loggers(tree)
    for call, function in _calls(tree):
        if not isinstance(call.func, ast.Attribute):
            continue
        method, owner = call.func.attr, call.func.value
        if method in _LEVELS and isinstance(owner, ast.Name) and owner.id in loggers:
            level, argument = _LEVELS[method], call.args[0]
        elif method == "say" and len(call.args) > 1:
            level, argument = "warning", call.args[1]
        elif (name, method) in _RELAYS:
            level, argument = _RELAYS[name, method], call.args[0]
        else:
            continue
        for text in _texts(argument, function):
            yield Said(f"{name}:{call.lineno}", level, "" if text in ("...", "") else text)
    yield from _sentences(tree, name)


def _sentences(tree: ast.Module, name: str) -> Iterator[Said]:
    wanted = SENTENCES.get(name, ())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in wanted:
            joined = [node for node in ast.walk(function) if isinstance(node, ast.JoinedStr)]
            parts = {id(part) for node in joined for part in ast.walk(node) if part is not node}
            doc = ast.get_docstring(function, clean=False)
            for node in ast.walk(function):
                if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in parts:
                    text = _template(node)
                    if text is not None and text != doc and " " in text:
                        yield Said(f"{name}:{node.lineno}", "warning", text)


@cache
def said() -> list[Said]:
    """All of them."""
    files = sorted(path for path in _PACKAGE.rglob("*.py") if path.parent.name != "testing")
    own = {_PACKAGE / "_internal" / "log.py", _PACKAGE / "_internal" / "throttled_log.py"}
    return [each for path in files if path not in own for each in _of_file(path)]


def fault_sites() -> dict[str, str]:
    """Every site of :mod:`causal_otel._internal.faults`, with the file that reports it."""
    found = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        for call, _ in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            function = call.func
            if not isinstance(function, ast.Attribute) or function.attr != "report":
                continue
            if getattr(function.value, "id", "") == "faults" and (site := _template(call.args[0])) is not None:
                found[site] = str(path.relative_to(_PACKAGE))
    return found
