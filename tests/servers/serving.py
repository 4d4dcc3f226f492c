"""Real servers in processes of their own, the requests that tests send, and the spans that must come of these."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from causal_otel.testing.process import LOOPBACK, Process, ServerError, claim_port, http_status, process
from tests.faults.programs import environment
from tests.span_relations import assert_span

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpan, ReceivedSpans

__all__ = ["GUNICORN", "Served", "assert_requests", "cases", "module", "send_requests", "served", "stop"]

ROOT = Path(__file__).parents[2]
REQUESTS = 6
_SECONDS_TO_END = 10.0
_SIGNALS = 6
GUNICORN = ("-c", "tests/servers/gunicorn_conf.py", "--bind", "{host}:{port}")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Served(NamedTuple):
    """A server that is ready."""

    url: str
    process: Process


def cases(servers: Iterable[str], often: Container[tuple[str, str]], installs: Iterable[str]) -> list[Any]:
    """Pairs of a server and where the application installs, for ``parametrize``.

    Args:
        servers: their names.
        often: the pairs that ``make test`` runs; the others are marked ``long``.
        installs: where it may be done on each; gunicorn has ``post_fork`` besides.
    """
    found = []
    for server in servers:
        for install in (*installs, *(["post_fork"] if server.startswith("gunicorn") else [])):
            marks = () if (server, install) in often else (pytest.mark.long,)
            found.append(pytest.param(server, install, marks=marks, id=f"{server}, {install}"))
    return found


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module; ``{host}`` and ``{port}`` stand for where it serves."""
    return [sys.executable, "-m", name, *arguments]


@contextmanager
def served(receiver: ReceivedSpans, command: Sequence[str], install: str = "import") -> Iterator[Served]:
    """Run a server, which exports to ``receiver``, until the block ends.

    Args:
        receiver: an OTLP receiver.
        command: the server's.
        install: where the application installs.
    """
    workers = 2 if "gunicorn" in command else 0

    def is_ready(server: Process) -> bool:
        return http_status(f"{url}/") == 200 and server.output().count("worker is ready") == workers

    port = claim_port(None, "server")
    url = f"http://{LOOPBACK}:{port}"
    with process(
        [part.replace("{host}", LOOPBACK).replace("{port}", str(port)) for part in command],
        name="server",
        cwd=ROOT,
        env=environment(
            INSTALL=install,
            OTLP_ENDPOINT=receiver.endpoint,
            PYTHONPATH=str(ROOT),
        ),
        ready=is_ready,
    ) as running:
        try:
            yield Served(url, running)
        finally:
            print(running.output())  # shown where the test fails


def _traceparent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def _get(url: str, number: int) -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, headers={"traceparent": _traceparent(number)})
    try:
        with _OPENER.open(request, timeout=60) as response:
            return response.status, response.headers["X-Trace-Id"], response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Trace-Id"], error.read()


def send_requests(url: str) -> set[int]:
    """Send some of each kind, all of which tell their trace's id; gives the processes that have answered."""
    pids = set()
    for number in range(1, REQUESTS + 1):
        status, trace_id, body = _get(f"{url}/items/{number}", number)
        assert (status, trace_id) == (200, f"{number:032x}")
        pids.add(json.loads(body)["pid"])
    for number, path in enumerate(("status/503", "nowhere"), REQUESTS + 1):
        status, trace_id, _ = _get(f"{url}/{path}", number)
        assert (status, trace_id) == (503 if path.startswith("status") else 404, f"{number:032x}")
    return pids


def assert_requests(received: ReceivedSpans, parameter: str) -> None:
    """Each request has come to exactly one SERVER span, and all have arrived.

    Args:
        received: what has arrived.
        parameter: how the framework writes the parameter of a route, with ``%s`` for its name.
    """
    spans: dict[str, list[ReceivedSpan]] = {}
    for span in received.spans():
        spans.setdefault(span["trace_id"], []).append(span)
    for number in range(1, REQUESTS + 3):
        found = spans[f"{number:032x}"]
        [request] = [span for span in found if span["kind"] == "SERVER"]
        assert request["parent_span_id"] == f"{number:016x}"
        attributes = request["attributes"]
        if number <= REQUESTS:
            expected = ("UNSET", f"GET /items/{parameter % 'number'}", 200)
            [work] = [span for span in found if span["name"] == "work"]
            assert_span(work, request)
        elif number == REQUESTS + 1:
            expected = ("ERROR", f"GET /status/{parameter % 'status'}", 503)
        else:
            expected = ("UNSET", "GET", 404)
        told = request["status"]["code"], request["name"], attributes["http.response.status_code"]
        assert told == expected


def stop(server: Served) -> None:
    """End a server by SIGTERM, which it survives without a complaint.

    A worker of granian's can miss a signal that comes while its first request starts threads, with any application. So
    the whole group of processes gets another one where it is needed, as systemd would send it.
    """
    os.kill(server.process.pid, signal.SIGTERM)
    for _ in range(_SIGNALS):
        with contextlib.suppress(ServerError):
            server.process.wait(_SECONDS_TO_END)
            break
        os.killpg(server.process.pid, signal.SIGTERM)
    else:
        server.process.wait(_SECONDS_TO_END)
    assert "Traceback" not in server.process.output(), server.process.output()
