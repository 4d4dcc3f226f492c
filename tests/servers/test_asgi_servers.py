"""The asgi patch on every server and wherever it is installed: one SERVER span a request, and SIGTERM loses none."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.serving import GUNICORN, assert_requests, cases, module, send_requests, served, stop
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.services.received import ReceivedSpans

APP = "tests.servers.asgi_app:app"
_UVICORN = module("uvicorn", APP, "--host", "{host}", "--port", "{port}")
_GUNICORN = module("gunicorn", APP, "-k", "uvicorn_worker.UvicornWorker", "-w", "2", *GUNICORN)
_HYPERCORN = module("hypercorn", APP, "--bind", "{host}:{port}", "--graceful-timeout", "2")
_GRANIAN = module("granian", APP, "--interface", "asgi", "--host", "{host}", "--port", "{port}")
SERVERS = {
    "uvicorn": _UVICORN,
    "uvicorn --workers": [*_UVICORN, "--workers", "2"],
    "gunicorn": _GUNICORN,
    "gunicorn --preload": [*_GUNICORN, "--preload"],
    "hypercorn": [*_HYPERCORN, "-k", "asyncio"],
    "hypercorn --workers": [*_HYPERCORN, "-k", "asyncio", "-w", "2"],
    "hypercorn, trio": [*_HYPERCORN, "-k", "trio"],
    "granian": _GRANIAN,
    "granian --workers": [*_GRANIAN, "--workers", "2"],
}
_OFTEN = {
    ("gunicorn --preload", "post_fork"),
    ("hypercorn", "import"),
    ("hypercorn, trio", "lifespan"),
    ("granian", "import"),
}
"""What ``make test`` runs; the rest is for ``make test-long``."""


@pytest.mark.parametrize(("server", "install"), cases(SERVERS, _OFTEN, ("import", "lifespan")))
def test_requests(receiver: ReceivedSpans, server: str, install: str) -> None:
    """Every request is one SERVER span with its route, its status and its caller as the parent, and none is lost."""
    with served(receiver, SERVERS[server], install) as running:
        send_requests(running.url)
        assert not receiver.spans()
        stop(running)
    assert_requests(receiver, "{%s}")


def test_a_server_that_ends_by_itself(receiver: ReceivedSpans) -> None:
    """Uvicorn ends after its last allowed request: all spans are there."""
    with served(receiver, [*_UVICORN, "--limit-max-requests", "9"]) as running:
        send_requests(running.url)  # after one that it was ready for
        running.process.wait(60.0)
    assert_requests(receiver, "{%s}")


@pytest.mark.long
def test_a_server_that_loads_its_application_anew(receiver: ReceivedSpans, tmp_path: Path) -> None:
    """Uvicorn's reloader ends the old process, whose spans arrive, and the new one is traced as well."""
    source = tmp_path / "changed.py"
    source.write_text("")
    with served(receiver, [*_UVICORN, "--reload", "--reload-dir", str(tmp_path), "--reload-delay", "0.1"]) as running:
        old = send_requests(running.url)
        source.write_text("changed = True")
        wait_until(lambda: receiver.spans(), "the old process has exported nothing")
        wait_until(lambda: len([span for span in receiver.spans() if span["name"] == "work"]) == 6)
        assert_requests(receiver, "{%s}")
        receiver.clear()
        wait_until(lambda: "Application startup complete" in running.process.output().rpartition("Reloading")[2])
        new = send_requests(running.url)
        assert old.isdisjoint(new)
        os.kill(running.process.pid, signal.SIGTERM)
        running.process.wait(60.0)
    assert_requests(receiver, "{%s}")
