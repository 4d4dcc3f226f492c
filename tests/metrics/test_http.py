"""Metrics of HTTP: of requests that are sent and of requests that are served."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import NoOpTracerProvider
from websockets.sync.client import connect

import causal_otel
from causal_otel.patches.asgi import AsgiOptions
from causal_otel.patches.httpx import HttpxOptions
from tests.metrics.measuring import Measurements, measured
from tests.patches.asgi_app import app
from tests.patches.http_server import echo_app, serve
from tests.waiting import cancelled_after

SERVER, ACTIVE, CLIENT = "http.server.request.duration", "http.server.active_requests", "http.client.request.duration"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

SAMPLED = pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])


def until(condition: Callable[[], Any]) -> Any:
    """What ``condition`` returns once that is true."""
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "not what was waited for"
        time.sleep(0.01)
    return found


def active(found: Measurements) -> int | None:
    """How many requests are being served."""
    points = found.points(ACTIVE)
    return int(points[0].value) if points else None


# -- sent -------------------------------------------------------------------------------------------------------------


@SAMPLED
def test_client(sampler: Sampler) -> None:
    """Each request on the wire is measured: by status, a failure by its error, a cancelled one without."""

    async def requests(url: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{url}/slow/0.02")
            await client.request("PURGE", f"{url}/status/404")
            await client.get(f"{url}/redirect/0", follow_redirects=True)
            with pytest.raises(httpx.ConnectError):
                await client.get("http://127.0.0.1:1/")
            await cancelled_after(0.05, client.head(f"{url}/slow/60"))

    with serve(echo_app) as url, measured(["httpx"], sampler) as found:
        asyncio.run(requests(url))
        metric = found.metrics()[CLIENT]
        points = {
            (point.attributes["http.request.method"], point.attributes.get("http.response.status_code")): point
            for point in metric.data.data_points
        }
    port = urlsplit(url).port
    assert metric.unit == "s"
    assert {key: point.count for key, point in points.items()} == {
        ("GET", 200): 2,
        ("_OTHER", 405): 1,
        ("GET", 307): 1,
        ("GET", None): 1,
        ("HEAD", None): 1,
    }
    well = points["GET", 200]
    assert tuple(well.explicit_bounds) == BOUNDS
    assert well.max >= 0.02
    assert dict(well.attributes) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    assert points["_OTHER", 405].attributes["error.type"] == "405"
    assert points["GET", None].attributes["error.type"] == "httpx.ConnectError"
    assert points["GET", None].attributes["server.port"] == 1
    cancelled = points["HEAD", None]
    assert "error.type" not in cancelled.attributes
    assert cancelled.sum >= 0.05


@SAMPLED
def test_client_of_aiohttp(sampler: Sampler) -> None:
    """So is each of aiohttp's, as long as it is waited for."""

    async def requests(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/redirect/0") as response:
                await response.read()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:1/")
            async with session.put(f"{url}/stream?chunks=2&pause=0.05", data=b"") as response:
                assert response.status == 405
            async with session.get(f"{url}/stream?chunks=2&pause=0.05") as response:
                await response.read()

    with serve(echo_app) as url, measured(["aiohttp"], sampler) as found:
        asyncio.run(requests(url))
        points = {
            (point.attributes.get("http.response.status_code"), point.attributes.get("error.type")): point
            for point in found.points(CLIENT)
        }
    assert {key: point.count for key, point in points.items()} == {
        (307, None): 1,
        (200, None): 2,
        (405, "405"): 1,
        (None, "aiohttp.client_exceptions.ClientConnectorError"): 1,
    }
    assert points[200, None].max >= 0.05


@SAMPLED
def test_a_streamed_body_counts_as_long_as_it_is_waited_for(sampler: Sampler) -> None:
    """What the application does between two chunks is no part of the duration, and one closed early is measured."""
    with serve(echo_app) as url, measured(["httpx"], sampler) as found, httpx.Client(trust_env=False) as client:
        began, slept = time.perf_counter(), 0
        with client.stream("GET", f"{url}/stream?chunks=3&pause=0.02") as response:
            for _ in response.iter_raw():
                time.sleep(0.2)
                slept += 1
        elapsed = time.perf_counter() - began
        assert len(found.points(CLIENT)) == 1
        _, point = found.only(CLIENT)
        assert point.count == 1
        assert slept
        assert 0 < point.sum <= elapsed - slept * 0.2
        request = client.build_request("GET", f"{url}/stream")
        abandoned = client.send(request, stream=True)
        abandoned.close()
        assert found.only(CLIENT)[1].count == 2


@pytest.mark.parametrize("excluded", [True, False])
def test_without_a_trace_nothing_is_carried(excluded: bool) -> None:
    """Metrics alone put no header into a request; what is excluded has none."""
    options = HttpxOptions(require_parent=True, excluded=("/echo",) if excluded else None)
    with serve(echo_app) as url, measured({"httpx": options}) as found:
        headers = httpx.get(f"{url}/echo", trust_env=False).json()["headers"]
        count = sum(point.count for point in found.points(CLIENT))
    assert count == (0 if excluded else 1)
    assert excluded or not {"traceparent", "tracestate", "baggage"} & {name for name, _ in headers}
    assert found.spans() == []


# -- served -----------------------------------------------------------------------------------------------------------


@SAMPLED
def test_server(sampler: Sampler) -> None:
    """A request is measured by its route, never by its path; 500 and an exception are errors."""
    with serve(app) as url, measured(["asgi"], sampler) as found, httpx.Client(trust_env=False) as client:
        # uvicorn closes the connection after the last one.
        for path in ("/items/1", "/items/2", "/slow/0.02", "/status/500", "/nowhere/3", "/status/404", "/boom"):
            client.get(f"{url}{path}")
        until(lambda: active(found) == 0)
        metric = found.metrics()[SERVER]
        counted = found.metrics()[ACTIVE]
        points = {
            (point.attributes.get("http.route"), point.attributes["http.response.status_code"]): point
            for point in metric.data.data_points
        }
    assert (metric.unit, counted.unit) == ("s", "{request}")
    assert not counted.data.is_monotonic
    assert dict(counted.data.data_points[0].attributes) == {"http.request.method": "GET", "url.scheme": "http"}
    assert {key: (point.count, point.attributes.get("error.type")) for key, point in points.items()} == {
        ("/items/{i}", 200): (2, None),
        ("/slow/{seconds}", 200): (1, None),
        ("/status/{status}", 500): (1, "500"),
        ("/boom", 500): (1, "ValueError"),
        (None, 404): (1, None),
        ("/status/{status}", 404): (1, None),
    }
    slow = points["/slow/{seconds}", 200]
    assert tuple(slow.explicit_bounds) == BOUNDS
    assert slow.sum >= 0.02
    assert dict(slow.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/slow/{seconds}",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }


@SAMPLED
def test_active_requests(sampler: Sampler) -> None:
    """A request is active until it is over: after a response, an exception, or the client's departure."""
    with serve(app) as url, measured(["asgi"], sampler) as found:
        parts = urlsplit(url)
        for path in ("/stream?chunks=100000", "/stream?fail=1&chunks=2", "/boom"):
            with socket.create_connection((parts.hostname, parts.port)) as client:
                client.sendall(f"GET {path} HTTP/1.1\r\nhost: tests\r\nconnection: close\r\n\r\n".encode())
                if "100000" in path:
                    client.recv(100)
                    until(lambda: active(found) == 1)
                else:
                    while client.recv(1000):
                        pass
            until(lambda: active(found) == 0)
        points = until(lambda: [each for each in found.points(SERVER) if each.attributes.get("error.type")])
        errors = {(point.attributes["http.route"], point.attributes["error.type"]) for point in points}
    assert errors == {("/stream", "client_disconnected"), ("/stream", "RuntimeError"), ("/boom", "ValueError")}


def test_a_websocket_is_no_request() -> None:
    """A websocket's connection has a span and no metrics; nor has what is excluded."""
    options = AsgiOptions(excluded=("/items/{i}",))
    with serve(app, ws="websockets-sansio") as url, measured({"asgi": options}) as found:
        with connect(f"{url.replace('http', 'ws')}/ws/room") as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"
            websocket.send("bye")
        httpx.get(f"{url}/items/1", trust_env=False)
        until(lambda: found.spans() == ["GET /ws/{room}"])
        assert found.points(SERVER) == []
        assert found.points(ACTIVE) == []


def test_a_provider_that_records_nothing() -> None:
    """Requests are measured, and are over, where the tracer provider makes no valid spans."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    installed = causal_otel.install(patches=["asgi"], tracer_provider=NoOpTracerProvider(), meter_provider=meters)
    try:
        with serve(app) as url:
            response = httpx.get(f"{url}/items/1", trust_env=False)
        assert "x-trace-id" not in response.headers
        data: Any = reader.get_metrics_data()
        metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
        assert metrics[SERVER].data.data_points[0].attributes["http.route"] == "/items/{i}"
        assert metrics[ACTIVE].data.data_points[0].value == 0
    finally:
        installed.uninstall()
        meters.shutdown()


def test_one_request_at_a_time_and_many() -> None:
    """However many requests end at once in however many threads, none is counted twice or forgotten."""
    with serve(echo_app) as url, measured(["httpx", "asgi"], ALWAYS_OFF) as found:

        def work() -> None:
            with httpx.Client(trust_env=False) as client:
                for _ in range(50):
                    client.get(f"{url}/echo")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: active(found) == 0)
        assert sum(point.count for point in found.points(CLIENT)) == 200
        assert sum(point.count for point in found.points(SERVER)) == 200
