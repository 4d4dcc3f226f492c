"""What fails in tracing a WSGI request reaches nobody: the response is the same, and the application is called once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import propagate
from opentelemetry.sdk.trace.sampling import Sampler

import causal_otel
from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.provider import TracerProvider
from causal_otel.patches.wsgi import WsgiMiddleware, WsgiOptions, exchange, serving
from tests.patches.asgi_requests import server
from tests.patches.wsgi_app import Answer, app, ask, make_environ
from tests.recording import recording
from tests.span_relations import trace_id


class Broken(Exception):
    """Ours, raised where tracing goes wrong."""


def _broken(*args: Any, **kwargs: Any) -> Any:
    raise Broken


class _BrokenSampler(Sampler):
    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        raise Broken

    def get_description(self) -> str:
        return "broken"


class _Hostile:
    """A propagator that is broken."""

    fields = property(_broken)
    extract = inject = _broken


PLACES: dict[str, Callable[[pytest.MonkeyPatch], Any]] = {
    "beginning": lambda patch: patch.setattr(serving, "request_attributes", _broken),
    "exchange": lambda patch: patch.setattr(serving, "Exchange", _broken),
    "headers": lambda patch: patch.setattr(serving, "trace_headers", _broken),
    "answer": lambda patch: patch.setattr(exchange.Exchange, "answered", _broken),
    "parts": lambda patch: patch.setattr(exchange.Exchange, "hands_over", _broken),
    "sizes": lambda patch: patch.setattr(exchange.Exchange, "_add_sizes", _broken),
    "end": lambda patch: patch.setattr(exchange.Exchange, "_finish", _broken),
    "propagator": lambda patch: patch.setattr(propagate, "get_global_textmap", _Hostile),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("path", ["/", "/stream", "/list", "/write", "/boom"])
def test_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch, place: str, path: str) -> None:
    """Wherever we fail, the request is served as without us, and the fault is counted."""
    called: list[str] = []

    def counted(environ: Any, start_response: Any) -> Any:
        called.append(environ["PATH_INFO"])
        return app(environ, start_response)

    installed = causal_otel.install(patches=["wsgi"], tracer_provider=TracerProvider())
    before = sum(faults.counts().values())
    try:
        with monkeypatch.context() as patch:
            PLACES[place](patch)
            assert _outcome(WsgiMiddleware(counted), path) == _outcome(app, path)
    finally:
        installed.uninstall()
    assert called == [path]
    quiet = {("parts", "/list"), ("parts", "/boom"), ("answer", "/boom")}
    assert sum(faults.counts().values()) > before or (place, path) in quiet


@pytest.mark.parametrize("path", ["/", "/stream", "/boom"])
def test_code_of_the_user_s_that_raises(path: str) -> None:
    """A sampler and hooks that raise change nothing."""
    provider = TracerProvider(sampler=_BrokenSampler())
    options = WsgiOptions(request_hook=_broken, response_hook=_broken)
    installed = causal_otel.install(patches={"wsgi": options}, tracer_provider=provider)
    try:
        assert _outcome(WsgiMiddleware(app), path) == _outcome(app, path)
    finally:
        installed.uninstall()


def _outcome(of: Any, path: str) -> tuple[Any, ...]:
    """What the server sees."""
    answer = Answer()
    try:
        body = of(make_environ(path), answer.start)
        parts = list(body)
        if hasattr(body, "close"):
            body.close()
    except Exception as error:
        return type(error), str(error)
    return answer.status, answer.headers["Content-Type"], parts, answer.written


def test_a_runtime_context_of_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another runtime context than OpenTelemetry's default, what is inside is still inside, part by part."""
    with recording(["wsgi"]) as kept:
        monkeypatch.setattr(context, "variable", None)
        for path in ("/stream", "/block"):
            ask(WsgiMiddleware(app), path)
            request = server(kept)
            inside = [span for span in kept.spans if span is not request]
            assert len(inside) >= 3
            assert {span.context.trace_id for span in inside if span.context} == {int(trace_id(request), 16)}
            kept.clear()
        assert causal_otel.current_trace_id() is None
