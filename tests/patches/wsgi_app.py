"""A WSGI application that behaves in every way one needs, and calls of it without a server."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import causal_otel
from tests.waiting import pause

__all__ = ["CLOSED", "WAIT", "Answer", "app", "ask", "make_environ"]

WAIT = 0.02
CLOSED: list[str] = []
"""The paths of responses that were closed."""


class Parts:
    """A body that is closed, and knows how many parts it has."""

    def __init__(self, path: str, parts: Iterable[bytes], fails: bool = False) -> None:
        self._path, self._parts, self._fails = path, list(parts), fails

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            with causal_otel.span("part"):
                pass
            yield part

    def close(self) -> None:
        """Note it, or fail."""
        CLOSED.append(self._path)
        with causal_otel.span("close"):
            pass
        if self._fails:
            raise LookupError("too late")


def _generated(path: str, fails_at: int | None = None) -> Iterator[bytes]:
    try:
        for number in range(3):
            if number == fails_at:
                raise ValueError("went wrong")
            with causal_otel.span("part"):
                pause(WAIT)
            yield b"x" * 100
    finally:
        CLOSED.append(path)


def _spanning() -> Iterator[bytes]:
    """A block that lasts over several parts."""
    with causal_otel.span("block"):
        yield b"one"
        with causal_otel.span("inside"):
            yield b"two"
    with causal_otel.span("outside"):
        yield b"three"


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The application."""
    path: str = environ["PATH_INFO"]
    kind, _, argument = path.strip("/").partition("/")
    text = [("Content-Type", "text/plain")]
    if kind == "boom":
        raise ValueError("went wrong")
    if kind == "exit":
        raise SystemExit("enough")
    if kind == "silent":
        return Parts(path, [])
    if kind == "told":  # an error handler that tells the server of the exception
        try:
            start_response("200 OK", text)
            raise ValueError("went wrong")
        except ValueError:
            start_response("500 Internal Server Error", text, sys.exc_info())
        return Parts(path, [b"sorry"])
    if kind == "events":
        text = [("Content-Type", "text/event-stream")]
    status = argument if kind == "status" else "200"
    write = start_response(f"{status} {'X' if status != '200' else 'OK'}", text)
    with causal_otel.span("work"):
        pause(WAIT)
    if kind == "write":
        write(b"written")
        return Parts(path, [])
    if kind == "file":
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100_000), 1000)
        return result
    bodies: dict[str, Callable[[], Iterable[bytes]]] = {
        "stream": lambda: _generated(path),
        "events": lambda: _generated(path),
        "broken": lambda: _generated(path, 1),
        "unsent": lambda: _generated(path, 0),
        "block": _spanning,
        "late": lambda: Parts(path, [b"all"], fails=True),
        "list": lambda: [b"text"],
    }
    return bodies.get(kind, lambda: Parts(path, [b"text"]))()


class Answer:
    """What an application has answered to :func:`ask`."""

    status = ""
    headers: dict[str, str]
    body = b""
    written = b""
    result: Any = None

    def start(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        """A server's ``start_response``."""
        self.status, self.headers = status, dict(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """A server's ``write``."""
        self.written += data


def make_environ(path: str = "/", **environ: Any) -> dict[str, Any]:
    """The environ of a request."""
    path, _, query = path.partition("?")
    found: dict[str, Any] = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, **environ}
    setup_testing_defaults(found)
    return found


def ask(of: Any, path: str = "/", parts: int | None = None, *, valid: bool = True, **environ: Any) -> Answer:
    """Call an application as a server does, and check that it keeps to PEP 3333.

    Args:
        of: the application.
        path: with the query.
        parts: how many parts of the body are asked for; None: all of them.
        valid: whether it is checked; not where the application is to do what it should not.
        environ: what else is in the environ.
    """
    answer = Answer()
    answer.result = result = (validator(of) if valid else of)(make_environ(path, **environ), answer.start)
    try:
        for number, part in enumerate(result):
            answer.body += part
            if number + 1 == parts:
                break
    finally:
        if hasattr(result, "close"):
            result.close()
    return answer
