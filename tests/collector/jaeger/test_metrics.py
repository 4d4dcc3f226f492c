"""The metrics API, asked as the Monitor tab of Jaeger's pages asks, held against the spans themselves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from starlette.testclient import TestClient

from causal_otel.collector.jaeger import metrics
from causal_otel.collector.query import TraceReader
from causal_otel.collector.store.histogram import BOUNDS, bucket
from tests.collector.jaeger.conftest import NOW, application, stored
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, SECOND, merged, span, traces

MINUTE = 60_000
KINDS = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
ASKED = {"quantile": "0.95", "ratePer": str(10 * MINUTE), "step": str(MINUTE), "endTs": str(NOW // 10**6)}
"""What Jaeger's page sends with whatever it asks, besides service, lookback and kind of span."""


def _spans() -> list[Span]:
    """Two operations of a service in the last two days, one of them also as a client."""
    rng = random.Random(5)
    return [
        span(
            rng.choice(["GET /", "POST /"]),
            trace=number + 1,
            start=NOW - int(rng.random() ** 2 * 48 * HOUR),
            duration=int(rng.lognormvariate(0, 1) * 20 * MILLISECOND),
            kind=rng.choice(KINDS),
            error=rng.random() < 0.2,
        )
        for number in range(400)
    ]


SPANS = _spans()
MESSAGES = [merged(*(traces(each, service="shop") for each in SPANS)), traces(span(trace=999), service="bank")]


@pytest.fixture(scope="module", params=["memory", "store"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Asks for metrics of these spans."""
    if request.param == "memory":
        yield TestClient(application(MemoryReader(MESSAGES)))
    else:
        with stored(MESSAGES, tmp_path_factory.mktemp("metrics")) as reader:
            yield TestClient(application(reader))


def _ask(client: TestClient | httpx.Client, metric: str, **given: Any) -> dict[str, Any]:
    response = client.get(f"/api/metrics/{metric}", params={**ASKED, "service": "shop", "spanKind": "server", **given})
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def _seen_by_page(metric: dict[str, Any]) -> list[tuple[int, float | None]]:
    """The points as Jaeger's page reads them: what is no number is a gap."""
    found = []
    for point in metric["metricPoints"]:
        value = point["gaugeValue"]["doubleValue"]
        at = datetime.fromisoformat(point["timestamp"])
        found.append((int(at.timestamp()) * SECOND, value if isinstance(value, int | float) else None))
    return found


def _hours(at: int) -> tuple[int, int]:
    """The hours that the ten minutes before a moment touch."""
    return (at - 10 * MINUTE * 10**6) // HOUR * HOUR, (at - 1) // HOUR * HOUR + HOUR


def _expected(metric: str, at: int, wanted: Callable[[Span], bool]) -> float | None:
    start, end = _hours(at)
    spans = [each for each in SPANS if start <= each.start_time_unix_nano < end and wanted(each)]
    failed = [each for each in spans if each.status.code == 2]
    if metric == "calls":
        return len(spans) / ((min(end, NOW) - start) / SECOND if start < NOW else (end - start) / SECOND)
    if not spans:
        return None
    if metric == "errors":
        return len(failed) / len(spans)
    lengths = sorted(each.end_time_unix_nano - each.start_time_unix_nano for each in spans)
    place = next(place for place in range(len(lengths)) if place + 1 >= 0.95 * len(lengths))
    return min(BOUNDS[bucket(lengths[place])], lengths[-1]) / MILLISECOND


@pytest.mark.parametrize("lookback", [5, 60, 360, 2 * 24 * 60])
@pytest.mark.parametrize("metric", ["latencies", "calls", "errors"])
def test_a_service_is_told_of(client: TestClient, metric: str, lookback: int) -> None:
    """Every point has the figures of the spans of the hours before it, at any look-back that the page offers."""
    family = _ask(client, metric, lookback=str(lookback * MINUTE))
    assert family["type"] == "GAUGE"
    names = {"latencies": "service_latencies", "calls": "service_call_rate", "errors": "service_error_rate"}
    assert family["name"] == names[metric]
    (found,) = family["metrics"]
    assert found["labels"] == [{"name": "service_name", "value": "shop"}]
    points = _seen_by_page(found)
    assert points[0][0] == NOW - lookback * 60 * SECOND
    assert 2 <= len(points) <= metrics.MOST_POINTS
    for at, value in points:
        expected = _expected(metric, at, lambda each: each.kind == Span.SPAN_KIND_SERVER)
        assert value == (None if expected is None else pytest.approx(expected))


def test_operations_are_told_apart(client: TestClient) -> None:
    """Grouped, each operation has a label and its own points, in all three answers that the page's table is made of."""
    for metric in ("latencies", "calls", "errors"):
        family = _ask(client, metric, groupByOperation="true", lookback=str(6 * 60 * MINUTE))
        assert family["name"].startswith("service_operation_")
        names = [[label["name"] for label in each["labels"]] for each in family["metrics"]]
        assert names == [["operation", "service_name"]] * 2
        for each in family["metrics"]:
            operation = each["labels"][0]["value"]
            for at, value in _seen_by_page(each):
                expected = _expected(
                    metric,
                    at,
                    lambda one, name=operation: one.kind == KINDS[0] and one.name == name,  # type: ignore[misc]
                )
                assert value == (None if expected is None else pytest.approx(expected))


def test_several_services_and_kinds(client: TestClient) -> None:
    """Services are told one by one, kinds together; without a kind it is servers that are told of."""
    family = _ask(client, "calls", service=["shop", "bank", "nobody"], spanKind=["server", "client", "internal"],
                  lookback=str(60 * MINUTE))  # fmt: skip
    assert [each["labels"][0]["value"] for each in family["metrics"]] == ["shop"]  # the bank's span is of noon
    at, value = _seen_by_page(family["metrics"][0])[-1]
    assert value == pytest.approx(_expected("calls", at, lambda _: True) or 0)
    servers = _ask(client, "calls", spanKind=[], lookback=str(60 * MINUTE))
    assert servers == _ask(client, "calls", lookback=str(60 * MINUTE))


def test_nobody_has_no_metrics(client: TestClient) -> None:
    """A service without spans in the time is left out, as Jaeger's page expects."""
    assert _ask(client, "latencies", service="nobody")["metrics"] == []


def test_weeks_are_told_by_the_day(client: TestClient) -> None:
    """In thirty days the points are of whole days, and still bounded."""
    family = _ask(client, "calls", lookback=str(30 * 24 * 60 * MINUTE), ratePer=str(MINUTE))
    points = _seen_by_page(family["metrics"][0])
    assert len(points) <= metrics.MOST_POINTS
    midnight = NOW // (24 * HOUR) * 24 * HOUR
    yesterday = [each for each in SPANS if midnight - 24 * HOUR <= each.start_time_unix_nano < midnight]
    expected = sum(each.kind == Span.SPAN_KIND_SERVER for each in yesterday) / 86_400
    inside = [value for at, value in points if midnight - 23 * HOUR <= at <= midnight]
    assert inside
    assert all(value == pytest.approx(expected) for value in inside)


def test_few_series_in_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many operations those with the most calls are in the answer."""
    monkeypatch.setattr(metrics, "MOST_SERIES", 2)
    spans = [
        span(f"op {number}", trace=number * 100 + call + 1, start=NOW - SECOND, kind=Span.SPAN_KIND_SERVER)
        for number in range(5)
        for call in range(number + 1)
    ]
    app = TestClient(application(MemoryReader([traces(*spans)])))
    family = _ask(app, "calls", groupByOperation="true", lookback=str(60 * MINUTE))
    assert [each["labels"][0]["value"] for each in family["metrics"]] == ["op 3", "op 4"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("calls?service=a&lookback=0", "'lookback': it must be above 0"),
        ("calls?service=a&step=-1", "'step': it must be above 0"),
        ("calls?service=a&ratePer=x", "'ratePer': strconv.ParseInt"),
        ("latencies?service=a&quantile=1.5", "'quantile': it must be above 0 and at most 1"),
        ("latencies?service=a&quantile=nan", "'quantile': it must be above 0 and at most 1"),
        ("calls?" + "&".join(f"service={number}" for number in range(101)), "at most 100"),
    ],
)
def test_what_cannot_be_told(query: str, reason: str) -> None:
    """Odd parameters are refused with the reason."""
    response = TestClient(application(MemoryReader())).get(f"/api/metrics/{query}")
    assert response.status_code == 400
    assert reason in response.json()["errors"][0]["msg"]


def test_the_metric_must_exist() -> None:
    """Another metric is 404, and the least step is an hour."""
    app = TestClient(application(MemoryReader()))
    assert app.get("/api/metrics/weather?service=a").status_code == 404
    assert app.get("/api/metrics/minstep").json()["data"] == 60 * MINUTE


def test_odd_times_have_an_answer(tmp_path: Path) -> None:
    """The first and the last times that there are can be asked for."""
    messages: list[TracesData] = [traces(span(start=NOW - SECOND, kind=Span.SPAN_KIND_SERVER))]
    with stored(messages, tmp_path) as reader:
        readers: list[TraceReader] = [reader, MemoryReader(messages)]
        for each in readers:
            app = TestClient(application(each))
            for end in (0, 1, -5, 2**63 // 10**6, 2**62):
                assert _ask(app, "calls", endTs=str(end), lookback=str(2**62))["type"] == "GAUGE"
