"""Servers that are told to end: the spans of all requests that they have answered are exported or in the spool."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
import wrapt

from causal_otel.export.shutdown_hooks import ServerShutdown
from causal_otel.testing.process import LOOPBACK, Process, claim_port, http_status, process
from tests.faults.programs import environment, run, send_spool
from tests.faults.scripted import hang, scripted
from tests.patches.http_server import echo_app, serve

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

ROOT = Path(__file__).parents[2]
APP = "tests.faults.server_app:app"
REQUESTS = 20


_UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--host", LOOPBACK, APP, "--port"]
_GUNICORN = [sys.executable, "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", "2", APP, "--bind"]
SERVERS = {
    "uvicorn": [*_UVICORN, "{port}"],
    "uvicorn --workers": [*_UVICORN, "{port}", "--workers", "2"],
    "gunicorn": [*_GUNICORN, f"{LOOPBACK}:{{port}}"],
    "gunicorn --preload": [*_GUNICORN, f"{LOOPBACK}:{{port}}", "--preload"],
    "gunicorn, threads": [
        *(sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "2", "tests.faults.wsgi_app:app"),
        *("--bind", f"{LOOPBACK}:{{port}}"),
    ],
    "gunicorn, threads, --preload": [
        *(sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "2", "--preload", "tests.faults.wsgi_app:app"),
        *("--bind", f"{LOOPBACK}:{{port}}"),
    ],
}


@contextmanager
def _server(command: Sequence[str], **variables: str) -> Iterator[tuple[str, Process]]:
    port = claim_port(None, "server")
    url = f"http://{LOOPBACK}:{port}/"
    with process(
        [part.replace("{port}", str(port)) for part in command],
        name="server",
        cwd=ROOT,
        env=environment(**variables),
        ready=lambda _: http_status(url) == 200,
    ) as running:
        yield url, running


@pytest.mark.long
@pytest.mark.parametrize("patch", ["", "1"])
@pytest.mark.parametrize("name", SERVERS)
def test_sigterm_of_a_server(receiver: ReceivedSpans, name: str, patch: str) -> None:
    """All spans of the requests that a server has answered are exported when SIGTERM ends it, patched or not."""
    pids = Counter[int]()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with _server(SERVERS[name], OTLP_ENDPOINT=receiver.endpoint, PATCH_ASGI=patch) as (url, running):
        for _ in range(REQUESTS):
            with opener.open(url + "work", timeout=60) as response:
                pids[json.loads(response.read())["pid"]] += 1
        assert not receiver.spans()
        running.stop(signal.SIGTERM, timeout=30.0)
        assert "Traceback" not in running.output(), running.output()
    assert sum(span["name"] == "work" for span in receiver.spans()) == sum(pids.values()) == REQUESTS


@pytest.mark.long
def test_time_is_bounded_under_a_server_whose_collector_hangs() -> None:
    """A server with a hanging collector still ends on SIGTERM, and does not have to be killed."""
    with (
        scripted(hang) as collector,
        _server(SERVERS["uvicorn"], OTLP_ENDPOINT=collector.endpoint, TRACING_EXIT_TIMEOUT="0.5", PATCH_ASGI="1") as (
            url,
            running,
        ),
    ):
        assert http_status(url) == 200
        begun = time.monotonic()
        running.stop(signal.SIGTERM, timeout=60.0)
        assert running.wait(0) in (0, -signal.SIGTERM), time.monotonic() - begun


@pytest.mark.long
def test_spool_of_a_server_whose_collector_hangs(tmp_path: Path) -> None:
    """What a hanging collector did not take when SIGTERM ended a server is in the spool, the attempt under way too."""
    spool = str(tmp_path / "spool")
    variables = {"TRACING_SPOOL_DIRECTORY": spool, "TRACING_EXIT_TIMEOUT": "3", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with (
        scripted(hang) as collector,
        _server(SERVERS["uvicorn"], OTLP_ENDPOINT=collector.endpoint, **variables) as (url, running),
    ):
        for _ in range(REQUESTS):
            opener.open(url + "work", timeout=60).close()
        running.stop(signal.SIGTERM, timeout=60.0)
    with scripted() as collector:
        send_spool(spool, collector.endpoint)
        sent = {request.body: request.names for request in collector.requests}  # a slow answer makes it ask again
        assert [name for names in sent.values() for name in names].count("work") == REQUESTS


def test_uvicorn_in_a_program_that_goes_on(receiver: ReceivedSpans) -> None:
    """After uvicorn has shut down inside a program, what ends then is exported; uninstall() puts uvicorn's back."""
    done = run(
        """
        import asyncio, uvicorn, causal_otel
        original = uvicorn.Server.shutdown
        installed = causal_otel.install(patches=[], schedule_delay=60.0)

        async def app(scope, receive, send):
            with causal_otel.span("in uvicorn"):
                pass

        async def main():
            server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_level="critical"))
            server.should_exit = False
            serving = asyncio.create_task(server.serve())
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            server.should_exit = True
            await serving
            assert installed.status().export.exported == 1, installed.status()
            with causal_otel.span("after"):
                pass

        asyncio.run(main())
        assert uvicorn.Server.shutdown is not original
        causal_otel.uninstall()
        assert uvicorn.Server.shutdown is original
        """,
        OTLP_ENDPOINT=receiver.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [span["name"] for span in receiver.spans()] == ["in uvicorn", "after"]


def test_uvicorn_behind_somebody_else_s_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose shutdown another tool has wrapped shuts down, and spans are exported when it has."""
    order: list[str] = []

    async def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        await wrapped(*args, **kwargs)
        order.append("shut down")

    monkeypatch.setattr(uvicorn.Server, "shutdown", wrapt.FunctionWrapper(uvicorn.Server.shutdown, around))
    hook = ServerShutdown(lambda: order.append("exported"))
    try:
        with serve(echo_app):
            pass
    finally:
        hook.remove()
    assert order == ["shut down", "exported"]
