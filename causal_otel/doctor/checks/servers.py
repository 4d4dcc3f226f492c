"""What goes wrong with a server that forks, or that runs without threads."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from causal_otel.destination import destination
from causal_otel.doctor.facts import Application, Facts
from causal_otel.doctor.finding import Finding, Kind, Severity
from causal_otel.doctor.fixes import assign

__all__ = ["KINDS", "check"]

_NO_THREADS = Kind(
    "server-without-threads",
    Severity.ERROR,
    "uWSGI runs Python without threads.",
    "Spans are exported by threads: without them nothing is ever sent.",
)
_GRPC_FORK = Kind(
    "grpc-and-fork",
    Severity.WARNING,
    "The server forks after the application was imported, and spans are sent by gRPC.",
    "gRPC's own threads do not survive a fork: a span that ends before it can make a worker hang.",
)
_GRPC_GREENLETS = Kind(
    "grpc-and-greenlets",
    Severity.WARNING,
    "The server runs greenlets, and spans are sent by gRPC.",
    "gRPC waits in C, where no other greenlet runs: every export stops all of them.",
)

KINDS = (_NO_THREADS, _GRPC_FORK, _GRPC_GREENLETS)

_GREENLETS = ("gevent", "eventlet")


def check(facts: Facts) -> Iterator[Finding]:
    """Look at how the server runs the application."""
    application, settings = facts.application, facts.settings
    if application is None:
        return
    if application.options.get("enable-threads") is False:
        yield _NO_THREADS(
            "uwsgi is started without enable-threads.", "uwsgi --enable-threads ...    # or enable-threads = true"
        )
    if settings is None or not settings.wanted or settings.exporter not in ("otlp", "jaeger"):
        return
    if destination(settings)[0] != "grpc":
        return
    host = urlsplit(destination(settings)[1]).hostname
    by_http = "\n".join((assign(facts, "protocol", "http/protobuf"), assign(facts, "endpoint", f"http://{host}:4318")))
    greenlets = _greenlets(application)
    if greenlets:
        yield _GRPC_GREENLETS(f"{application.server} runs {greenlets}, and the protocol is grpc.", by_http)
    forks = _forks(application)
    if forks:
        yield _GRPC_FORK(f"{forks}, and the protocol is grpc.", by_http)


def _forks(application: Application) -> str:
    """How the server forks after the import; empty: it does not."""
    options = application.options
    if options.get("preload"):
        return "gunicorn preloads the application and forks its workers"
    if options.get("pool") == "prefork":
        return "Celery's prefork pool forks its processes after the import"
    return "uWSGI forks its workers after the import" if application.server == "uwsgi" else ""


def _greenlets(application: Application) -> str:
    kind = str(application.options.get("worker") or application.options.get("pool") or "")
    return next((each for each in _GREENLETS if each in kind), "")
