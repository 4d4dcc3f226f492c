"""Scripts and modules that are imported without doing their work: they run under another name than ``__main__``."""

from __future__ import annotations

import ast
import os
import re
import runpy
from importlib import import_module
from pathlib import Path

__all__ = ["guard", "run_django", "run_module", "run_script"]

_NAME = "__causal_otel_doctor__"
_DJANGO_SETTINGS = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""")


def run_script(path: str) -> None:
    """Run a script's module, but not what is under its guard."""
    runpy.run_path(path, run_name=_NAME)


def run_module(name: str) -> None:
    """The same of a module, or of a package's ``__main__``."""
    runpy.run_module(name, run_name=_NAME, alter_sys=True)


def run_django(manage: Path) -> object:
    """Set a Django project up, and import its URLs and with them its views."""
    found = _DJANGO_SETTINGS.search(manage.read_text(encoding="utf-8"))
    if found is not None:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", found[1])
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application

    application: object = get_wsgi_application()
    for name in ("WSGI_APPLICATION", "ASGI_APPLICATION"):
        path = getattr(settings, name, None)
        if path:
            module, _, attribute = path.rpartition(".")
            application = getattr(import_module(module), attribute)
    import_module(settings.ROOT_URLCONF)
    return application


def guard(path: Path) -> tuple[bool, str]:
    """Whether a script has a main guard, and where ``install()`` is called under it: file and line, or nothing.

    A function that is called under the guard counts as standing there.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False, ""
    guards = [each for each in tree.body if isinstance(each, ast.If) and _is_guard(each.test)]
    functions = {each.name: each for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
    calls = [each for found in guards for each in _calls(found)]
    named = [functions[each.func.id] for each in calls if isinstance(each.func, ast.Name) and each.func.id in functions]
    calls += [each for function in named for each in _calls(function)]
    lines = [each.lineno for each in calls if _installs(each)]
    return bool(guards), f"{path}:{lines[0]}" if lines else ""


def _calls(node: ast.AST) -> list[ast.Call]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Call)]


def _is_guard(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _installs(call: ast.Call) -> bool:
    """Whether that is ``causal_otel.install(...)``."""
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "install"
        and isinstance(function.value, ast.Name)
        and function.value.id == "causal_otel"
    )
