"""Every expression of every dashboard, and the scraping, on a true Prometheus, Collector and our collector."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from causal_otel.testing.process import LOOPBACK, process
from tests.collector.running import running
from tests.deploy.files import DEPLOY
from tests.docs.pages import ROOT
from tests.faults.programs import environment
from tests.interop.running import Otelcol, Prometheus, otelcol, prometheus, prometheus_of
from tests.services.received import ReceivedSpans
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("otelcol", "prometheus")

_BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
_SERVICES = ("shop", "direct")
"""One that sends to the OpenTelemetry Collector, one whose spans go to ours, and its metrics to Prometheus."""
_TARGETS = [
    pytest.param(expression, id=f"{path.stem}: {panel['title']}: {target['refId']}: {service}")
    for path in _BOARDS
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
    for target in panel.get("targets", [])
    for service in (_SERVICES if "$service" in target["expr"] else ("",))
    for expression in [target["expr"].replace("$service", service)]
]
_VARIABLES = [
    pytest.param(variable["query"], id=f"{path.stem}: {variable['name']}")
    for path in _BOARDS
    for variable in json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]
    if variable["type"] == "query"
]


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory,
    certs: Path,
    secrets: Path,
    postgres_url: str,
    redis_url: str,
    receiver_process: ReceivedSpans,
) -> Iterator[Prometheus]:
    """Prometheus with the jobs of deploy/, over services that send to a Collector, to our collector, and to itself."""
    folder = tmp_path_factory.mktemp("dashboards")
    tls = ("--tls-cert", str(certs / "server.crt"), "--tls-key", str(certs / "server.key"))
    databases = {"SHOP_POSTGRES": postgres_url, "CELERY_BROKER_URL": urlsplit(redis_url)._replace(path="/8").geturl()}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(running(folder / "traces", *tls, "--forward", receiver_process.endpoint))
        endpoint = ours.grpc.removeprefix("https://").replace(LOOPBACK, "localhost")
        theirs = stack.enter_context(
            otelcol(folder / "queue", endpoint, secrets, certs, OTELCOL_SAMPLING_PERCENTAGE="100")
        )
        asked = stack.enter_context(prometheus(folder / "prometheus", _jobs(theirs, ours.pages, certs)))
        credentials = base64.b64encode(b"shop:s3cret").decode()
        ways = {
            "shop": {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{theirs.http_port}",
                "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Basic%20{credentials}",
            },
            "direct": {
                "OTEL_EXPORTER_OTLP_ENDPOINT": ours.http.replace(LOOPBACK, "localhost"),
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{asked.url}/api/v1/otlp/v1/metrics",
            },
        }
        for service in _SERVICES:
            variables = environment(
                **databases,
                **ways[service],
                C_FORCE_ROOT="1",
                OTEL_BSP_SCHEDULE_DELAY="200",
                OTEL_EXPORTER_OTLP_CERTIFICATE=str(certs / "ca.crt"),
                OTEL_METRIC_EXPORT_INTERVAL="1000",
                OTEL_METRICS_EXPORTER="otlp",
                OTEL_SERVICE_NAME=service,
                TRACING_SPOOL_DIRECTORY=str(folder / "spool" / service),
            )
            for command in (["tests.interop.shop_app"], ["celery", "-A", "tests.interop.shop_app", *_WORKER]):
                command = [sys.executable, "-m", *command]
                stack.enter_context(process(command, name=f"{service}: {command[2]}", cwd=ROOT, env=variables))
        yield asked


_WORKER = ("worker", "--pool", "solo", "--without-mingle", "--without-gossip")


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
    for variable in ("$system", "$collector"):
        asked = asked.replace(variable, ".*")
    # NaN is what no request has.
    _asked(found, asked, lambda sample: not math.isnan(float(sample["value"][1])))


@pytest.mark.parametrize("query", _VARIABLES)
def test_every_variable_has_values(found: Prometheus, query: str) -> None:
    """A dashboard's variable offers something: the series that it takes its labels from are there."""
    series, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    assert any(sample["metric"].get(label) for sample in _asked(found, series))


_IN_RULES = sorted(
    set(
        re.findall(
            r"\b(?:db_client_\w+_(?:bucket|count|total)|(?:traces_span_metrics|otel_sdk|otelcol|causal)_\w+)",
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


def test_prometheus_accepts_the_configuration(tmp_path: Path) -> None:
    """Prometheus starts with the configuration of deploy/ as it is, and has its jobs."""
    with prometheus_of(DEPLOY / "prometheus" / "prometheus.yml", tmp_path) as asked:
        wait_until(lambda: _jobs_of(asked) == ["jaeger", "otelcol", "services"], lambda: _jobs_of(asked))


def _jobs_of(asked: Prometheus) -> list[str]:
    response = httpx.get(f"{asked.url}/api/v1/scrape_pools", trust_env=False, timeout=60)
    return sorted(response.json()["data"]["scrapePools"])


def test_everything_is_scraped(found: Prometheus) -> None:
    """Each job of the configuration is up."""
    assert _asked(found, "up == 1 unless on() count(up == 1) < 3")
    assert found.query("up == 0") == []


def _asked(
    found: Prometheus, expression: str, good: Callable[[dict[str, Any]], bool] = lambda sample: True
) -> list[dict[str, Any]]:
    """What an expression returns, as soon as some of that is good."""
    samples: list[dict[str, Any]] = []

    def some() -> bool:
        samples[:] = filter(good, found.query(expression))
        return bool(samples)

    wait_until(some, lambda: f"no data: {expression}\nthere are {_names(found)}")
    return samples


def _names(found: Prometheus) -> list[str]:
    return sorted({sample["metric"]["__name__"] for sample in found.query('{__name__=~".+"}')})
