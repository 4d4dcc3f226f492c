"""Instrumentors in processes of their own, whose spans a real receiver gets."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.programs import run
from tests.instrumentors.made_up import told
from tests.services.received import ReceivedSpans
from tests.span_relations import assert_span

PLANTED = """
    import contextlib, os, sqlite3, causal_otel
    causal_otel.install(service_name="planted")
    import requests, urllib3

    collector = os.environ["OTLP_ENDPOINT"]
    there = collector.removeprefix("http://")
    with causal_otel.span("work") as work:
        requests.get(
            f"http://ann:hunter-userinfo@{there}/spans?token=hunter-token-in-a-query",
            headers={"Authorization": "Bearer hunter-bearer-in-a-header", "X-Tenant": "red"},
            timeout=60,
        )
        with contextlib.suppress(requests.ConnectionError):
            requests.get("http://127.0.0.1:9/x?password=hunter-in-an-error&q=hunter-in-any-parameter", timeout=60)
        with urllib3.PoolManager() as pool:
            pool.request("GET", f"{collector}/spans?api_key=hunter-in-another-query")
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE people (name UNIQUE)")
            cursor.execute("INSERT INTO people VALUES ('hunter-literal')")
            cursor.execute("INSERT INTO people VALUES (?)", ["hunter-parameter"])
            with contextlib.suppress(sqlite3.OperationalError):
                cursor.execute("SELECT * FROM \\"hunter-table\\" WHERE a = 'hunter-in-a-failing-one'")
    assert causal_otel.status().faults == {}, causal_otel.status().faults
    assert causal_otel.flush(60)
    print(f"{work.get_span_context().trace_id:032x}")
"""


def test_no_secret_leaves(receiver: ReceivedSpans) -> None:
    """Secrets in URLs, headers that are recorded, errors, statements and parameters are in no span that arrives."""
    done = run(
        PLANTED,
        options=("-W", "error"),
        OTLP_ENDPOINT=receiver.endpoint,
        TRACING_INSTRUMENTORS="requests,urllib3,sqlite3",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST="authorization,x-tenant",
    )
    assert (done.returncode, done.stderr) == (0, "")
    spans = receiver.wait_for(lambda spans: len(spans) >= 8, trace_id=done.stdout.strip())
    [work] = [span for span in spans if span["name"] == "work"]
    # The value of any other parameter of a URL is recorded, as it is of our own patch for HTTPX.
    assert str(spans).count("hunter-") == str(spans).count("hunter-in-any-parameter") == 1
    texts = [span["attributes"]["db.query.text"] for span in spans if "db.query.text" in span["attributes"]]
    assert texts[-1] == "SELECT * FROM ? WHERE a = ?"
    for span in spans:
        if span is work:
            continue
        assert_span(span, work, error=span["attributes"].get("error.type"))
    first = next(span for span in spans if span["attributes"].get("http.request.header.x_tenant"))
    assert first["attributes"]["http.request.header.authorization"] == "[redacted:key]"
    assert first["attributes"]["url.full"].startswith("http://REDACTED:REDACTED@")


def test_the_export_is_not_traced(receiver: ReceivedSpans) -> None:
    """Our exporter sends by requests and urllib3, both traced: no span of that is made, however much it sends."""
    code = """
        import causal_otel, requests, urllib3
        causal_otel.install(service_name="quiet", instrumentors=["requests", "urllib3"])
        for _ in range(3):
            with causal_otel.span("work"):
                pass
            assert causal_otel.flush(60)
        print(causal_otel.status().export.exported)
    """
    done = run(code, options=("-W", "error"), OTLP_ENDPOINT=receiver.endpoint, OTEL_METRICS_EXPORTER="otlp")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
    names = [span["name"] for span in receiver.spans() if span["service"] == "quiet"]
    assert names == ["work"] * 3


def test_all_imports_no_library() -> None:
    """``"all"`` imports neither a library nor an instrumentor; each comes with its library, and only that one."""
    code = """
        import json, sys, causal_otel
        causal_otel.install(instrumentors="all")
        loaded = lambda: sorted(name for name in sys.modules if name.startswith("opentelemetry.instrumentation"))
        libraries = {"django", "flask", "grpc", "jinja2", "requests", "urllib3"}
        assert not libraries & set(sys.modules), libraries & set(sys.modules)
        assert loaded() == [], loaded()
        waiting = {each.name for each in causal_otel.status().instrumentors if each.state == "waiting"}
        assert waiting == {"grpc_client", "grpc_server", "jinja2", "requests", "urllib3"}, waiting
        import jinja2
        states = {each.name: each.state for each in causal_otel.status().instrumentors}
        assert (states["jinja2"], states["requests"]) == ("on", "waiting")
        assert "opentelemetry.instrumentation.jinja2" in loaded()
        assert not any(name.startswith("opentelemetry.instrumentation.requests") for name in loaded())
    """
    done = run(code, options=("-W", "error"), TRACING_EXPORTER="none")
    assert (done.returncode, done.stderr) == (0, "")


def test_not_asked_for_costs_nothing() -> None:
    """By default nothing of this is imported, and no entry points of instrumentors are looked for."""
    code = """
        import sys, causal_otel
        from causal_otel._internal import installed
        looked_for = []
        import causal_otel.instrument.registry as registry
        find = registry.entry_points
        registry.entry_points = lambda group: looked_for.append(group) or find(group)
        causal_otel.install()
        import requests
        assert looked_for == ["causal_otel.patches"]
        ours, theirs = "causal_otel.instrumentors", "opentelemetry.instrumentation"
        found = [name for name in sys.modules if name.startswith((ours, theirs))]
        assert found == [], found
        assert causal_otel.status().instrumentors == ()
    """
    done = run(code, options=("-W", "error"), TRACING_EXPORTER="none")
    assert (done.returncode, done.stderr) == (0, "")


CONVENTIONS = """
    import http.server, os, threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from causal_otel.engine.provider import TracerProvider
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    import requests
    {before}
    variable = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN")
    causal_otel.install(patches=[], instrumentors=["requests"], tracer_provider=provider)
    assert os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN") == variable
    requests.get(f"http://127.0.0.1:{{server.server_port}}/", timeout=60)
    server.shutdown()
    [span] = exporter.get_finished_spans()
    keys = {{"http.method", "http.request.method"}} & span.attributes.keys()
    print(json.dumps([sorted(keys), causal_otel.status().warnings]))
"""


@pytest.mark.parametrize(
    ("variables", "keys"),
    [
        ({}, ["http.request.method"]),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}, ["http.method", "http.request.method"]),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "database"}, ["http.method"]),
    ],
)
def test_stable_conventions(tmp_path: Path, variables: dict[str, str], keys: list[str]) -> None:
    """The stable names are used unless the user's variable says otherwise; the environment is left as it was."""
    assert told(CONVENTIONS.format(before=""), tmp_path, **variables) == ([keys, []], "")


def test_conventions_that_somebody_has_chosen(tmp_path: Path) -> None:
    """Where an instrumentor was applied before install(), it is too late; that is told."""
    before = (
        "from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor; "
        "URLLib3Instrumentor().instrument(); URLLib3Instrumentor().uninstrument()"
    )
    (keys, warnings), _ = told(CONVENTIONS.format(before=before), tmp_path)
    assert keys == ["http.method"]
    [warning] = warnings
    assert warning.endswith("before install(): set OTEL_SEMCONV_STABILITY_OPT_IN=http,database")


def test_a_forked_child(receiver: ReceivedSpans) -> None:
    """A child of a process in which instrumentors are at work records as its parent does."""
    host = urlsplit(receiver.endpoint).netloc
    code = f"""
        import os, causal_otel, requests
        causal_otel.install(service_name="forking", instrumentors=["requests"])
        with causal_otel.span("parent") as work:
            pid = os.fork()
            if not pid:
                requests.get("http://{host}/spans", timeout=60)
                os._exit(0 if causal_otel.flush(60) else 1)
            assert os.waitpid(pid, 0)[1] == 0
        assert causal_otel.flush(60)
        print(f"{{work.get_span_context().trace_id:032x}}")
    """
    done = run(code, OTLP_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    get, work = sorted(
        receiver.wait_for(lambda spans: len(spans) >= 2, trace_id=done.stdout.strip()), key=lambda span: span["name"]
    )
    assert assert_span(get, work)["http.response.status_code"] == 200
