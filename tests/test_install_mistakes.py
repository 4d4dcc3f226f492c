"""install() called again, or with what cannot be meant: what counts, and the sentence that says so."""

from __future__ import annotations

import logging
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace

import causal_otel
from tests.installing import patched, run_strictly

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    causal_otel.uninstall()


class TestFreeThreaded:
    def test_python_without_the_gil_is_not_traced(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where the GIL is off nothing is patched, the application goes on, and log and status() say what to do."""
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
        before = patched()
        with caplog.at_level(logging.WARNING):
            installed = causal_otel.install(exporter="console")
        assert patched() == before
        assert "start it with PYTHON_GIL=1" in caplog.text
        assert not installed.status().installed
        assert "start it with PYTHON_GIL=1" in str(causal_otel.status())
        with causal_otel.span("nobody records this") as span:
            assert not span.is_recording()

    def test_a_free_threaded_build_with_the_gil_is_traced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """PYTHON_GIL=1 is enough."""
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
        assert causal_otel.install(tracer_provider=trace.NoOpTracerProvider(), patches=[]).status().installed


class TestOnce:
    def test_second_call_changes_nothing_and_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        """The second install() returns the first installation; what it wants and does not get is a warning."""
        first = causal_otel.install(patches=["asyncpg"], tracer_provider=trace.NoOpTracerProvider())
        before = patched()
        with caplog.at_level(logging.WARNING):
            second = causal_otel.install(patches=["redis"], exporter="not looked at")
        assert second is first
        assert patched() == before
        assert f"install() at {__file__}:" in caplog.text
        assert "is ignored, with its patches, exporter: install() was called at" in caplog.text

    def test_second_call_that_wants_nothing_else_is_silent(self, caplog: pytest.LogCaptureFixture) -> None:
        """A shared module may call install() as well: without arguments, or with the same, nothing is logged."""
        provider = trace.NoOpTracerProvider()
        causal_otel.install(service_name="shop", patches=["asyncpg"], tracer_provider=provider)
        causal_otel.install()
        causal_otel.install(service_name="shop", patches=["asyncpg"])
        assert caplog.records == []
        assert causal_otel.status().warnings == ()

    def test_two_names(self, tmp_path: Path) -> None:
        """Two explicit names that differ are a warning, in the log and in status(), with both places and a remedy."""
        (tmp_path / "worker.py").write_text(
            "import causal_otel\ncausal_otel.install(service_name='shop-worker', exporter='none')\n"
        )
        (tmp_path / "api.py").write_text(
            "import causal_otel, worker\n\ncausal_otel.install(service_name='shop-api')\n"
            "causal_otel.install(service_name='shop-api')\nprint(causal_otel.status())\n"
        )
        done = run_strictly(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import api")
        warning = (
            f"this process is named 'shop-worker' by install() at {tmp_path}/worker.py:2, so "
            f"install(service_name='shop-api') at {tmp_path}/api.py:3 is ignored. Name no service in a module that "
            "several programs import: call install() without service_name there, and set OTEL_SERVICE_NAME for each "
            "process"
        )
        assert done.stderr.splitlines() == [
            f"causal_otel: {warning}",
            f"causal_otel: {warning}".replace("api.py:3", "api.py:4"),
        ]
        assert f"\n  warning: {warning}\n" in done.stdout

    def test_shared_module_without_a_name(self, tmp_path: Path) -> None:
        """The pattern that the docs show: no name in the module that is shared, OTEL_SERVICE_NAME for each process."""
        (tmp_path / "tracing.py").write_text("import causal_otel\ncausal_otel.install(exporter='none')\n")
        (tmp_path / "worker.py").write_text("import tracing\n")
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import tracing, worker, causal_otel as c"
        done = run_strictly(f"{code}; print(c.status().service_name)", OTEL_SERVICE_NAME="shop-api")
        assert (done.stdout, done.stderr) == ("shop-api\n", "")

    def test_uninstall_without_install(self) -> None:
        """uninstall() alone does nothing, as does a second one."""
        causal_otel.uninstall()
        installed = causal_otel.install(patches=[], tracer_provider=trace.NoOpTracerProvider())
        installed.uninstall()
        installed.uninstall()
        assert str(causal_otel.status()) == "causal_otel: not tracing (install() has not been called)"
        assert str(installed.status()) == "causal_otel: not tracing (uninstalled)"

    @pytest.mark.parametrize("variable", ["TRACING_ENABLED=false", "OTEL_SDK_DISABLED=true"])
    def test_switched_off(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """With tracing switched off install() patches nothing, and everything else still works."""
        monkeypatch.setenv(*variable.split("="))
        before = patched()
        installed = causal_otel.install(service_name="x")
        assert patched() == before
        assert str(installed.status()) == f"causal_otel: not tracing (switched off by {variable})"
        with causal_otel.span("x") as span:
            assert not span.is_recording()
        assert installed.flush()


class TestMistakes:
    """Classic mistakes get a sentence, in the log and in status()."""

    @pytest.mark.parametrize(
        ("variable", "warning"),
        [
            ("OTEL_EXPERIMENTAL_CONFIG_FILE=a.yaml", "OTEL_EXPERIMENTAL_CONFIG_FILE=a.yaml is not read: "),
            ("TRACING_SPOOL_DIR=/x", "there is no variable TRACING_SPOOL_DIR; did you mean TRACING_SPOOL_DIRECTORY?"),
            ("JAEGER_HOST=j", "JAEGER_HOST=j is not used, because of OTLP_ENDPOINT=http://127.0.0.1:9: "),
        ],
    )
    def test_variable(self, variable: str, warning: str) -> None:
        """A variable that we do not read, or not where another is set, is a warning; everything else works."""
        name, _, value = variable.partition("=")
        done = run_strictly(
            "import causal_otel; causal_otel.install(); print(causal_otel.status())",
            **{"OTLP_ENDPOINT": "http://127.0.0.1:9", name: value},
        )
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"causal_otel: {warning}")
        assert line.replace("causal_otel:", "  warning:") in done.stdout.splitlines()

    def test_jaeger_host_alone(self) -> None:
        """JAEGER_HOST alone is enough to send to that host."""
        done = run_strictly(
            "import causal_otel; causal_otel.install(); print(causal_otel.status().destination)",
            JAEGER_HOST="127.0.0.1",
        )
        assert (done.stdout, done.stderr) == ("http://127.0.0.1:4318/v1/traces\n", "")

    def test_driver_that_nothing_traces(self) -> None:
        """status() names a library that is imported and that no patch is for, and says what traces it."""
        done = run_strictly(
            """
            import causal_otel, redis, requests
            causal_otel.install(exporter="none")
            print(causal_otel.status())
            """
        )
        told = f'requests {metadata.version("requests")} (instrumentors=["requests"])'
        assert f"\n  imported, but not traced: {told}\n" in f"{done.stdout}\n"

    @pytest.mark.parametrize("patches", [["sqlalchemy"], []])
    def test_driver_below_sqlalchemy(self, patches: list[str]) -> None:
        """A driver that SQLAlchemy uses is not named where SQLAlchemy's patch is on."""
        done = run_strictly(
            f"""
            import causal_otel, sqlalchemy, psycopg
            causal_otel.install(exporter="none", patches={patches})
            print(*(each.split()[0] for each in causal_otel.status().untraced))
            """
        )
        assert done.stdout == ("\n" if patches else "psycopg sqlalchemy\n")

    @pytest.mark.parametrize("at_work", [True, False])
    def test_driver_under_somebody_elses_instrumentation(self, at_work: bool) -> None:
        """A driver that OpenTelemetry's instrumentation traces is not named; one that it leaves alone is, with that."""
        done = run_strictly(
            f"""
            import causal_otel, sqlalchemy
            from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
            SQLAlchemyInstrumentor().instrument(skip_dep_check={at_work})
            causal_otel.install(exporter="none", patches=[])
            print(causal_otel.status().untraced)
            """
        )
        import sqlalchemy

        version = sqlalchemy.__version__
        idle = f"sqlalchemy {version} (opentelemetry.instrumentation.sqlalchemy is imported, but not at work)"
        assert done.stdout == f"{() if at_work else (idle,)}\n"
