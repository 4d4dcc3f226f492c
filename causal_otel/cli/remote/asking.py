"""Asking a query API over HTTP: its answers, and what went wrong in words that help."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from causal_otel._internal.printable import printable
from causal_otel._internal.secrets import hide_credentials
from causal_otel.cli.stored import CommandError, UsageError
from causal_otel.collector.config import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

__all__ = ["Answer", "Asked"]

_CONNECT_SECONDS, _ANSWER_SECONDS = 10.0, 120.0
_MOST_BYTES = 512 * 1024 * 1024
_LONGEST_COMPLAINT = 200
_FOUND, _BAD, _MISSING = 200, 400, 404


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: an HTTP status that is 200, 400, 404 or 501, and the body."""

    status: int
    body: bytes

    @property
    def found(self) -> bool:
        """Whether it is what was asked for."""
        return self.status == _FOUND

    def document(self) -> Any:
        """The body as JSON has it; None: it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Asked:
    """A query API at an address, which all paths are below.

    Args:
        url: the address, such as ``http://127.0.0.1:16686``; it may have a path, and credentials for a proxy.
        token: is shown with every request, as Bearer; empty: none.
        timeout: how long connecting may take, and how long an answer, in seconds.

    Raises:
        UsageError: It is no such address.
    """

    def __init__(
        self, url: str, token: str, *, timeout: tuple[float, float] = (_CONNECT_SECONDS, _ANSWER_SECONDS)
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"--url: write an address such as http://127.0.0.1:16686, not {hide_credentials(url[:80])!r}"
            )
        self._url = url.rstrip("/")
        self._proxies = {"http": "", "https": ""} if is_loopback(parts.hostname) else {}
        self._token = token
        self._timeout = timeout
        self._session: requests.Session | None = None

    @property
    def shown(self) -> str:
        """The address without credentials."""
        return printable(hide_credentials(self._url))

    def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            self._session.close()

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None, *, accept: str = "") -> Answer:
        """Ask for a path.

        Args:
            path: begins with a slash.
            parameters: of the query.
            accept: the media type that is wanted; empty: JSON.

        Raises:
            CommandError: There is no answer, or one that no other question would change: no token, an overload.
        """
        import requests

        if self._session is None:
            self._session = requests.Session()
            if self._token:
                # As a function, so that neither a .netrc nor the address's own credentials come in its place.
                self._session.auth = self._authorized
        try:
            # Redirects are not followed: they would take the token to another place without anybody's saying so.
            with self._session.get(
                self._url + path,
                params=dict(parameters or {}),
                headers={"accept": accept or "application/json"},
                timeout=self._timeout,
                proxies=self._proxies,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(1024 * 1024):
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise CommandError(f"{self.shown} answers with more than {_MOST_BYTES >> 20} MiB: ask for less")
        except requests.exceptions.SSLError as error:
            raise CommandError(
                f"{self.shown}: its certificate is not trusted ({_innermost(error)}): "
                "give its authority's in REQUESTS_CA_BUNDLE"
            ) from None
        except requests.exceptions.RequestException as error:
            raise CommandError(
                f"{self.shown} does not answer ({_innermost(error)}): is it running, and is that its address?"
            ) from None
        return self._answer(response, bytes(body))

    def _authorized(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _answer(self, response: requests.Response, body: bytes) -> Answer:
        status = response.status_code
        if status in (_FOUND, _BAD, _MISSING, 501):
            return Answer(status, body)
        said = printable(body[:_LONGEST_COMPLAINT].decode("utf-8", "replace").strip())
        if status == 401:
            wrong = "does not take the token that is there" if self._token else "wants a token"
            raise CommandError(
                f"{self.shown} {wrong}: set CAUSAL_OTEL_COLLECTOR_TOKEN, or CAUSAL_OTEL_COLLECTOR_TOKEN_FILE"
            )
        if 300 <= status < 400:
            elsewhere = hide_credentials(printable(response.headers.get("location", "")))
            raise CommandError(f"{self.shown} sends elsewhere, to {elsewhere}: if that is right, give that address")
        raise CommandError(f"{self.shown} answers {status}{f': {said}' if said else ''}")


def _innermost(error: BaseException) -> str:
    """What is at the bottom of an error of requests, which quotes several layers of others."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        inner = next((each for each in error.args if isinstance(each, BaseException)), inner)
        if not isinstance(inner, BaseException):
            break
        error = inner
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(hide_credentials(str(told)), _LONGEST_COMPLAINT)
