"""Metrics of requests that WSGI applications serve: by route, and over when the response is closed."""

from __future__ import annotations

import flask
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from causal_otel.patches.wsgi import WsgiMiddleware, WsgiOptions
from tests.metrics.measuring import measured
from tests.patches.wsgi_app import WAIT, Answer, app, ask, make_environ

DURATION, ACTIVE = "http.server.request.duration", "http.server.active_requests"
traced = WsgiMiddleware(app)


def _flask() -> WsgiMiddleware:
    shop = flask.Flask("shop")
    shop.add_url_rule("/orders/<int:number>", "order", lambda number: "order")
    return WsgiMiddleware(shop)


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "not sampled"])
def test_duration(sampler: Sampler) -> None:
    """A request is measured by its route, sampled or not; an exception, a 500 and a client that leaves are errors."""
    with measured(["wsgi"], sampler) as found:
        for path in ("/orders/1", "/orders/2"):
            ask(_flask(), path)
        ask(traced, "/status/500", valid=False)
        ask(traced, "/stream", parts=1)
        with pytest.raises(ValueError, match="went wrong"):
            ask(traced, "/boom")
        points = {
            (point.attributes.get("http.route"), point.attributes.get("error.type")): point
            for point in found.points(DURATION)
        }
        assert {key: point.count for key, point in points.items()} == {
            ("/orders/<int:number>", None): 2,
            (None, "500"): 1,
            (None, "client_disconnected"): 1,
            (None, "ValueError"): 1,
        }
        assert points[None, "500"].sum >= WAIT
        assert [point.value for point in found.points(ACTIVE)] == [0]


def test_active() -> None:
    """A request is active until its response is closed."""
    with measured(["wsgi"]) as found:
        body = traced(make_environ("/"), Answer().start)
        assert [point.value for point in found.points(ACTIVE)] == [1]
        assert list(body) == [b"text"]
        body.close()  # type: ignore[attr-defined]
        assert [point.value for point in found.points(ACTIVE)] == [0]


def test_what_is_excluded_is_not_measured() -> None:
    """An excluded request has no metrics."""
    with measured({"wsgi": WsgiOptions(excluded=("/health",))}) as found:
        ask(traced, "/health")
        assert found.points(DURATION) == []
