"""The true programs under way, with the configurations of deploy/, on ports and in directories of the test's."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from causal_otel.testing.process import LOOPBACK, Process, claim_port, http_status, process
from tests.deploy.files import DEPLOY
from tests.interop.programs import find, missing

__all__ = [
    "Jaeger",
    "Otelcol",
    "Prometheus",
    "certificates",
    "configured",
    "jaeger",
    "listening",
    "needed",
    "otelcol",
    "prometheus",
    "prometheus_of",
]

_START_SECONDS = 120.0
_SILENT = {"metrics": {"level": "none"}}


def needed(name: str) -> Path:
    """The program; without it the test is skipped, with what brings it."""
    path = find(name)
    if path is None:
        pytest.skip(missing(name))
    return path


def _ports(*names: str) -> dict[str, str]:
    return {name: str(claim_port(None, name)) for name in names}


def _answers(url: str) -> bool:
    return http_status(url) == 200


class Jaeger:
    """A Jaeger, and what its query API says."""

    def __init__(self, child: Process, ports: Mapping[str, str]) -> None:
        self.process = child
        self.http_port = ports["JAEGER_OTLP_HTTP_PORT"]
        self.grpc_port = ports["JAEGER_OTLP_GRPC_PORT"]
        self.metrics_port = ports["JAEGER_METRICS_PORT"]
        self.sampling = f"http://{LOOPBACK}:{ports['JAEGER_SAMPLING_PORT']}"
        self.query = f"http://{LOOPBACK}:{ports['JAEGER_QUERY_PORT']}"

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Ask the query API."""
        return httpx.get(self.query + path, params=parameters, trust_env=False, timeout=60)

    def search(self, **parameters: Any) -> set[str]:
        """The ids of the traces that it finds by ``/api/traces``."""
        response = self.get("/api/traces", **{"limit": 100, **parameters})
        assert response.status_code == 200, response.text
        return {trace["traceID"] for trace in response.json()["data"]}

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """A trace as Jaeger's pages get it; None: there is none."""
        response = self.get(f"/api/traces/{trace_id}")
        if response.status_code == 404:
            return None
        assert response.status_code == 200, response.text
        (trace,) = response.json()["data"]
        found: dict[str, Any] = trace
        return found


@contextlib.contextmanager
def jaeger(
    directory: Path, config: Path = DEPLOY / "jaeger" / "development.yaml", **variables: str
) -> Iterator[Jaeger]:
    """Jaeger with a configuration, its traces in ``directory``."""
    program = needed("jaeger")
    ports = _ports(
        *("JAEGER_OTLP_HTTP_PORT", "JAEGER_OTLP_GRPC_PORT", "JAEGER_QUERY_PORT", "JAEGER_QUERY_GRPC_PORT"),
        *("JAEGER_SAMPLING_PORT", "JAEGER_SAMPLING_GRPC_PORT", "JAEGER_HEALTH_PORT", "JAEGER_METRICS_PORT"),
    )
    given = {
        **ports,
        "JAEGER_LISTEN_HOST": LOOPBACK,
        "JAEGER_BADGER_DIR": str(directory),
        "JAEGER_SAMPLING_FILE": str(DEPLOY / "config" / "jaeger-sampling.json"),
        **variables,
    }
    with process(
        [str(program), "--config", str(config)],
        name="Jaeger",
        ready=lambda _: _answers(f"http://{LOOPBACK}:{ports['JAEGER_HEALTH_PORT']}/status"),
        start_timeout=_START_SECONDS,
        env={**_environment(), **given},
    ) as child:
        yield Jaeger(child, ports)


class Otelcol:
    """An OpenTelemetry Collector."""

    def __init__(self, child: Process, ports: Mapping[str, str]) -> None:
        self.process = child
        self.http_port = ports["OTELCOL_HTTP_PORT"]
        self.grpc_port = ports["OTELCOL_GRPC_PORT"]
        self.own_metrics = f"{LOOPBACK}:{ports['OTELCOL_METRICS_PORT']}"
        self.span_metrics = f"{LOOPBACK}:{ports['OTELCOL_PROMETHEUS_PORT']}"


@contextlib.contextmanager
def otelcol(directory: Path, traces_endpoint: str, secrets: Path, certs: Path, **variables: str) -> Iterator[Otelcol]:
    """The Collector with deploy/otelcol/collector.yaml, its queue in ``directory``."""
    program = needed("otelcol")
    ports = _ports(
        *("OTELCOL_GRPC_PORT", "OTELCOL_HTTP_PORT", "OTELCOL_HEALTH_PORT"),
        *("OTELCOL_PROMETHEUS_PORT", "OTELCOL_METRICS_PORT"),
    )
    directory.mkdir(exist_ok=True)
    given = {
        **ports,
        "OTELCOL_LISTEN_HOST": LOOPBACK,
        "OTELCOL_QUEUE_DIR": str(directory),
        "OTELCOL_SECRETS": str(secrets),
        "OTELCOL_CERTS": str(certs),
        "OTELCOL_TRACES_ENDPOINT": traces_endpoint,
        "OTELCOL_DECISION_WAIT": "2s",
        "OTELCOL_METRICS_INTERVAL": "1s",
        **variables,
    }
    with process(
        [str(program), "--config", str(DEPLOY / "otelcol" / "collector.yaml")],
        name="otelcol",
        ready=lambda _: _answers(f"http://{LOOPBACK}:{ports['OTELCOL_HEALTH_PORT']}/status"),
        start_timeout=_START_SECONDS,
        env={**_environment(), **given},
    ) as child:
        yield Otelcol(child, ports)


@contextlib.contextmanager
def configured(name: str, directory: Path, config: Mapping[str, Any], port: int) -> Iterator[Process]:
    """A Collector with a configuration of the test's own.

    Args:
        name: which program.
        directory: for the configuration.
        config: to run with; what it counts of itself is not published.
        port: where it listens as soon as it is ready.
    """
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**config, "service": {**config["service"], "telemetry": _SILENT}}))
    with process(
        [str(needed(name)), "--config", str(path)],
        name=name,
        ready=lambda _: listening(port),
        start_timeout=_START_SECONDS,
        env=_environment(),
    ) as child:
        yield child


def listening(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as client:
        client.settimeout(60)
        return client.connect_ex((LOOPBACK, port)) == 0


class Prometheus:
    """A Prometheus, asked by its API."""

    def __init__(self, child: Process, url: str) -> None:
        self.process = child
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now."""
        response = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, trust_env=False, timeout=60)
        assert response.status_code == 200, f"{expression}: {response.text}"
        found: list[dict[str, Any]] = response.json()["data"]["result"]
        return found


@contextlib.contextmanager
def prometheus(directory: Path, jobs: Sequence[Mapping[str, Any]]) -> Iterator[Prometheus]:
    """Prometheus as deploy/prometheus/prometheus.yml has it, which looks at ``jobs`` each second, and takes OTLP.

    Args:
        directory: for its data.
        jobs: what stands under ``scrape_configs``.
    """
    directory.mkdir(exist_ok=True)
    given = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    given["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    given["rule_files"] = [str(DEPLOY / "prometheus" / "rules.yml")]
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump({**given, "scrape_configs": [dict(job) for job in jobs]}))
    with prometheus_of(config, directory) as found:
        yield found


@contextlib.contextmanager
def prometheus_of(config: Path, directory: Path) -> Iterator[Prometheus]:
    """Prometheus with a configuration, its data in ``directory``."""
    port = claim_port(None, "Prometheus")
    url = f"http://{LOOPBACK}:{port}"
    command = [str(needed("prometheus")), f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
    with process(
        [*command, "--web.enable-otlp-receiver", f"--web.listen-address={LOOPBACK}:{port}"],
        name="Prometheus",
        ready=lambda _: _answers(f"{url}/-/ready"),
        start_timeout=_START_SECONDS,
        env=_environment(),
    ) as child:
        yield Prometheus(child, url)


def certificates(directory: Path, *names: str) -> Path:
    """What deploy/certificates.sh makes for the names, in ``directory``."""
    needed("openssl")
    subprocess.run([DEPLOY / "certificates.sh", directory, *names], check=True, timeout=120)
    return directory


def _environment() -> dict[str, str]:
    """Ours, without what would change these programs."""
    foreign = ("OTEL_", "JAEGER_", "OTELCOL_", "TRACING_", "CAUSAL_OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
