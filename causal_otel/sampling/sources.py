"""Where strategies come from: a file, a URL, or a server of Jaeger's remote sampling. Asked again and again."""

from __future__ import annotations

import base64
import http.client
import os
import stat
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from causal_otel.strategies import FILE_LIMIT
from causal_otel.transports._http_deadline import bounded
from causal_otel.transports.transport import importing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileSource", "RemoteSource", "Source", "SourceError", "UrlSource"]

_FILE_SECONDS, _URL_SECONDS = 1.5, 3.0  # a change is to be seen within five
_ANSWER_SECONDS = 5.0
_SETTLED_SECONDS = 2.0  # a file may be written twice within what its time can tell apart
_GRPC_PORTS = (5779, 14250)
_SAMPLING_PATHS = ("/api/sampling", "/sampling")


class SourceError(Exception):
    """The source cannot be read now. The message says why, without credentials."""


class Source(Protocol):
    """Where strategies come from."""

    name: str
    """For people, without credentials."""
    interval: float
    """After how many seconds it is asked again."""

    def fetch(self) -> bytes | None:
        """What it says; None: the same as before.

        Raises:
            SourceError: nothing, at the moment.
        """


class FileSource:
    """A file. It may be replaced, or written in place."""

    interval = _FILE_SECONDS

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def fetch(self) -> bytes | None:
        """See :class:`Source`."""
        seen, self._seen = self._seen, None  # to look again, should something be wrong
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):  # opening a pipe would wait for its writer
                raise SourceError(f"cannot read {self.name}: it is no regular file")
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                state = found.st_mtime_ns, found.st_size, found.st_ino
                data = None if state == seen else file.read(FILE_LIMIT + 1)
        except OSError as error:
            raise SourceError(f"cannot read {self.name}: {error.strerror or error}") from None
        if abs(time.time() - found.st_mtime) > _SETTLED_SECONDS:
            self._seen = state
        return data


class UrlSource:
    """A strategies file behind a URL. Redirects are not followed."""

    interval = _URL_SECONDS

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = _public(url)
        self._headers: dict[str, str] = {}
        self._validators: dict[str, str] = {}

    def fetch(self) -> bytes | None:
        """See :class:`Source`."""
        status, headers, body = _get(self._url, self._validators)
        if status == 304:
            return None
        _check(self.name, status, headers)
        pairs = {"If-None-Match": headers.get("ETag"), "If-Modified-Since": headers.get("Last-Modified")}
        self._validators = {name: value for name, value in pairs.items() if value}
        return body


class RemoteSource:
    """A server of Jaeger's remote sampling protocol over HTTP: Jaeger, the OpenTelemetry Collector, or our collector.

    Args:
        endpoint: its URL; if it has no path, ``/api/sampling`` and ``/sampling`` are tried.
        service: whose strategies to ask for.
        interval: in seconds.
    """

    def __init__(self, endpoint: str, service: str, interval: float) -> None:
        self.name = _public(endpoint)
        self.interval = interval
        parts = urlsplit(endpoint)
        query = "&".join(filter(None, (parts.query, f"service={quote(service, safe='')}")))
        paths = _SAMPLING_PATHS if parts.path in ("", "/") else (parts.path,)
        self._urls = [parts._replace(path=path, query=query, fragment="").geturl() for path in paths]
        self._hint = ""
        if parts.port in _GRPC_PORTS:
            self._hint = f" (port {parts.port} is where gRPC is spoken, this is HTTP: Jaeger's port for that is 5778)"

    def fetch(self) -> bytes | None:
        """See :class:`Source`."""
        try:
            status, headers, body = _get(self._urls[0], {})
            if status == 404 and len(self._urls) > 1:
                self._urls.append(self._urls.pop(0))
                status, headers, body = _get(self._urls[0], {})
            _check(self.name, status, headers)
        except SourceError as error:
            raise SourceError(f"{error}{self._hint}") from None
        return body


def _public(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _check(name: str, status: int, headers: Any) -> None:
    if 300 <= status < 400:
        target = _public(headers.get("Location") or "")
        raise SourceError(f"{name} redirects to {target!r}: set that URL if it is right")
    if status != 200:
        raise SourceError(f"{name} answers {status}")


def _get(url: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
    """Status, headers and body of an answer that arrives completely within some seconds."""
    with importing.held():
        import urllib.error
        import urllib.request

    deadline = time.monotonic() + _ANSWER_SECONDS

    plain: Any = bounded(http.client.HTTPConnection, lambda: deadline)
    encrypted: Any = bounded(http.client.HTTPSConnection, lambda: deadline)

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: Any) -> Any:
            return self.do_open(plain, request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: Any) -> Any:
            return self.do_open(encrypted, request)

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    if credentials:
        encoded = base64.b64encode(unquote(credentials).encode()).decode()
        headers = {**headers, "Authorization": f"Basic {encoded}"}
    request = urllib.request.Request(parts._replace(netloc=host, fragment="").geturl(), headers=headers)  # noqa: S310
    opener = urllib.request.build_opener(Http, Https, Stay)
    try:
        try:
            answer = opener.open(request, timeout=_ANSWER_SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status or 0, answer.headers, answer.read(FILE_LIMIT + 1)
    except TimeoutError:
        reason = f"no answer within {_ANSWER_SECONDS:g} s"
    except urllib.error.URLError as error:
        cause = error.reason
        reason = (isinstance(cause, OSError) and cause.strerror) or str(cause)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    raise SourceError(f"{_public(url)} cannot be asked: {reason}")
