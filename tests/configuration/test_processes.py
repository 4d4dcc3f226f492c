"""Real processes that are configured by files alone: what they send arrives, as the files say."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.faults.grpc_collector import GrpcCollector
from tests.faults.programs import environment
from tests.logs.receiving import Receiver

_FILE = """
file_format: "1.0"
resource:
  attributes:
    - {name: service.name, value: shop}
    - {name: replicas, value: 3, type: int}
propagator:
  composite_list: baggage
tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_http:
            endpoint: ${URL}/v1/traces
            headers:
              - {name: authorization, value: "Bearer ${TOKEN}"}
            compression: gzip
  limits:
    event_count_limit: 1
meter_provider:
  readers:
    - periodic:
        exporter:
          otlp_http:
            endpoint: ${URL}/v1/metrics
            headers_list: x-tenant=metrics
logger_provider:
  processors:
    - batch:
        exporter:
          otlp_http:
            endpoint: ${URL}/v1/logs
            headers:
              - {name: authorization, value: "Bearer ${TOKEN}"}
            compression: gzip
distribution:
  causal_otel:
    patches: [threads]
"""

_PROGRAM = """
    import logging, causal_otel
    installed = causal_otel.install()
    with causal_otel.span("work") as span:
        span.add_event("first")
        span.add_event("second")
        logging.getLogger("shop").warning("hello")
        carrier = {}
        causal_otel.inject(carrier)
        assert "traceparent" not in carrier, carrier
    assert installed.flush(30)
    print(causal_otel.status())
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def _run(directory: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=directory,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_opentelemetrys_file(tmp_path: Path, receiver: Receiver) -> None:
    """Spans, metrics and log records of a process arrive where the file says, with its headers, resource and limits."""
    path = tmp_path / "otel.yaml"
    path.write_text(_FILE)
    done = _run(tmp_path, _PROGRAM, OTEL_CONFIG_FILE=str(path), URL=receiver.url, TOKEN="t0ken")
    assert (done.returncode, done.stderr) == (0, "hello\n")
    assert receiver.headers["/v1/traces"]["authorization"] == "Bearer t0ken"
    assert receiver.headers["/v1/traces"]["content-encoding"] == "gzip"
    assert receiver.headers["/v1/logs"]["authorization"] == "Bearer t0ken"
    assert receiver.headers["/v1/metrics"]["x-tenant"] == "metrics"
    assert "authorization" not in receiver.headers["/v1/metrics"]
    bodies = dict(receiver.unpacked())
    assert bodies.keys() == {"/v1/traces", "/v1/logs", "/v1/metrics"}
    (group,) = ExportTraceServiceRequest.FromString(bodies["/v1/traces"]).resource_spans
    resource = {it.key: it.value for it in group.resource.attributes}
    assert (resource["service.name"].string_value, resource["replicas"].int_value) == ("shop", 3)
    ((span,),) = [scoped.spans for scoped in group.scope_spans]
    assert (span.name, [event.name for event in span.events]) == ("work", ["second"])
    assert 0 < span.start_time_unix_nano < span.end_time_unix_nano
    (measured,) = ExportMetricsServiceRequest.FromString(bodies["/v1/metrics"]).resource_metrics
    assert {it.key: it.value for it in measured.resource.attributes}["replicas"].int_value == 3
    exporter = f"{path}: tracer_provider.processors[0].batch.exporter.otlp_http"
    lines = done.stdout.splitlines()
    assert f"  traces_endpoint = {receiver.url}/v1/traces ({exporter}.endpoint)" in lines
    assert f"  headers = authorization=… ({exporter}.headers)" in lines
    assert f"  patches = threads ({path}: distribution.causal_otel.patches)" in lines
    assert "t0ken" not in done.stdout


def test_opentelemetrys_file_over_grpc(tmp_path: Path) -> None:
    """The exporter ``otlp_grpc`` of the file sends by gRPC, with the file's headers."""
    collector = GrpcCollector()
    try:
        exporter = f"{{endpoint: '{collector.url}', headers: [{{name: x-tenant, value: shop}}]}}"
        processor = f"{{simple: {{exporter: {{otlp_grpc: {exporter}}}}}}}"
        (tmp_path / "otel.yaml").write_text(f"file_format: '1.0'\ntracer_provider: {{processors: [{processor}]}}")
        code = "import causal_otel as c; i = c.install()\nwith c.span('work'): pass\nassert i.flush(60)"
        done = _run(tmp_path, code, OTEL_CONFIG_FILE="otel.yaml")
        assert (done.returncode, done.stderr) == (0, "")
        assert collector.names() == ["work"]
        ((_, metadata),) = collector.requests
        assert metadata["x-tenant"] == "shop"
    finally:
        collector.server.stop(None)


def test_pyproject(tmp_path: Path, receiver: Receiver) -> None:
    """The table of the nearest ``pyproject.toml`` configures a process; log and ``status()`` tell of a token in it."""
    (tmp_path / "pyproject.toml").write_text(
        f"""
        [project]
        name = "shop"
        [tool.causal_otel]
        service_name = "shop"
        endpoint = "{receiver.url}"
        headers = {{authorization = "Bearer t0ken"}}
        span_event_count_limit = 1
        [tool.causal_otel.patches]
        "*" = false
        threads = true
        """
    )
    below = tmp_path / "src"
    below.mkdir()
    code = """
        import causal_otel
        installed = causal_otel.install()
        with causal_otel.span("work") as span:
            span.add_event("first")
            span.add_event("second")
        assert installed.flush(30)
        print(causal_otel.status())
    """
    done = _run(below, code)
    assert done.returncode == 0, done.stderr
    assert receiver.headers["/v1/traces"]["authorization"] == "Bearer t0ken"
    assert [event.name for event in receiver.spans()["work"].events] == ["second"]
    place = f"{tmp_path}/pyproject.toml: tool.causal_otel"
    warning = f"{place}.headers holds a secret, which whoever reads the repository has: give it by a variable"
    assert done.stderr == f"causal_otel: {warning}\n"
    lines = done.stdout.splitlines()
    assert f"  warning: {warning}" in lines
    assert f"  service_name = shop ({place}.service_name)" in lines
    assert {line for line in lines if line.endswith(": on")} == {"  threads: on"}
    assert "t0ken" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("pyproject", "variables", "message"),
    [
        ("[tool.causal_otel]\nendpont = 1", {}, "pyproject.toml: tool.causal_otel.endpont: there is no such setting"),
        ("[tool.causal_otel\n", {}, "pyproject.toml is not TOML: "),
        ("", {"OTEL_CONFIG_FILE": "otel.yaml"}, "otel.yaml asks for what causal_otel does not do:"),
    ],
)
def test_a_refused_file_changes_nothing(
    tmp_path: Path, pyproject: str, variables: dict[str, str], message: str
) -> None:
    """install() raises a SettingError for a file that it cannot do, and the process is as it was before."""
    (tmp_path / "pyproject.toml").write_text(pyproject)
    (tmp_path / "otel.yaml").write_text("file_format: '1.0'\nlog_level: debug\n")
    code = """
        import threading, causal_otel
        from opentelemetry import trace
        before = threading.Thread.start
        try:
            causal_otel.install()
        except causal_otel.SettingError as error:
            print(error)
        assert threading.Thread.start is before
        assert not causal_otel.status().installed
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    """
    done = _run(tmp_path, code, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert message in done.stdout.splitlines()[0]


def test_switched_off_by_a_file(tmp_path: Path) -> None:
    """``status()`` names the file that switches tracing off."""
    (tmp_path / "pyproject.toml").write_text("[tool.causal_otel]\nenabled = false\n")
    done = _run(tmp_path, "import causal_otel as c; c.install(); print(c.status())")
    place = f"{tmp_path}/pyproject.toml: tool.causal_otel.enabled=false"
    assert done.stdout == f"causal_otel: not tracing (switched off by {place})\n"


def test_the_place_of_the_call_is_named(tmp_path: Path) -> None:
    """An argument's origin is the call of install(), by file and line."""
    (tmp_path / "app.py").write_text("import causal_otel\n\ncausal_otel.install(timeout=3, exporter='none')\n")
    done = _run(tmp_path, "import app, causal_otel; print(causal_otel.status())", PYTHONPATH=os.fspath(tmp_path))
    assert f"  timeout = 3 (install() at {tmp_path}/app.py:3)" in done.stdout.splitlines()


def test_under_run(tmp_path: Path, receiver: Receiver) -> None:
    """A program that says nothing of tracing is traced as ``pyproject.toml`` says; an option beats that."""
    (tmp_path / "pyproject.toml").write_text(
        f"""
        [tool.causal_otel]
        service_name = "shop"
        endpoint = "{receiver.url}"
        patches = ["locks"]
        """
    )
    (tmp_path / "app.py").write_text("import causal_otel\nwith causal_otel.span('work'): print(causal_otel.status())\n")
    command = Path(sys.executable).with_name("causal-otel")
    done = subprocess.run(
        [command, "run", "--patches", "threads", sys.executable, "app.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert receiver.spans().keys() == {"work"}
    lines = done.stdout.splitlines()
    assert lines[0] == f"causal_otel: tracing shop to {receiver.url}/v1/traces"
    assert f"  service_name = shop ({tmp_path}/pyproject.toml: tool.causal_otel.service_name)" in lines
    assert "  patches = threads (TRACING_PATCHES)" in lines
    assert {line for line in lines if line.endswith(": on")} == {"  threads: on"}
