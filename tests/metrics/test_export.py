"""Metrics on their way out: by OTLP and the console, to a provider of the user's own, at every end of a process."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.faults.programs import run
from tests.faults.scripted import answer, hang, refused_port, reset, scripted
from tests.services.received import ReceivedPoint, ReceivedSpans

DURATION = "http.client.request.duration"

_PREAMBLE = """
import json, os, signal, sys, threading, time
import causal_otel, httpx

def get(times=1):
    for _ in range(times):
        httpx.get(ECHO + "/get", trust_env=False)

def install(**settings):
    return causal_otel.install(patches=["httpx"], service_name="program", **settings)
"""


def program(code: str, echo: str, url: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may ``get()`` from ``echo``, with metrics on."""
    given = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": url} if url else {}
    done = run(f"ECHO = {echo!r}\n{_PREAMBLE}\n{code}", seconds=120.0, **{**given, **variables})
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def echo(receiver: ReceivedSpans) -> str:
    """A server to get from, which is not traced."""
    return receiver.endpoint


def latest(points: list[ReceivedPoint]) -> dict[Any, ReceivedPoint]:
    """The last point of each process and set of labels."""
    return {(point["resource"]["service.instance.id"], json.dumps(point["attributes"])): point for point in points}


ENDS = {
    "return": "",
    "exit": "sys.exit(3)",
    "raise": "raise SystemExit(4)",
    "uninstall": "causal_otel.uninstall()",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
}


@pytest.mark.long
@pytest.mark.parametrize("traces", ["otlp", "none"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_is_measured_arrives_however_a_process_ends(
    echo: str, receiver: ReceivedSpans, traces: str, end: str
) -> None:
    """What a short program has measured is exported at its end, cumulative since its start, with its resource."""
    done = program(
        f"install(); get(3)\n{end}",
        echo,
        receiver.endpoint,
        OTEL_TRACES_EXPORTER=traces,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=tests",
    )
    expected = {"return": 0, "exit": 3, "raise": 4, "uninstall": 0, "SIGTERM": -signal.SIGTERM}
    assert done.returncode == expected[next(name for name, code in ENDS.items() if code == end)]
    (point,) = latest(receiver.points(DURATION)).values()
    assert (point["count"], point["unit"], point["kind"], point["temporality"]) == (3, "s", "histogram", 2)
    assert sum(point["buckets"]) == 3
    assert point["min"] <= point["sum"] / 3 <= point["max"]
    assert point["start"] < point["time"]
    assert (point["scope"], point["service"]) == ("causal_otel", "program")
    assert point["resource"]["deployment.environment.name"] == "tests"
    ours = {each["name"] for each in receiver.points()} - {DURATION}
    assert ("otel.sdk.span.started" in ours) == (traces == "otlp")


def test_endpoint_settings(echo: str) -> None:
    """Endpoint, headers and compression are those of metrics, else those of all signals; never those of traces."""
    with scripted() as collector:
        program(
            "install(); get()",
            echo,
            collector.endpoint,
            OTEL_TRACES_EXPORTER="none",
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{collector.endpoint}/of/metrics",
            OTEL_EXPORTER_OTLP_HEADERS="x-all=1",
            OTEL_EXPORTER_OTLP_TRACES_HEADERS="x-traces=secret",
            OTEL_EXPORTER_OTLP_METRICS_COMPRESSION="gzip",
        )
        program(
            "install(headers={'x-argument': '1'}); get()",
            echo,
            collector.endpoint,
            OTEL_TRACES_EXPORTER="none",
        )
        own, other = collector.requests[0], collector.requests[-1]
    assert own.path == "/of/metrics"
    assert (own.headers["x-all"], own.headers["content-encoding"]) == ("1", "gzip")
    assert "x-traces" not in own.headers
    assert other.path == "/v1/metrics"
    assert other.headers["x-argument"] == "1"


def test_grpc(echo: str) -> None:
    """Over gRPC it is the service for metrics that is called, in a short program too."""
    import concurrent.futures

    import grpc  # type: ignore[import-untyped]

    received: list[tuple[bytes, dict[str, str]]] = []

    def export(request: bytes, context: Any) -> bytes:
        received.append((request, dict(context.invocation_metadata())))
        return b""

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        program(
            "install(protocol='grpc'); get(2)",
            echo,
            f"http://127.0.0.1:{port}",
            OTEL_TRACES_EXPORTER="none",
            OTEL_EXPORTER_OTLP_HEADERS="X-Token=1",
        )
    finally:
        server.stop(None).wait(10)
    message = ExportMetricsServiceRequest.FromString(received[-1][0])
    (metric,) = [each for each in message.resource_metrics[0].scope_metrics[0].metrics if each.name == DURATION]
    assert metric.histogram.data_points[0].count == 2
    assert received[-1][1]["x-token"] == "1"


def test_delta(echo: str, receiver: ReceivedSpans) -> None:
    """With a preference for delta each export tells of what was measured since the one before."""
    code = "installed = install(); get(2); assert installed.flush(60); get(3); assert installed.flush(60)"
    program(code, echo, receiver.endpoint, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="DELTA")
    points = receiver.points(DURATION)
    assert [(point["count"], point["temporality"]) for point in points] == [(2, 1), (3, 1)]
    assert points[0]["time"] == points[1]["start"]


def test_console(echo: str) -> None:
    """``console`` prints them on standard error as the SDK does."""
    done = program("install(); get()", echo, OTEL_METRICS_EXPORTER="console", OTEL_TRACES_EXPORTER="none")
    assert done.stdout == ""
    printed = json.loads(done.stderr[done.stderr.index("{") : done.stderr.rindex("}") + 1])
    metrics = printed["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    assert [metric["name"] for metric in metrics] == [DURATION]


@pytest.mark.long
@pytest.mark.parametrize("way", ["os.fork", "multiprocessing"])
def test_forked_children(echo: str, receiver: ReceivedSpans, way: str) -> None:
    """A child exports what it has measured itself, under an instance id of its own; the parent's counts stay its."""
    code = """
        def child():
            get(4)

        installed = install()
        get(2)
        installed.flush(60)
        if WAY == "os.fork":
            pid = os.fork()
            if pid == 0:
                child()
                sys.exit()
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        else:
            import multiprocessing
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
            assert process.exitcode == 0
        get(1)
    """
    import textwrap

    done = program(f"WAY = {way!r}\n" + textwrap.dedent(code), echo, receiver.endpoint)
    assert done.returncode == 0, done.stderr
    counts = sorted(point["count"] for point in latest(receiver.points(DURATION)).values())
    assert counts == [3, 4]


FAULTS = {"refused": answer(400), "hangs": hang, "is reset": reset(), "forbidden": answer(403)}


@pytest.mark.long
@pytest.mark.parametrize("action", FAULTS.values(), ids=FAULTS)
def test_a_collector_that_fails(echo: str, action: Any) -> None:
    """A failed export is nobody's problem: it is counted and logged once, and the end does not wait for ever."""
    with scripted(*[action] * 20) as collector:
        done = program(
            "installed = install(); get(); print(installed.flush(3)); print(causal_otel.status()); get()",
            echo,
            collector.endpoint,
            OTEL_TRACES_EXPORTER="none",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            TRACING_EXIT_TIMEOUT="1",
        )
    assert done.returncode == 0
    flushed, *status = done.stdout.splitlines()
    assert flushed == "False"
    (line,) = [line for line in status if line.startswith("  metrics: ")]
    assert line.endswith("1 failed")
    assert done.stderr.count("metrics were not delivered") == 1


def test_nobody_listens(echo: str) -> None:
    """Without a collector a program works, and says what is wrong."""
    with refused_port() as port:
        url = f"http://127.0.0.1:{port}"
        done = program("install(); get()", echo, url, OTEL_TRACES_EXPORTER="none", TRACING_EXIT_TIMEOUT="30")
    assert done.returncode == 0
    assert "metrics were not delivered" in done.stderr


def test_off(echo: str) -> None:
    """By default nothing is measured: no observer, no SDK for metrics, no thread."""
    done = program(
        """
        installed = install(exporter="none")
        get()
        status = causal_otel.status()
        print(status.metrics == "", [patch.observers for patch in status.patches if patch.state == "on"])
        parts = ("opentelemetry.sdk.metrics", *(f"causal_otel.metrics.{it}" for it in ("cells", "feed", "reader")))
        print([name for name in sys.modules if name.startswith(parts)])
        print([thread.name for thread in threading.enumerate()])
        """.replace("\n        ", "\n"),
        echo,
    )
    assert done.stdout.splitlines() == ["True [()]", "[]", "['MainThread']"]


_OWN = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))

def counts():
    data = reader.get_metrics_data()
    scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
    return [point.count for scope in scopes for metric in scope.metrics if metric.name == "http.client.request.duration"
            for point in metric.data.data_points]
"""


def test_a_provider_of_the_user_s_own(echo: str) -> None:
    """A global MeterProvider that is set before is used, whatever the exporter; after an uninstall no more."""
    code = """
installed = install()
print(causal_otel.status().metrics, [str(p) for p in causal_otel.status().patches if p.name == "httpx"])
get(2); print(counts()); get(); print(counts())
causal_otel.uninstall(); get(); print(counts())
install(); get(); print(counts())
"""
    with scripted() as collector:
        done = program(_OWN + code, echo, collector.endpoint, OTEL_TRACES_EXPORTER="none")
        assert collector.requests == []
    status, *rest = done.stdout.splitlines()
    assert status.startswith("to your meter provider ['httpx: on httpx ")
    assert status.endswith(" (metrics)']")
    assert rest == ["[2]", "[3]", "[3]", "[4]"]
    assert done.stderr == ""


def test_a_provider_that_raises(echo: str) -> None:
    """Histograms of the user's own that raise are contained and counted; neither a call nor the collection fails."""
    code = """
def fails(*_, **__):
    raise ZeroDivisionError
provider = metrics.get_meter_provider()
meter = provider.get_meter("causal_otel")
type(meter).create_histogram = fails
install(); get(2); print(counts())
print([line for line in str(causal_otel.status()).splitlines() if "failed" in line])
"""
    done = run(f"ECHO = {echo!r}\n{_PREAMBLE}\n{_OWN}{code}", OTEL_TRACES_EXPORTER="none")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["[]", "['  failed 1 times: metrics: your meter provider']"]


@pytest.mark.parametrize("method", ["__init__", "export", "shutdown"])
def test_an_exporter_that_raises(echo: str, method: str) -> None:
    """An exporter that cannot be made, export or be shut down is contained and counted; calls and the end go well."""
    code = f"""
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
def fails(*_, **__):
    raise ZeroDivisionError
ConsoleMetricExporter.{method} = fails
installed = install(); get(2)
print(installed.flush() is ({method!r} == "shutdown"))
causal_otel.uninstall()
print(sum(faults.counts().values()) > 0)
"""
    preamble = f"from causal_otel._internal import faults\nECHO = {echo!r}\n{_PREAMBLE}\n"
    done = run(preamble + code, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="console")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", "True"]


@pytest.mark.long
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("method", ["get_meter", "create_observable_counter", "create_observable_up_down_counter"])
def test_a_provider_that_gives_nothing(echo: str, given: bool, method: str) -> None:
    """A MeterProvider that raises when it is asked for a meter or an instrument stops neither install() nor a call."""
    code = f"""
def fails(*_, **__):
    raise ZeroDivisionError
provider = metrics.get_meter_provider()
type(provider if {method!r} == "get_meter" else provider.get_meter("causal_otel")).{method} = fails
install({"meter_provider=provider" if given else ""}); get(2)
status = causal_otel.status()
print(status.installed, repr(status.metrics), [patch.observers for patch in status.patches if patch.state == "on"])
print(status.faults)
"""
    done = run(f"ECHO = {echo!r}\n{_PREAMBLE}\n{_OWN}{code}", OTEL_TRACES_EXPORTER="none")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True '' [()]", "{'metrics: your meter provider': 1}"]


def test_a_provider_that_cannot_be_hashed(echo: str) -> None:
    """A MeterProvider that is a dataclass, as Logfire's is, is given what is measured, also by a second install()."""
    code = """
type(metrics.get_meter_provider()).__hash__ = None
install(); get(); causal_otel.uninstall()
install(); get(); print(counts(), causal_otel.status().faults)
"""
    assert program(_OWN + code, echo, OTEL_TRACES_EXPORTER="none").stdout == "[2] {}\n"


def test_none_is_none(echo: str) -> None:
    """``OTEL_METRICS_EXPORTER=none`` switches metrics off for a provider of the user's own as well."""
    done = program(_OWN + "install(); get(); print(counts())", echo, OTEL_METRICS_EXPORTER="none")
    assert done.stdout == "[]\n"


def test_many_measurements_between_two_collections(echo: str) -> None:
    """What many operations measure is handed to a provider of the user's own before it collects: it is bounded."""
    code = """
from causal_otel.metrics.cells import LONG
from opentelemetry.trace import SpanKind
from causal_otel.instrument.operation import Operation
installed = install()
cells = installed._measuring._cells
from causal_otel.metrics.conventions import HTTP_CLIENT
from causal_otel.metrics.observer import Metrics
observer = Metrics(cells, {SpanKind.CLIENT: HTTP_CLIENT})
operation = Operation("GET", {"http.request.method": "GET"})
for _ in range(LONG * 3):
    observer.ended(operation, 0.001, None, None)
deadline = time.monotonic() + 60
while len(operation.cells.only.pending) > LONG and time.monotonic() < deadline:
    time.sleep(0.01)
print(len(operation.cells.only.pending) <= LONG, counts() == [LONG * 3])
"""
    done = program(_OWN + code, echo)
    assert done.stdout == "True True\n", done.stderr


def test_installed_again(echo: str, receiver: ReceivedSpans) -> None:
    """After an uninstall another installation exports through the same global provider, and each its own counts."""
    code = "install(); get(2); causal_otel.uninstall(); install(); get(3)"
    program(code, echo, receiver.endpoint, OTEL_TRACES_EXPORTER="none")
    first, second = receiver.points(DURATION)
    assert [first["count"], second["count"]] == [2, 3]
    assert first["time"] < second["start"]


def test_instruments_of_the_user_s_own_are_exported_too(echo: str, receiver: ReceivedSpans) -> None:
    """Our pipeline's provider is the global one: whatever else is measured in the program goes the same way."""
    code = "install(); from opentelemetry import metrics; metrics.get_meter('shop').create_counter('orders').add(7)"
    program(code, echo, receiver.endpoint)
    assert {point["sum"] for point in receiver.points("orders")} == {7}
