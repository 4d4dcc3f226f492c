"""Our remote sampler asks those who serve strategies: a true Jaeger, and a true OpenTelemetry Collector."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from causal_otel.testing.process import LOOPBACK, claim_port
from tests.deploy.files import DEPLOY
from tests.faults.programs import run
from tests.interop.running import configured, jaeger

_STRATEGIES = DEPLOY / "config" / "jaeger-sampling.json"
_ASKING = """
    import json, time
    import causal_otel
    from opentelemetry import trace

    installed = causal_otel.install(patches=[], exporter="none")
    tracer = trace.get_tracer("asking")
    deadline = time.monotonic() + 60
    while causal_otel.status().sampling.changed is None and time.monotonic() < deadline:
        tracer.start_span("GET /orders").end()
        time.sleep(0.1)
    shares = {}
    for name in ("GET /orders", "GET /health"):
        shares[name] = sum(tracer.start_span(name).is_recording() for _ in range(2000)) / 2000
    installed.uninstall()
    print(json.dumps(shares))
"""


@contextmanager
def _jaeger(folder: Path) -> Iterator[str]:
    with jaeger(folder) as found:
        yield found.sampling


@contextmanager
def _collector(folder: Path) -> Iterator[str]:
    """The Collector's extension ``jaegerremotesampling``. It needs a pipeline, which gets nothing."""
    port, unused = claim_port(None, "sampling"), claim_port(None, "OTLP")
    config = {
        "extensions": {
            "jaegerremotesampling": {
                "http": {"endpoint": f"{LOOPBACK}:{port}"},
                "source": {"file": str(_STRATEGIES), "reload_interval": "1s"},
            }
        },
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{LOOPBACK}:{unused}"}}}},
        "exporters": {"otlp": {"endpoint": f"{LOOPBACK}:1", "tls": {"insecure": True}}},
        "service": {
            "extensions": ["jaegerremotesampling"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp"]}},
        },
    }
    with configured("otelcol-extensions", folder, config, port):
        yield f"http://{LOOPBACK}:{port}/sampling"


@pytest.mark.parametrize("serving", [_jaeger, _collector], ids=["Jaeger", "Collector"])
def test_our_sampler_asks(tmp_path: Path, serving: Callable[[Path], AbstractContextManager[str]]) -> None:
    """It gets the strategies of deploy/: everything, and of health checks one in ten."""
    with serving(tmp_path) as endpoint:
        done = run(
            _ASKING,
            OTEL_SERVICE_NAME="asking",
            OTEL_TRACES_SAMPLER="parentbased_jaeger_remote",
            OTEL_TRACES_SAMPLER_ARG=f"endpoint={endpoint},pollingIntervalMs=500,initialSamplingRate=0",
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["GET /orders"] == 1.0, told
    assert 0.05 < told["GET /health"] < 0.15, told
