"""docs/explanation/platforms.md: what it says of platforms without POSIX' modules, tried where they are hidden."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

from tests.docs.pages import ROOT, read
from tests.faults.programs import run

_POSIX = ("fcntl", "grp", "pwd", "pty", "resource", "termios", "tty")
_HIDE = f"""
    import sys
    for name in {_POSIX!r}:
        sys.modules[name] = None  # what Windows does not have
"""


def test_tracing_needs_no_module_of_posix() -> None:
    """Spans are made and printed, and only the spool is refused, in a sentence."""
    done = run(
        _HIDE
        + """
    import causal_otel
    causal_otel.install()
    with causal_otel.span("hello"):
        pass
    causal_otel.uninstall()
    try:
        causal_otel.install(exporter="otlp", spool_directory="spool")
    except ValueError as error:
        print(error)
    """,
        TRACING_EXPORTER="console",
    )
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stderr
    assert "a spool directory needs Linux or macOS" in done.stdout


def test_commands_that_need_posix_are_those_of_the_page() -> None:
    """Commands that read work; those that write, and the demo, say in the page's sentence what they need."""
    done = run(
        _HIDE
        + """
    import contextlib, io, json
    from causal_otel.cli import main

    told, statuses = {}, {}
    for command in (["traces"], ["export", "-"], ["collector"], ["import", "x"], ["demo"]):
        complaints = io.StringIO()
        with contextlib.redirect_stderr(complaints):
            statuses[command[0]] = main(command)
        told[command[0]] = complaints.getvalue()
    print(json.dumps([told, statuses]))
    """,
        HOME="/nowhere",
    )
    assert done.returncode == 0, done.stderr
    told, statuses = json.loads(done.stdout)
    assert all("there is no directory" in told.pop(name) for name in ("traces", "export"))
    page = read("docs/explanation/platforms.md")
    for command in ("collector", "import", "demo"):
        assert (statuses[command], told[command].count("\n")) == (1 if command == "import" else 2, 1)
        needs = told[command].partition(" needs ")[2].partition(":")[0]
        assert f"needs {needs}" in page
        assert "run it in WSL" in told[command]


def test_no_module_of_posix_is_imported_at_the_top_of_a_file() -> None:
    """Only functions import them, so every module of ours can be imported where they are missing."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "causal_otel").rglob("*.py"))
        for node in _top_level(ast.parse(path.read_text(encoding="utf-8")))
        for name in _imported(node)
        if name in _POSIX
    ]
    assert found == []


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, but for those that only a type checker reads."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [(node.module or "").partition(".")[0]] if isinstance(node, ast.ImportFrom) else []
