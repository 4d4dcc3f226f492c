"""Answers are compressed where they may be, as a whole, and beside the event loop."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from causal_otel.collector.compression import Compression
from causal_otel.collector.web.templating import STATIC
from tests.collector.running import Running, running
from tests.patches.http_server import serve

TEXT = "a line of text\n" * 1000


def _app(path: Path) -> Compression:
    def text(request: Request) -> Response:
        return PlainTextResponse(TEXT)

    def small(request: Request) -> Response:
        return PlainTextResponse("small")

    def binary(request: Request) -> Response:
        return Response(TEXT, media_type="application/x-protobuf")

    def done(request: Request) -> Response:
        return Response(b"as it is" * 1000, media_type="text/plain", headers={"Content-Encoding": "br"})

    async def stream(request: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            for _ in range(3):
                yield TEXT

        return StreamingResponse(parts(), media_type="text/event-stream")

    def file(request: Request) -> Response:
        return FileResponse(path)

    answers = (text, small, binary, done, stream, file)
    return Compression(Starlette(routes=[Route(f"/{each.__name__}", each) for each in answers]))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("files") / "file.js"
    path.write_text(TEXT * 20)  # several parts
    with serve(_app(path)) as found:
        yield found


def _raw(url: str, accepted: str, method: str = "GET", **headers: str) -> tuple[httpx.Response, bytes]:
    given = {"accept-encoding": accepted, **{name.replace("_", "-"): value for name, value in headers.items()}}
    with httpx.stream(method, url, headers=given, trust_env=False) as response:
        return response, b"".join(response.iter_raw())


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*", "deflate;q=1, *;q=0.1"])
def test_who_accepts_gzip_gets_it(url: str, accepted: str) -> None:
    """The body is the same after decompression, a fraction of its length, and caches are told why."""
    response, raw = _raw(f"{url}/text", accepted)
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == "Accept-Encoding"
    assert int(response.headers["content-length"]) == len(raw) < len(TEXT) / 10
    assert gzip.decompress(raw).decode() == TEXT


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "*;q=1, gzip;q=0", "gzip;q=nonsense"])
def test_others_do_not(url: str, accepted: str) -> None:
    """Without gzip among what is accepted, the body is as it is; that it depends is told all the same."""
    response, raw = _raw(f"{url}/text", accepted)
    assert "content-encoding" not in response.headers
    assert (response.headers["vary"], raw.decode()) == ("Accept-Encoding", TEXT)


@pytest.mark.parametrize(
    ("path", "body"), [("small", b"small"), ("binary", TEXT.encode()), ("stream", TEXT.encode() * 3)]
)
def test_what_is_not_compressed(url: str, path: str, body: bytes) -> None:
    """Small answers, what is no text, and streams, whose parts must not wait, go out as they are."""
    response, raw = _raw(f"{url}/{path}", "gzip")
    assert ("content-encoding" in response.headers, raw) == (False, body)


def test_what_is_compressed_already_stays(url: str) -> None:
    """A body that has an encoding keeps it."""
    response, raw = _raw(f"{url}/done", "gzip")
    assert (response.headers["content-encoding"], raw) == ("br", b"as it is" * 1000)


def test_head_is_left_alone(url: str) -> None:
    """The answer to HEAD has no body to compress."""
    response, raw = _raw(f"{url}/text", "gzip", "HEAD")
    assert (response.status_code, raw, response.headers["content-length"]) == (200, b"", str(len(TEXT)))


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("traces")) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/status", "/openapi.json", "/metrics"])
def test_a_collectors_answers_are(collector: Running, path: str) -> None:
    """Pages, APIs and metrics of a real collector are compressed."""
    response, raw = _raw(collector.pages + path, "gzip")
    assert response.status_code == 200
    assert response.headers["content-encoding"] == "gzip"
    assert len(gzip.decompress(raw)) > len(raw)


def test_a_file_that_comes_in_parts_is(url: str) -> None:
    """A file is longer than what is read of it at a time, and is compressed as a whole."""
    response, raw = _raw(f"{url}/file", "gzip")
    assert (response.headers["content-encoding"], int(response.headers["content-length"])) == ("gzip", len(raw))
    assert gzip.decompress(raw).decode() == TEXT * 20
    assert _raw(f"{url}/file", "identity")[1].decode() == TEXT * 20


@pytest.mark.parametrize("name", ["base.css", "rows.js", "icon.svg"])
def test_static_files_are(collector: Running, name: str) -> None:
    """Scripts, styles and pictures are compressed for whoever accepts it, and go to others as they are."""
    contents = (STATIC / name).read_bytes()
    small = len(contents) < 1000
    for accepted in ("gzip", "identity"):
        response, raw = _raw(f"{collector.pages}/static/{name}", accepted)
        assert response.headers["vary"] == "Accept-Encoding"
        assert int(response.headers["content-length"]) == len(raw)
        compressed = response.headers.get("content-encoding") == "gzip"
        assert compressed == (accepted == "gzip" and not small)
        assert (gzip.decompress(raw) if compressed else raw) == contents


def test_tags_of_compressed_files(collector: Running) -> None:
    """The compressed file has a weak tag and no ranges; either form's tag is answered with 304, which says Vary too."""
    path = f"{collector.pages}/static/base.css"
    plain, _ = _raw(path, "identity")
    compressed, _ = _raw(path, "gzip")
    assert (plain.headers["accept-ranges"], compressed.headers["accept-ranges"]) == ("bytes", "none")
    assert compressed.headers["etag"] == f"W/{plain.headers['etag']}"
    for tag in (plain.headers["etag"], compressed.headers["etag"]):
        for accepted in ("identity", "gzip"):
            again, raw = _raw(path, accepted, if_none_match=tag)
            assert (again.status_code, raw, again.headers["vary"]) == (304, b"", "Accept-Encoding")
    part, raw = _raw(path, "gzip", range="bytes=0-99")
    assert (part.status_code, "content-encoding" in part.headers, len(raw)) == (206, False, 100)
