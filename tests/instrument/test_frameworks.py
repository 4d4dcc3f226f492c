"""``status()`` says of a web framework whose requests nothing traces what to do, and is silent where something does."""

from __future__ import annotations

from importlib import metadata

import pytest

from tests.faults.programs import run

_FLASK = "app.wsgi_app = causal_otel.WsgiMiddleware(app.wsgi_app)"
_DJANGO = "application = causal_otel.WsgiMiddleware(get_wsgi_application()) in wsgi.py"


def _warnings(code: str, patches: str = "None") -> str:
    """What ``status()`` warns of after ``code``."""
    done = run(
        f"import causal_otel\n{code}\n"
        f"causal_otel.install(exporter='none', patches={patches})\n"
        "print(*causal_otel.status().warnings, sep='\\n')",
        options=("-W", "error"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize(("framework", "line"), [("flask", _FLASK), ("django", _DJANGO)])
def test_a_framework_that_nothing_traces(framework: str, line: str) -> None:
    """The sentence names framework and version, and the line that has its requests traced; nothing warns of asking."""
    said = _warnings(f"import {framework}")
    version = metadata.version(framework)
    assert said.startswith(f"{framework} {version} is imported, and nothing traces its requests")
    assert line in said


@pytest.mark.parametrize(
    "code",
    [
        "import flask; app = flask.Flask('shop'); app.wsgi_app = causal_otel.WsgiMiddleware(app.wsgi_app)",
        "import django; from causal_otel.patches.asgi import TracingMiddleware; TracingMiddleware(None)",
        "import fastapi",
        "",
    ],
)
def test_silence_where_a_middleware_has_wrapped_something(code: str) -> None:
    """Nothing is said once a middleware has wrapped an application, nor of FastAPI, which needs none."""
    assert _warnings(code) == ""


def test_silence_where_the_patch_is_left_out() -> None:
    """Whoever has chosen other patches knows why requests are not traced."""
    assert _warnings("import flask", "['httpx']") == ""


def test_silence_where_somebody_else_traces() -> None:
    """Nothing is said of a framework that one of OpenTelemetry's instrumentations traces."""
    code = """
import flask, sys, types
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class FlaskInstrumentor(BaseInstrumentor):
    __module__ = "opentelemetry.instrumentation.flask"
    instrumentation_dependencies = lambda self: ()
    _instrument = _uninstrument = lambda self, **kwargs: None

FlaskInstrumentor().instrument()
"""
    assert _warnings(code) == ""
