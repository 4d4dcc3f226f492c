"""Instrumentors that do not fit, or fail: the application goes on, the others are applied, and the status says why."""

from __future__ import annotations

from pathlib import Path

from tests.instrumentors.made_up import INSTRUMENTOR, distribute, told

PREFIX = "opentelemetry-instrumentation-"
REQUIREMENTS = {
    "older": ('acmedb<1.3,>=1; extra == "instruments"', "needs acmedb<1.3,>=1, not 1.3"),
    "absent": ('otherdb>=1; extra == "instruments"', "needs otherdb>=1, which is not installed"),
    "newer": ('acmedb>=2; extra == "instruments-any"', "needs acmedb>=2, not 1.3"),
    "behind": ("opentelemetry-instrumentation==0.64b0", "needs opentelemetry-instrumentation==0.64b0, not 0.66b1"),
}
BROKEN = {
    "missing": ("import no_such_module", "failed: ModuleNotFoundError: No module named 'no_such_module'"),
    "raises": ("raise ValueError('secret')", "failed: ValueError: see the log"),
    "divides": (INSTRUMENTOR.replace("acmedb.traced = True", "1 / 0"), "failed: ZeroDivisionError: see the log"),
    "choosy": (
        INSTRUMENTOR.replace("return ()", "return ['acmedb<1']"),
        'conflict: This instrumentation only instruments "acmedb<1"',
    ),
    "number": ("Instrumentor = int", "failed: AttributeError: see the log"),
}


def _package(where: Path, name: str, code: str = INSTRUMENTOR, *requires: str) -> None:
    (where / f"{name}_instrumentor.py").write_text(code)
    distribute(where, PREFIX + name, "0.9", {name: f"{name}_instrumentor:Instrumentor"}, requires)


def _driver(where: Path) -> None:
    (where / "acmedb.py").write_text("traced = False")
    distribute(where, "acmedb", "1.3", {})


def test_versions_that_do_not_fit(tmp_path: Path) -> None:
    """One for other versions, of its library or of OpenTelemetry, is not imported; status and log have a sentence."""
    _driver(tmp_path)
    for name, (requirement, _) in REQUIREMENTS.items():
        _package(tmp_path, name, INSTRUMENTOR, requirement)
    code = f"""
        names = {[*REQUIREMENTS]}
        causal_otel.install(instrumentors=[*names, "requests"])
        import acmedb, requests
        assert not {{f"{{name}}_instrumentor" for name in names}} & sys.modules.keys() and not acmedb.traced
        print(json.dumps([states(), causal_otel.status().faults]))
    """
    (states, faults), log = told(code, tmp_path)
    for name, (_, problem) in REQUIREMENTS.items():
        assert states[name] == f"{name}: conflict: {problem} ({PREFIX}{name} 0.9)"
        assert f"causal_otel: {name} is not traced: {problem}\n" in log
    assert states["requests"].startswith("requests: on (opentelemetry-instrumentation-requests ")
    assert faults == {}


def test_failures(tmp_path: Path) -> None:
    """Whatever fails in one is contained and told, whether it is imported or applied; the others are applied."""
    _driver(tmp_path)
    for name, (broken, _) in BROKEN.items():
        _package(tmp_path, name, broken)
    code = f"""
        causal_otel.install(instrumentors=[*{[*BROKEN]}, "requests"])
        import acmedb, requests
        faults, found = causal_otel.status().faults, states()
        causal_otel.uninstall()
        print(json.dumps([found, faults, acmedb.traced]))
    """
    (states, faults, traced), log = told(code, tmp_path)
    for name, (_, state) in BROKEN.items():
        assert states[name].startswith(f"{name}: {state}")
        assert f"causal_otel: {name} is not traced: " in log
    assert states["requests"].startswith("requests: on")
    assert not traced
    assert faults == {f"instrumentor {name}: instrument": 1 for name in ("divides", "number", "raises")}


def test_options_and_undoing(tmp_path: Path) -> None:
    """It is given the user's options and the installation's providers, and undone; one library of several will do."""
    _driver(tmp_path)
    requires = 'otherdb>=1; extra == "instruments-any"', 'acmedb>=1; extra == "instruments-any"'
    _package(tmp_path, "acmedb", INSTRUMENTOR, *requires)
    code = """
        import io, contextlib
        with contextlib.redirect_stdout(io.StringIO()) as out:
            causal_otel.install(instrumentors={"acmedb": {"greeting": "hello"}})
        import acmedb
        before = acmedb.traced
        causal_otel.uninstall()
        print(json.dumps([out.getvalue(), before, acmedb.traced]))
    """
    (printed, before, after), log = told(code, tmp_path)
    assert (printed, log) == ("instrument ['greeting', 'meter_provider', 'tracer_provider'] hello\n", "")
    assert (before, after) == (True, False)


def test_metadata_that_cannot_be_read(tmp_path: Path) -> None:
    """What some package has left in a bad state keeps nobody from being traced."""
    (tmp_path / "rival-1.0.dist-info").mkdir()
    (tmp_path / "rival-1.0.dist-info" / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nnonsense\n")
    code = """
        causal_otel.install(instrumentors="all")
        import redis
        print(json.dumps([causal_otel.status().installed, states()]))
    """
    found, log = told(code, tmp_path)
    assert found == [True, {}]
    assert "causal_otel: no instrumentors are known: their entry points cannot be read (" in log
