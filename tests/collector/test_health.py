"""Who watches over a collector learns whether it lives, and whether it can keep what comes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from causal_otel.collector.store.writer import QueueFull, StoreError, Writer
from tests.collector.running import Running, now, one_span, running
from tests.collector.spans import request, span, traces
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A collector with a token."""
    with running(tmp_path_factory.mktemp("traces"), environ={"CAUSAL_OTEL_COLLECTOR_TOKEN": "a-token"}) as found:
        yield found


@pytest.mark.parametrize("port", ["pages", "http"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "body"), [("/health", "ok\n"), ("/ready", "ready\n")])
def test_no_token_is_needed(guarded: Running, port: str, method: str, path: str, body: str) -> None:
    """Both answer on the ports of the pages and of OTLP/HTTP, without the token that everything else asks for."""
    response = httpx.request(method, getattr(guarded, port) + path, trust_env=False, timeout=30)
    assert (response.status_code, response.text) == (200, "" if method == "HEAD" else body)
    assert guarded.get("/status.json").status_code == 401
    assert guarded.post(one_span(1)).status_code == 401


def test_not_ready_while_nothing_can_be_kept(tmp_path: Path) -> None:
    """When spans could not be written, /ready is 503 with the reason until some could; /health stays 200."""
    directory = tmp_path / "traces"
    with running(directory) as collector:
        assert collector.get("/ready").status_code == 200
        shutil.rmtree(directory)
        assert collector.post(one_span(1)).status_code == 503
        for port in (collector.pages, collector.http):
            response = httpx.get(f"{port}/ready", trust_env=False, timeout=30)
            assert response.status_code == 503
            assert str(directory) in response.text
            assert httpx.get(f"{port}/health", trust_env=False, timeout=30).status_code == 200


_OWN_DISK = ("unshare", "--user", "--mount", "--map-root-user")
_MOUNT = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Running]:
    """A collector whose directory is a disk of 4 MB of its own."""
    directory = tmp_path / "traces"
    directory.mkdir()
    wrapper = (*_OWN_DISK, "sh", "-c", _MOUNT, str(directory))
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets nobody mount a disk of their own (unshare)")
    with running(directory, wrapper=wrapper) as found:
        yield found


def _ready(collector: Running) -> tuple[int, str]:
    response = collector.get("/ready")
    return response.status_code, response.text


_PAGES = (
    *("/", "/live", "/operations", "/map", "/compare", "/compare?groups=1", "/status", f"/trace/{1:032x}", "/nowhere"),
    *("/errors", "/error?type=none", "/runtime", "/service?service=shop", "/operation?service=shop&operation=work"),
    *("/different?box.shortest=1ms", "/import", "/keys", "/jump?trace=x"),
)


def _banner(collector: Running, path: str) -> str:
    """What a page says of the collector; empty: nothing."""
    html = collector.get(path, accept="text/html").text
    assert html.startswith("<!doctype html>")
    return html.partition('<aside class="troubles"')[2].partition("</aside>")[0]


def _tells(collector: Running, path: str, text: str) -> bool:
    return text in _banner(collector, path)


def _is_quiet(collector: Running, path: str) -> bool:
    return not _banner(collector, path)


def test_pages_tell_of_clocks_that_are_wrong(tmp_path: Path) -> None:
    """Spans from next week and of last year, and ids that are none, are told on every page, with what is the matter."""
    with running(tmp_path / "traces") as collector:
        assert _banner(collector, "/") == ""
        day = 86400 * 10**9
        late = [span(trace=n, start=now() + 7 * day) for n in (1, 2)]
        early, invalid = span(trace=3, start=now() - 300 * day), span(trace=0, start=now())
        assert collector.post(request(traces(*late, early, invalid))).status_code == 200
        for path in _PAGES:
            told = _banner(collector, path)
            assert "A clock is wrong: 2 spans say that they start over an hour from now" in told
            assert "A clock is wrong: 1 span says that it started before the days that are kept" in told
            assert "1 span was refused: its ids are not valid" in told


def test_not_ready_while_the_disk_is_full(small_disk: Running, tmp_path: Path) -> None:
    """A full disk is noticed without a request that fails; when there is room again it is ready, and keeps spans."""
    assert _ready(small_disk) == (200, "ready\n")
    filler = Path(f"/proc/{small_disk.process.pid}/root{tmp_path}/traces/filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    wait_until(lambda: _ready(small_disk)[0] == 503)
    assert "the disk is full: make room" in _ready(small_disk)[1]
    assert small_disk.get("/health").status_code == 200
    assert small_disk.get("/status.json").json()["not_ready"]
    assert small_disk.metrics()["causal_collector_ready"] == 0
    for path in _PAGES:
        wait_until(partial(_tells, small_disk, path, "the disk is full: make room"))
    assert '<a href="/status">' in _banner(small_disk, "/")
    filler.unlink()
    wait_until(lambda: _ready(small_disk)[0] == 200)
    for path in _PAGES:
        wait_until(partial(_is_quiet, small_disk, path))
    assert small_disk.post(one_span(1)).status_code == 200
    assert small_disk.metrics()["causal_collector_ready"] == 1


def test_not_ready_while_the_directory_is_read_only(tmp_path: Path) -> None:
    """A directory that takes no files is noticed without a request that fails, and so is that it takes some again."""
    directory = tmp_path / "traces"
    # Root may write everywhere, unless this is taken away from it.
    wrapper = () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override")
    with running(directory, wrapper=wrapper) as collector:
        assert _ready(collector)[0] == 200
        directory.chmod(0o500)
        wait_until(lambda: _ready(collector)[0] == 503)
        assert "Permission denied" in _ready(collector)[1]
        assert "that the directory is writable" in _ready(collector)[1]
        directory.chmod(0o700)
        wait_until(lambda: _ready(collector)[0] == 200)


def test_ready_again_without_being_sent_anything(tmp_path: Path) -> None:
    """After spans could not be written it is ready as soon as some can be: who is not ready is sent nothing."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))"
    limited = f"import os, resource, sys; {limit}; os.execvp(sys.argv[1], sys.argv[1:])"
    with running(tmp_path, wrapper=(sys.executable, "-c", limited)) as collector:
        noise = os.urandom(3 * 2**20).hex()
        assert collector.post(request(traces(span(tags={"noise": noise})))).status_code == 503
        wait_until(lambda: _ready(collector)[0] == 200)


def test_not_ready_when_the_writer_has_stopped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A writer that dies refuses what waits and what comes, says so to /ready and /health, and is logged."""
    broken = False

    def clock() -> float:
        if broken:
            raise MemoryError("no more")
        return 1e9

    writer = Writer(tmp_path, clock=clock)
    writer.start()
    assert (writer.not_ready(), writer.stopped) == ("", "")
    broken = True
    wait_until(lambda: bool(writer.stopped))
    assert re.search(r"the writer has stopped \(MemoryError.*start the collector anew", writer.not_ready())
    with pytest.raises(StoreError, match="the writer has stopped"):
        writer.put(request(traces(span()))).result(30)
    assert "the writer has stopped" in caplog.text
    writer.close(30)


def test_metrics_of_what_is_kept(guarded: Running) -> None:
    """/metrics tells traces received and stored, days, age of the oldest, limits, and what the limit has cost."""
    bearer = {"authorization": "Bearer a-token"}
    before = guarded.get("/status.json", **bearer).json()
    assert guarded.post(request(traces(span(trace=71), span(trace=72), span(trace=72))), **bearer).status_code == 200
    after = guarded.get("/status.json", **bearer).json()
    assert after["writer"]["traces"] == before["writer"]["traces"] + 2
    lines = guarded.get("/metrics", **bearer).text.splitlines()
    samples = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    assert samples["causal_store_traces_received_total"] == after["writer"]["traces"]
    assert samples["causal_store_traces"] == after["store"]["traces"] >= 2
    assert samples["causal_store_days"] == len(after["store"]["days"]) >= 1
    assert samples["causal_store_oldest_age_seconds"] >= after["store"]["oldest_age"] > 0
    assert samples["causal_store_retention_seconds"] == 30 * 86400
    assert samples["causal_store_limit_bytes"] == 5e9
    assert samples["causal_store_free_bytes"] > 0
    assert samples["causal_store_retention_lost_seconds"] == samples["causal_store_retention_early_days_total"] == 0
    assert samples["causal_collector_ready"] == 1


def test_not_ready_while_too_much_waits(tmp_path: Path) -> None:
    """A writer whose queue is full says so, and one that has caught up does not."""
    body = request(traces(span()))
    writer = Writer(tmp_path, queue_bytes=len(body))
    waiting = writer.put(body)
    with pytest.raises(QueueFull):
        writer.put(request(traces(span("another"))))
    assert writer.not_ready() == "too many spans are waiting to be written"
    writer.start()
    assert waiting.result(30).spans == 1
    assert writer.not_ready() == ""
    writer.close(30)
