"""Strategies that change while the program runs, from files, URLs and servers: the last good word counts."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.provider import TracerProvider
from causal_otel.engine.samplers import RuleSampler
from causal_otel.sampling import sources
from causal_otel.sampling.described import default_rules, share_of_all
from causal_otel.sampling.rules import of_answer, of_file
from causal_otel.sampling.sources import FileSource, RemoteSource, Source, UrlSource
from causal_otel.sampling.watch import Watch
from tests.collector.running import running
from tests.faults.scripted import answer, hang, refused_port, reset, scripted, trickle, trickle_headers
from tests.waiting import wait_until

_THREADS, _ROOTS = 4, 250


def _document(share: float) -> str:
    return json.dumps({"default_strategy": {"type": "probabilistic", "param": share}})


class _Watched:
    """A provider whose sampler goes by a source that is asked twenty times a second."""

    def __init__(self, source: Source, understand: Callable[[bytes], Any], share: float | None = None) -> None:
        source.interval = 0.05
        first = default_rules() if share is None else share_of_all(share)
        sampler = RuleSampler(first.rules)
        self.watch = Watch(sampler, source, understand, first)
        self.tracer = TracerProvider(sampler, Resource({})).get_tracer("t")

    def sampled(self) -> bool:
        """Whether a root is recorded; the first one starts the thread."""
        return self.tracer.start_span("x").is_recording()

    def say(self, words: str) -> None:
        """Wait until the source's word about everything is this."""
        self.sampled()
        wait_until(lambda: self.watch.status().rules[-1] == f"else: {words}")

    def fail(self, *parts: str) -> None:
        """Wait until there is such a problem."""
        self.sampled()
        wait_until(lambda: all(part in self.watch.status().problem for part in parts) and bool(parts))


@pytest.fixture
def watching() -> Iterator[Callable[..., _Watched]]:
    """Makes watches, and ends them; nothing of ours may have failed inside."""
    before = faults.counts()
    made: list[_Watched] = []

    def watch(source: Source, understand: Callable[[bytes], Any] | None = None, share: float | None = None) -> _Watched:
        made.append(_Watched(source, understand or (lambda data: of_file(data, "any")), share))
        return made[-1]

    yield watch
    for each in made:
        each.watch.close()
    assert faults.counts() == before


# -- files --------------------------------------------------------------------------------------------------------


def _garbage(path: Path) -> str:
    path.write_text('{\n"default_strategy": oops')
    return "line 2, column 21: "


def _truncated(path: Path) -> str:
    os.truncate(path, 5)
    return "line 1, column 2: "


def _emptied(path: Path) -> str:
    path.write_bytes(b"")
    return "line 1, column 1: "


def _removed(path: Path) -> str:
    path.unlink()
    return "No such file or directory"


def _unreadable(path: Path) -> str:
    path.unlink()
    path.mkdir()  # root may read files of any mode
    return "it is no regular file"


def test_requests_go_by_the_last_good_file(tmp_path: Path, watching: Callable[..., _Watched]) -> None:
    """While 10,000 roots start in threads and the file breaks in every way, each is decided by the last good one."""
    path = tmp_path / "strategies.json"
    path.write_text(_document(1))
    watched = watching(FileSource(path), share=0.0)
    decided = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for breaks in (_garbage, _truncated, _emptied, _removed, _unreadable):
            for share in (1, 0):
                if path.is_dir():
                    path.rmdir()
                fresh = tmp_path / "fresh"
                fresh.write_text(_document(share))
                fresh.replace(path)
                watched.say("everything" if share else "nothing")
                wait_until(lambda: watched.watch.status().problem == "")
                under_way = threading.Barrier(_THREADS + 1)

                def requests(gate: threading.Barrier = under_way) -> list[bool]:
                    first = [watched.sampled() for _ in range(_ROOTS // 2)]
                    gate.wait(60)
                    gate.wait(60)
                    return first + [watched.sampled() for _ in range(_ROOTS // 2)]

                futures = [pool.submit(requests) for _ in range(_THREADS)]
                under_way.wait(60)
                problem = breaks(path)
                watched.fail(problem, str(path))
                under_way.wait(60)
                for future in futures:
                    found = future.result(60)
                    assert found == [bool(share)] * _ROOTS
                    decided += len(found)
    assert decided == 10_000


def test_file_that_is_good_again_has_no_problem(tmp_path: Path, watching: Callable[..., _Watched]) -> None:
    """A file that comes back just as it was is no problem any more."""
    path = tmp_path / "strategies.json"
    path.write_text(_document(0.25))
    watched = watching(FileSource(path))
    watched.say("25 %")
    path.rename(tmp_path / "elsewhere")
    watched.fail("No such file")
    (tmp_path / "elsewhere").rename(path)
    wait_until(lambda: watched.watch.status().problem == "")
    status = watched.watch.status()
    assert (status.source, status.rules, status.warnings) == (str(path), ("else: 25 %",), ())
    assert status.changed is not None


def test_file_rewritten_at_the_same_time_and_size(tmp_path: Path) -> None:
    """A file written twice within what its time can tell apart is read twice."""
    path = tmp_path / "strategies.json"
    path.write_text(_document(0.1))
    source = FileSource(path)
    assert source.fetch() == _document(0.1).encode()
    times = path.stat()
    path.write_text(_document(0.2))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert source.fetch() == _document(0.2).encode()
    os.utime(path, (1, 1))
    assert source.fetch() is not None
    assert source.fetch() is None


def test_a_problem_is_logged_once(
    tmp_path: Path, watching: Callable[..., _Watched], caplog: pytest.LogCaptureFixture
) -> None:
    """However often the source is asked, each problem is one line in the log, until there has been a good word."""
    path = tmp_path / "strategies.json"
    path.write_text("oops")
    watched = watching(FileSource(path))
    with caplog.at_level(logging.WARNING, "causal_otel"):
        for _ in range(5):
            watched.watch.look()
        path.write_text('{"default_strategy": {"type": "probabilistic", "param": 50}}')
        for _ in range(5):
            watched.watch.look()
        path.write_text(_document(1))
        watched.watch.look()
        path.write_text("oops")
        watched.watch.look()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition("strategies.json, ")[2].partition(";")[0] for line in lines] == [
        "line 1, column 1: Expecting value",
        "line 1: param must be a number from 0 to 1, not 50",
        "line 1, column 1: Expecting value",
    ]


def test_first_root_starts_the_only_thread(tmp_path: Path) -> None:
    """No thread runs before a root is decided, one from then on, none after the end; nothing that it does is traced."""

    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "causal-otel-sampling"}

    seen: list[bool] = []

    class Asked:
        name, interval = "asked", 60.0

        def fetch(self) -> bytes | None:
            seen.append(context.is_suppressed(context.current()))
            return _document(0).encode()

    watched = _Watched(Asked(), lambda data: of_file(data, "any"))
    before = threads()
    assert seen == []
    for _ in range(3):
        watched.sampled()
    watched.say("nothing")
    (started,) = threads() - before  # some of those before may end meanwhile
    watched.watch.close()
    wait_until(lambda: not started.is_alive())
    assert set(seen) == {True}
    assert not watched.sampled()
    assert threads() <= before


def test_what_goes_wrong_inside_is_contained() -> None:
    """A failure of our own is counted, and the rules stay."""

    class Broken:
        name, interval = "broken", 60.0

        def fetch(self) -> bytes | None:
            raise RuntimeError("ours")

    watched = _Watched(Broken(), lambda data: of_file(data, "any"), 1.0)
    before = faults.counts().get("sampling: strategies", 0)
    watched.watch.look()
    watched.watch.close()
    assert faults.counts()["sampling: strategies"] == before + 1
    assert watched.sampled()


# -- URLs ---------------------------------------------------------------------------------------------------------


def test_url(watching: Callable[..., _Watched]) -> None:
    """A file behind a URL is asked for with what was said of the one before, and with the URL's credentials."""
    with scripted(answer(200, {"ETag": '"1"'}, _document(0.25).encode()), answer(304)) as server:
        url = server.endpoint.replace("http://", "http://user:p%40ss@") + "/strategies.json?key=secret"
        watched = watching(UrlSource(url))
        watched.say("25 %")
        first, second, *_ = server.wait(3)
        assert first.path == "/strategies.json?key=secret"
        assert first.headers["authorization"] == "Basic dXNlcjpwQHNz"
        assert "if-none-match" not in first.headers
        assert second.headers["if-none-match"] == '"1"'
        status = watched.watch.status()
        assert (status.source, status.problem) == (f"{server.endpoint}/strategies.json", "")
        server.then(answer(200, {}, _document(0.5).encode()))
        watched.say("50 %")


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        (answer(500), "answers 500"),
        (answer(404), "answers 404"),
        (answer(200, {}, b"<html>no</html>"), "line 1, column 1: "),
        (answer(200, {}, b"\xff\xfe"), "line 1: it is not UTF-8"),
        (answer(200, {}, b" " * (4 * 1024 * 1024 + 1)), "line 1: it is larger than "),
        (answer(302, {"Location": "http://user:pw@example.com/x?y"}), "redirects to 'http://example.com/x'"),
        (answer(307, {"Location": "/loop"}), "redirects to '/loop'"),
        (hang, "cannot be asked: no answer within"),
        (trickle, "cannot be asked: "),
        (trickle_headers, "cannot be asked: "),
        (reset(), "cannot be asked: "),
        (reset(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), ""),
        (reset(b"nonsense\r\n"), "cannot be asked: "),
    ],
)
def test_server_that_behaves_badly(
    action: Any, problem: str, watching: Callable[..., _Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a server does, what it said before counts, the status says why, and its recovery is seen."""
    monkeypatch.setattr(sources, "_ANSWER_SECONDS", 0.5)
    with scripted(answer(200, {}, _document(0).encode())) as server:
        watched = watching(UrlSource(server.url))
        watched.say("nothing")
        server.then(action)
        watched.fail(server.url, problem)
        assert not watched.sampled()
        server.then(answer(200, {}, _document(1).encode()))
        watched.say("everything")
        wait_until(lambda: watched.watch.status().problem == "")


def test_nobody_there(watching: Callable[..., _Watched]) -> None:
    """Where nobody listens the initial share counts, and the status says so."""
    with refused_port() as port:
        watched = watching(RemoteSource(f"http://127.0.0.1:{port}", "any", 1.0), of_answer, 0.0)
        watched.fail("Connection refused")
        assert not watched.sampled()


# -- Jaeger's protocol --------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("path", ["", "/", "/api/sampling", "/sampling"])
def test_our_collector(path: str, tmp_path: Path, watching: Callable[..., _Watched]) -> None:
    """A collector of ours is asked for the service's part of its file, at any of the usual paths."""
    file = tmp_path / "strategies.json"
    service = {"service": "a b&c", "type": "probabilistic", "param": 0}
    file.write_text(json.dumps({"service_strategies": [service]}))
    with running(tmp_path / "data", "--sampling-file", str(file)) as collector:
        watched = watching(RemoteSource(collector.pages + path, "a b&c", 1.0), of_answer, 1.0)
        watched.say("nothing")
        assert not watched.sampled()
        file.write_text(json.dumps({"service_strategies": [{**service, "param": 1}]}))
        watched.say("everything")
        assert watched.sampled()


def test_other_paths(watching: Callable[..., _Watched]) -> None:
    """A server that has only the other usual path is asked there; answers with numbers are understood."""
    said = json.dumps({"strategyType": 0, "probabilisticSampling": {"samplingRate": 0.125}}).encode()
    with scripted(answer(404), answer(200, {}, said)) as server:
        watched = watching(RemoteSource(server.endpoint, "svc", 1.0), of_answer, 1.0)
        watched.say("12.5 %")
        paths = [request.path for request in server.wait(3)]
        assert paths[:3] == ["/api/sampling?service=svc", "/sampling?service=svc", "/sampling?service=svc"]


def test_wrong_port_is_explained() -> None:
    """At a port for gRPC the problem says which port there is for HTTP."""
    source = RemoteSource("http://127.0.0.1:14250", "svc", 1.0)
    with pytest.raises(sources.SourceError, match=r"port 14250 is where gRPC is spoken.* 5778"):
        source.fetch()


def test_no_rest_is_left(tmp_path: Path) -> None:
    """A watch that was never used holds nothing open."""
    shutil.rmtree(tmp_path)
    watched = _Watched(FileSource(tmp_path / "none"), lambda data: of_file(data, "any"))
    watched.watch.close()
    assert watched.watch.status().problem == ""
