"""docs/explanation/platforms.md: what it says of platforms without POSIX' modules, tried where they are hidden."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(
    ("command", "missing"),
    [(["traces"], ""), (["export", "-"], ""), (["collector"], "fcntl"), (["import", "x"], "fcntl"), (["demo"], "pwd")],
)
def test_commands_that_need_posix_are_those_of_the_page(command: list[str], missing: str) -> None:
    """Commands that read work; those that write, and the demo, miss the module that the page names."""
    done = run(f"{_HIDE}\n    from causal_otel.cli import main\n    sys.exit(main({command!r}))", HOME="/nowhere")
    assert ("ModuleNotFoundError" in done.stderr) == bool(missing), done.stderr
    if missing:
        assert f"import of {missing} halted" in done.stderr
        assert f"No module named '{missing}'" in read("docs/explanation/platforms.md")
    else:
        assert "there is no directory" in done.stderr
