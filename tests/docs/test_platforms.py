"""docs/explanation/platforms.md: what it says of platforms without POSIX' modules, tried where they are hidden."""

from __future__ import annotations

import json

from tests.docs.pages import read
from tests.faults.programs import run

_HIDE = """
    import sys
    for name in ("fcntl", "resource", "pwd"):
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
    assert "needs POSIX file locks" in done.stdout


def test_commands_that_need_posix_are_those_of_the_page() -> None:
    """Commands that read work; those that write, and the demo, miss the module that the page names."""
    done = run(
        _HIDE
        + """
    import contextlib, io, json
    from causal_otel.cli import main

    told = {}
    for command in (["traces"], ["export", "-"], ["collector"], ["import", "x"], ["demo"]):
        complaints = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaints):
                main(command)
            told[command[0]] = complaints.getvalue()
        except ModuleNotFoundError as error:
            told[command[0]] = error.name
    print(json.dumps(told))
    """,
        HOME="/nowhere",
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all("there is no directory" in told.pop(name) for name in ("traces", "export"))
    assert told == {"collector": "fcntl", "import": "fcntl", "demo": "pwd"}
    page = read("docs/explanation/platforms.md")
    assert all(f"No module named '{name}'" in page for name in told.values())
