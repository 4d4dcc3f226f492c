"""Web frameworks: OpenTelemetry's instrumentors trace them without a line of code, ours with one; never both unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.instrumentors.made_up import told

FLASK = """
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from causal_otel.engine.provider import TracerProvider
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    causal_otel.install(patches=["wsgi"], instrumentors={asked}, tracer_provider=provider)

    import time
    from flask import Flask
    app = Flask("shop")

    @app.get("/orders/<int:number>")
    def order(number):
        with causal_otel.span("work"):
            time.sleep(0.01)
            return "there"

    {line}
    answer = app.test_client().get("/orders/7", headers={{"traceparent": f"00-{{'a' * 32}}-{{'b' * 16}}-01"}})
    assert (answer.status_code, answer.get_data()) == (200, b"there")
    answer.close()
    work, *requests = exporter.get_finished_spans()
    print(json.dumps([
        [[span.name, span.kind.name, span.instrumentation_scope.name, span.attributes.get("http.route")]
         for span in requests],
        [[span.status.status_code.name, span.attributes["http.response.status_code"],
          span.end_time - span.start_time >= 10_000_000] for span in requests],
        f"{{requests[-1].parent.span_id:x}}" if requests else "",
        [work.parent is not None and work.parent.span_id == each.context.span_id for each in requests],
        causal_otel.status().warnings,
    ]))
"""
OURS = ["GET /orders/<int:number>", "SERVER", "causal_otel.wsgi", "/orders/<int:number>"]
THEIRS = ["GET /orders/<int:number>", "SERVER", "opentelemetry.instrumentation.flask", "/orders/<int:number>"]
MIDDLEWARE = "app.wsgi_app = causal_otel.WsgiMiddleware(app.wsgi_app)"


@pytest.mark.parametrize(
    ("asked", "line", "spans"),
    [('["flask"]', "", [THEIRS]), ('"all"', MIDDLEWARE, [OURS]), ('["all", "flask"]', "", [THEIRS])],
)
def test_flask(tmp_path: Path, asked: str, line: str, spans: list[list[str]]) -> None:
    """A request is one SERVER span by route, in the caller's trace: theirs if it is named, ours where its line is."""
    (found, outcomes, parent, around, warnings), log = told(FLASK.format(asked=asked, line=line), tmp_path)
    assert found == spans
    assert outcomes == [["UNSET", 200, True]]
    assert parent == "b" * 16
    assert around == [True]
    assert (warnings, log) == ([], "")


@pytest.mark.long
def test_flask_by_both(tmp_path: Path) -> None:
    """Who has asked for both gets both, and a warning that says so."""
    (found, outcomes, _, _, warnings), _ = told(FLASK.format(asked='["flask"]', line=MIDDLEWARE), tmp_path)
    assert [scope for _, _, scope, _ in found] == ["opentelemetry.instrumentation.flask", "causal_otel.wsgi"]
    assert outcomes == [["UNSET", 200, True]] * 2
    [warning] = warnings
    assert warning.startswith("requests of flask may be recorded twice: a middleware of ours is there, and ")
    assert warning.endswith("opentelemetry.instrumentation.flask is at work; take one of them out")


@pytest.mark.long
def test_flask_is_not_traced_unasked(tmp_path: Path) -> None:
    """``"all"`` leaves Flask to our middleware; without that, the warning names the line."""
    (found, _, _, _, warnings), _ = told(FLASK.format(asked='"all"', line=""), tmp_path)
    assert found == []
    [warning] = warnings
    assert "nothing traces its requests" in warning
    assert MIDDLEWARE in warning


DJANGO = """
    import os
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from causal_otel.engine.provider import TracerProvider
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    causal_otel.install(patches=[], instrumentors=["django"], tracer_provider=provider)
    from django.core.wsgi import get_wsgi_application
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_settings")
    application = get_wsgi_application()
    from django.test import Client
    assert Client().get("/orders/7").status_code == 200
    spans = exporter.get_finished_spans()
    print(json.dumps([states()["django"], [
        [span.name, span.kind.name, span.status.status_code.name, span.parent, span.attributes["http.route"],
         span.attributes["http.response.status_code"], span.end_time - span.start_time >= 10_000_000]
        for span in spans
    ]]))
"""
SETTINGS = """
import time
from django.http import HttpResponse
from django.urls import path
SECRET_KEY, ROOT_URLCONF, ALLOWED_HOSTS = "x", "shop_settings", ["*"]
urlpatterns = [path("orders/<int:number>", lambda request, number: time.sleep(0.01) or HttpResponse("there"))]
"""


@pytest.mark.long
@pytest.mark.parametrize("set_before", [True, False])
def test_django(tmp_path: Path, set_before: bool) -> None:
    """It needs to know the settings when Django is imported. Where it does not, it is left out, and Django works."""
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    variables = {"DJANGO_SETTINGS_MODULE": "shop_settings"} if set_before else {}
    (state, spans), _ = told(DJANGO, tmp_path, **variables)
    if set_before:
        assert state.startswith("django: on (")
        route = "orders/<int:number>"
        assert spans == [[f"GET {route}", "SERVER", "UNSET", None, route, 200, True]]
    else:
        assert state.startswith("django: failed: DJANGO_SETTINGS_MODULE must be set when the process starts (")
        assert spans == []
