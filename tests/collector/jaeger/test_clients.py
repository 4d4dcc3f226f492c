"""The very requests that Grafana and Jaeger's pages send."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

TRACE = "0af7651916cd43dd8448eb211c80319c"
WINDOW = "start=1795377540000000&end=1795381200000000"
V3_WINDOW = "2026-11-22T19%3A59%3A00.000Z", "2026-11-22T21%3A00%3A00.000Z"

GRAFANA = {
    "health check": "/api/services",
    "operations": "/api/services/gold%20edge%2F%C3%BC/operations",
    "operations, not escaped": "/api/services/gold%20edge/%C3%BC/operations",
    "search": f"/api/traces?service=gold-back&operation=POST%20%2Fcart&tags=%7B%22error%22%3A%22true%22%2C%22user.id%22"
    f"%3A%22u1%22%7D&minDuration=1ms&maxDuration=1.2s&limit=20&{WINDOW}&lookback=custom",
    "search from its server": f"/api/traces?limit=20&operation=&service=gold-front&tags=%7B%7D&{WINDOW}",
    "trace": f"/api/traces/{TRACE}",
    "trace with a time": f"/api/traces/{TRACE}?end=1795381200000000&start=1795377540000000",
    "service graph": "/api/dependencies?endTs=1795381200000&lookback=21600000",
    "services of v3": "/api/v3/services",
    "operations of v3": "/api/v3/operations?service=gold-front",
    "trace of v3": f"/api/v3/traces/{TRACE}?start_time=2026-11-22T19:59:00Z&end_time=2026-11-22T21:00:00Z",
    "trace of v3, an offset not escaped": f"/api/v3/traces/{TRACE}"
    "?start_time=2026-11-22T20:59:00.123456789+01:00&end_time=2026-11-22T22:00:00+01:00",
    "search of v3": "/api/v3/traces?query.attributes=%7B%22user.id%22%3A%22u1%22%7D&query.duration_min=1ms"
    "&query.operation_name=POST+%2Fcart&query.service_name=gold-back"
    "&query.start_time_min=2026-11-22T20:59:00+01:00&query.start_time_max=2026-11-22T21:00:00Z",
}

OLD_PAGES = {
    "services": "/api/services",
    "operations": "/api/services/gold-back/operations",
    "server operations": "/api/operations?service=gold-back&spanKind=server",
    "search": "/api/traces?end=1795381200000000&limit=20&lookback=1h&maxDuration&minDuration&service=gold-front&"
    "start=1795377540000000&tags=%7B%22http.response.status_code%22%3A%22500%22%7D",
    "traces to compare": f"/api/traces?traceID={TRACE}&traceID=a3ce929d0e0e4736",
    "trace": f"/api/traces/{TRACE}?prettyPrint=true",
    "raw trace": f"/api/traces/{TRACE}?raw=true&prettyPrint=true",
    "dependencies": "/api/dependencies?endTs=1795381200000&lookback=604800000",
}

NEW_PAGES = {
    "services": "/api/v3/services",
    "operations": "/api/v3/operations?service=gold-back",
    "search": "/api/v3/trace-summaries?query.serviceName=gold-back&query.operationName=POST+%2Fcart"
    f"&query.startTimeMin={V3_WINDOW[0]}&query.startTimeMax={V3_WINDOW[1]}&query.searchDepth=20"
    "&query.durationMin=1ms&query.durationMax=1s&query.attributes=%7B%22user.id%22%3A%22u1%22%7D",
    "search of 2.19": "/api/v3/trace-summaries?query.service_name=gold-back&query.span_name=POST+%2Fcart"
    f"&query.start_time_min={V3_WINDOW[0]}&query.start_time_max={V3_WINDOW[1]}&query.num_traces=20"
    "&query.duration_min=1ms&query.attributes=%7B%22user.id%22%3A%22u1%22%7D",
    "search of all services": f"/api/v3/trace-summaries?query.startTimeMin={V3_WINDOW[0]}"
    f"&query.startTimeMax={V3_WINDOW[1]}&query.searchDepth=1500&query.attributes=%7B%22user.id%22%3A%22u1%22%7D",
    "trace": f"/api/traces/{TRACE}",
    "trace of v3": f"/api/v3/traces/{TRACE}?rawTraces=false",
}


def found(answer: Any) -> Any:
    """What the client shows."""
    if "summaries" in answer:
        return [summary["traceId"] for summary in answer["summaries"]]
    if "result" in answer:
        spans = [
            span
            for group in answer["result"]["resourceSpans"]
            for part in group["scopeSpans"]
            for span in part["spans"]
        ]
        return sorted({span["traceId"] for span in spans})
    data = answer.get("data", answer.get("services", answer.get("operations")))
    return [each["traceID"] if isinstance(each, dict) and "traceID" in each else each for each in data]


@pytest.mark.parametrize("name", GRAFANA)
def test_grafana(golden_client: httpx.Client, name: str) -> None:
    """Grafana's Jaeger data source finds what is there."""
    _check(golden_client, GRAFANA[name])


@pytest.mark.parametrize("name", OLD_PAGES)
def test_old_pages(golden_client: httpx.Client, name: str) -> None:
    """Jaeger's pages until 2.19 find what is there."""
    _check(golden_client, OLD_PAGES[name])


@pytest.mark.parametrize("name", NEW_PAGES)
def test_new_pages(golden_client: httpx.Client, name: str) -> None:
    """Jaeger's pages since 2.19 find what is there."""
    _check(golden_client, NEW_PAGES[name])


def _check(client: httpx.Client, target: str) -> None:
    response = client.get(target)
    assert response.status_code == 200, response.text
    what = found(response.json())
    assert what
    if "trace" in target:
        assert TRACE in what


def test_summaries(golden_client: httpx.Client) -> None:
    """A summary has the shape that Jaeger's pages insist on: times are strings, ids have 32 digits."""
    (summary,) = golden_client.get(NEW_PAGES["search"]).json()["summaries"]
    assert summary == {
        "traceId": TRACE,
        "rootServiceName": "gold-front",
        "rootOperationName": "GET /checkout",
        "minStartTimeUnixNano": "1795377600000000000",
        "maxEndTimeUnixNano": "1795377600120000000",
        "spanCount": 6,
        "errorSpanCount": 2,
        "orphanSpanCount": 0,
        "services": [
            {"name": "gold-back", "spanCount": 3, "errorSpanCount": 1},
            {"name": "gold-front", "spanCount": 3, "errorSpanCount": 1},
        ],
    }


def test_dependencies(golden_client: httpx.Client) -> None:
    """Calls between services are counted, and narrowed to those of one service."""
    everything = golden_client.get("/api/dependencies?endTs=1795381200000&lookback=7200000").json()["data"]
    gold = {"parent": "gold-front", "child": "gold-back", "callCount": 1}
    assert gold in everything
    assert {"parent": "shop-web", "child": "shop-cart", "callCount": 40} in everything
    narrowed = golden_client.get("/api/dependencies?endTs=1795381200000&lookback=7200000&service=gold-back").json()
    assert narrowed["data"] == [gold]
