"""Every expression of every dashboard, and the scraping, on a true Prometheus, Collector and our collector."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from causal_otel.testing.process import LOOPBACK, process
from tests.collector.running import running
from tests.deploy.files import DEPLOY
from tests.docs.pages import ROOT
from tests.faults.programs import environment
from tests.interop.running import Otelcol, Prometheus, otelcol, prometheus
from tests.waiting import wait_until

_BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
_TARGETS = [
    pytest.param(target["expr"], id=f"{path.stem}: {panel['title']}: {target['refId']}")
    for path in _BOARDS
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
    for target in panel.get("targets", [])
]
_VARIABLES = [
    pytest.param(variable["query"], id=f"{path.stem}: {variable['name']}")
    for path in _BOARDS
    for variable in json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]
    if variable["type"] == "query"
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, certs: Path, secrets: Path) -> Iterator[Prometheus]:
    """Prometheus with the jobs of deploy/, over a service that sends to a Collector, which sends to our collector."""
    folder = tmp_path_factory.mktemp("dashboards")
    tls = ("--tls-cert", str(certs / "server.crt"), "--tls-key", str(certs / "server.key"))
    with running(folder / "traces", *tls) as ours:
        endpoint = ours.grpc.removeprefix("https://").replace(LOOPBACK, "localhost")
        with otelcol(folder / "queue", endpoint, secrets, certs, OTELCOL_SAMPLING_PERCENTAGE="100") as theirs:
            credentials = base64.b64encode(b"shop:s3cret").decode()
            service = environment(
                OTEL_SERVICE_NAME="shop",
                OTEL_EXPORTER_OTLP_ENDPOINT=f"https://localhost:{theirs.http_port}",
                OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Basic%20{credentials}",
                OTEL_EXPORTER_OTLP_CERTIFICATE=str(certs / "ca.crt"),
                OTEL_BSP_SCHEDULE_DELAY="200",
                TRACING_SPOOL_DIRECTORY=str(folder / "spool"),
            )
            with (
                process([sys.executable, "-m", "tests.interop.shop_app"], name="shop", cwd=ROOT, env=service),
                prometheus(folder / "prometheus", _jobs(theirs, ours.pages, certs)) as asked,
            ):
                yield asked


def _jobs(theirs: Otelcol, pages: str, certs: Path) -> list[dict[str, Any]]:
    """The jobs of deploy/prometheus/prometheus.yml with the addresses of the test; ours is commented out there."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    ours = yaml.safe_load(text.partition("used: it counts itself and has span metrics.\n")[2].replace("  # ", ""))[0]
    del jobs["jaeger"], ours["authorization"]
    ours["tls_config"] = {"ca_file": str(certs / "ca.crt"), "server_name": "localhost"}
    addresses = {"otelcol": theirs.own_metrics, "services": theirs.span_metrics}
    addresses[ours["job_name"]] = pages.removeprefix("https://")
    for job in (jobs := {**jobs, ours["job_name"]: ours}).values():
        job["static_configs"] = [{"targets": [addresses[job["job_name"]]]}]
    return list(jobs.values())


@pytest.mark.parametrize("expression", _TARGETS)
def test_every_expression_returns_data(found: Prometheus, expression: str) -> None:
    """What a panel asks for is there, with the names and labels that the programs give it, and is a number."""
    asked = expression.replace("$__rate_interval", "1m")
    for variable in ("$service", "$system", "$collector"):
        asked = asked.replace(variable, ".*")
    values = [float(sample["value"][1]) for sample in _asked(found, asked)]
    assert any(value == value for value in values), asked  # NaN is what no request has


@pytest.mark.parametrize("query", _VARIABLES)
def test_every_variable_has_values(found: Prometheus, query: str) -> None:
    """A dashboard's variable offers something: the series that it takes its labels from are there."""
    series, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    assert any(sample["metric"].get(label) for sample in _asked(found, series))


_IN_RULES = sorted(
    set(
        re.findall(
            r"\b(?:traces_span_metrics|otel_sdk|otelcol|causal)_\w+",
            "\n".join(
                rule["expr"]
                for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
                for rule in group["rules"]
            ),
        )
    )
)


_NOT_BEFORE_IT_HAPPENS = {"otelcol_exporter_enqueue_failed_spans_total"}


@pytest.mark.parametrize("metric", [metric for metric in _IN_RULES if metric not in _NOT_BEFORE_IT_HAPPENS])
def test_what_alerts_are_about_is_there(found: Prometheus, metric: str) -> None:
    """A metric that a rule names is one that the programs have: an alert on another name would never fire."""
    assert _asked(found, metric)


def test_everything_is_scraped(found: Prometheus) -> None:
    """Each job of the configuration is up."""
    assert _asked(found, "up == 1 unless on() count(up == 1) < 3")
    assert found.query("up == 0") == []


def _asked(found: Prometheus, expression: str) -> list[dict[str, Any]]:
    """What an expression returns, as soon as that is something."""
    samples: list[dict[str, Any]] = []

    def some() -> bool:
        samples[:] = found.query(expression)
        return bool(samples)

    wait_until(some, lambda: f"no data: {expression}\nthere are {_names(found)}")
    return samples


def _names(found: Prometheus) -> list[str]:
    return sorted({sample["metric"]["__name__"] for sample in found.query('{__name__=~".+"}')})
