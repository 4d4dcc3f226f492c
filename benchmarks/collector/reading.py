"""How long taking spans in takes while a large trace is read, by several readers at once.

    python -m benchmarks.collector.reading --spans 50000 --readers 4

Prints the latency of small OTLP/HTTP requests and of a small trace's page, one after the other, before and while the
large trace is fetched again and again, and how long that took. The readers fetch its page, its JSON, a comparison, and
what Jaeger's APIs make of it, in turn.
"""

from __future__ import annotations

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.collector.web.sample_traces import large

_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
_ID = "1a" * 16
_SMALL = "3c" * 16
_REQUESTS, _PAGES = 300, 10
_PATHS = (
    f"/trace/{_ID}",
    f"/trace/{_ID}.json",
    f"/compare?a={_ID}&b={_ID}",
    f"/api/traces/{_ID}",
    f"/api/v3/traces/{_ID}",
)


def _ask(port: int, method: str, path: str, body: bytes | None = None) -> float:
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, {"content-type": "application/x-protobuf"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
    finally:
        connection.close()
    return time.monotonic() - started


def _told(what: str, seconds: list[float]) -> None:
    found = sorted(seconds)
    p50, p99 = statistics.median(found), found[int(len(found) * 0.99)]
    print(f"{what}: p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, of {len(found)}", flush=True)


def main() -> None:
    """Fill a collector, measure alone, then beside readers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=50_000)
    parser.add_argument("--readers", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "causal_otel", "collector", "--data-dir", directory]
        ports = ["--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "off"]
        process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            found: dict[str, int] = {}
            while len(found) < 2:
                line = process.stdout.readline()
                assert line, "the collector has ended"
                if address := _ADDRESS.search(line):
                    found["otlp" if "OTLP" in line else "pages"] = int(address[1])
            _measure(found["pages"], found["otlp"], arguments.spans, arguments.readers)
        finally:
            process.terminate()
            process.wait(60)


def _measure(pages: int, otlp: int, spans: int, readers: int) -> None:
    whole = large(spans, trace_id=_ID)
    for group in whole.resource_spans:
        for scoped in group.scope_spans:
            for at in range(0, len(scoped.spans), 5000):
                part = ExportTraceServiceRequest()
                target = part.resource_spans.add(resource=group.resource)
                target.scope_spans.add(scope=scoped.scope).spans.extend(scoped.spans[at : at + 5000])
                _ask(otlp, "POST", "/v1/traces", part.SerializeToString())
    small = large(20, trace_id="2b" * 16)
    bodies = []
    for number in range(2 * _REQUESTS):
        small.resource_spans[0].scope_spans[0].spans[0].name = f"request {number}"  # or it would be one sent again
        bodies.append(ExportTraceServiceRequest(resource_spans=small.resource_spans).SerializeToString())
    page = ExportTraceServiceRequest(resource_spans=large(20, trace_id=_SMALL).resource_spans)
    _ask(otlp, "POST", "/v1/traces", page.SerializeToString())
    _told("alone", [_ask(otlp, "POST", "/v1/traces", body) for body in bodies[:_REQUESTS]])
    _told("a small page alone", [_ask(pages, "GET", f"/trace/{_SMALL}") for _ in range(_PAGES)])
    done, took = threading.Event(), list[float]()

    def read(path: str) -> None:
        while not done.is_set():
            took.append(_ask(pages, "GET", path))

    threads = [threading.Thread(target=read, args=(_PATHS[number % len(_PATHS)],)) for number in range(readers)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)  # until all of them read
    _told(f"beside {readers} readers", [_ask(otlp, "POST", "/v1/traces", body) for body in bodies[_REQUESTS:]])
    _told("a small page beside them", [_ask(pages, "GET", f"/trace/{_SMALL}") for _ in range(_PAGES)])
    done.set()
    for thread in threads:
        thread.join()
    _told("a large answer", took)


if __name__ == "__main__":
    main()
