"""OTLP/HTTP: our bytes through the official exporter's session, one attempt at a time."""

from __future__ import annotations

import gzip
import time
import zlib
from typing import TYPE_CHECKING, Any

from causal_otel.transports._http_answers import Answer, understood
from causal_otel.transports._http_deadline import bounded
from causal_otel.transports._http_failures import innermost, no_answer
from causal_otel.transports.transport import Outcome, Verdict, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

__all__ = ["HttpTransport"]

_ANSWER_BYTES = 64 * 1024
"""How much of an answer is read: it may be anything, and is kept in memory."""


class HttpTransport:
    """Posts requests to ``url``, with one session that keeps its connection.

    Redirects are not followed: they would take headers with credentials to another place without anybody's saying so.

    Args:
        url: all of it, with ``/v1/traces``.
        signal: what is sent: ``metrics`` have an official exporter of their own, ``traces`` and ``logs`` share one.
        headers: of every request.
        compression: ``none``, ``gzip`` or ``deflate``.
        certificate: the file of the CA certificates to check the server's against; empty: those that requests trusts.
        client_certificate: the file of our own; empty: none.
        client_key: the file of its key; empty: it is in the same file.

    Attributes:
        proxy: the URL of the proxy in between, without credentials; empty: there is none.
        date: the header Date of the last answer, for who compares clocks; empty: it had none.
    """

    def __init__(
        self,
        url: str,
        *,
        signal: str = "traces",
        headers: Mapping[str, str] | None = None,
        compression: str = "none",
        certificate: str = "",
        client_certificate: str = "",
        client_key: str = "",
    ) -> None:
        self._url = url
        self._signal = signal
        self._files = (certificate, client_certificate, client_key)
        self._compress = _COMPRESSIONS[compression]
        self._given_headers = {key.lower(): value for key, value in (headers or {}).items()}
        self._encoding = compression
        self._proven = False
        self._deadline = 0.0
        self._pool: Any = None
        self.date = self.proxy = ""
        self._load()

    def _load(self) -> None:
        """Make the session, and import whatever a request and its answer may need."""
        import requests
        import urllib3
        from google.rpc import status_pb2  # type: ignore[import-untyped]  # noqa: F401
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: F401

        self._timeouts = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
        self._session, self._headers = self._official() or self._own()
        if self._compress is not None:
            self._headers.setdefault("content-encoding", self._encoding)
        # Proxies and certificates: what the session would take from the environment anew for each request.
        self._surroundings = self._session.merge_environment_settings(self._url, {}, None, None, None)
        self._surroundings.pop("stream")
        self.proxy = without_credentials(requests.utils.select_proxy(self._url, self._surroundings["proxies"]) or "")
        if isinstance(self._session.verify, str):  # a file, ours or of OTEL_EXPORTER_OTLP_CERTIFICATE
            self._surroundings["verify"] = self._session.verify  # requests would prefer REQUESTS_CA_BUNDLE
        self._post_body = self._direct_post() or self._through_session

    def _direct_post(self) -> Callable[[bytes, float], Any] | None:
        """A function that posts through the session's pool of connections, with its TLS and proxies, and no more of it.

        For each batch the session would build the same request, look for cookies and redirects, and choose the same
        pool, which is half the cost of posting. None if the session may do more: that of a credential provider may sign
        each request, or be of another class.
        """
        import requests
        from urllib3.util import Timeout

        session = self._session
        adapter: Any = session.get_adapter(self._url)
        find_pool = getattr(adapter, "get_connection_with_tls_context", None)  # requests 2.32
        plain = type(session) is requests.Session and type(adapter) is requests.adapters.HTTPAdapter
        if not plain or find_pool is None or session.auth is not None or any(session.hooks.values()):
            return None
        # Prepared once: this is where credentials in the URL or in a .netrc become a header.
        request = session.prepare_request(requests.Request("POST", self._url, headers=self._headers))
        proxies, verify, cert = (self._surroundings[name] for name in ("proxies", "verify", "cert"))
        pool = self._pool = find_pool(request, verify, proxies, cert)
        pool.ConnectionCls = bounded(pool.ConnectionCls, lambda: self._deadline)
        target, headers = adapter.request_url(request, proxies), dict(request.headers)

        def post(body: bytes, seconds: float) -> Any:
            headers["Content-Length"] = str(len(body))
            return pool.urlopen(
                "POST",
                target,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(total=seconds),
                preload_content=False,
                decode_content=False,
            )

        return post

    def _through_session(self, body: bytes, seconds: float) -> Any:
        return self._session.post(
            self._url,
            data=body,
            headers=self._headers,
            timeout=seconds,
            stream=True,
            allow_redirects=False,
            **self._surroundings,
        ).raw

    def _official(self) -> tuple[requests.Session, dict[str, str]] | None:
        """The official exporter's session (TLS, credential provider) and headers; None where they are elsewhere."""
        import requests
        from opentelemetry.exporter.otlp.proto.http import Compression

        kind: Any
        if self._signal == "metrics":
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as kind
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as kind

        certificate, client_certificate, client_key = self._files
        exporter: Any = kind(
            endpoint=self._url,
            certificate_file=certificate or None,
            client_certificate_file=client_certificate or None,
            client_key_file=client_key or None,
            headers=self._given_headers,
            compression=Compression.NoCompression,
        )
        client = getattr(exporter, "_client", exporter)  # older versions have it all in the exporter itself
        session = getattr(getattr(client, "_transport", client), "_session", None)
        headers = getattr(client, "_headers", None)
        if not isinstance(session, requests.Session) or not headers:
            return None
        return session, {str(key).lower(): str(value) for key, value in {**session.headers, **headers}.items()}

    def _own(self) -> tuple[requests.Session, dict[str, str]]:
        import requests

        session = requests.Session()
        certificate, client_certificate, client_key = self._files
        session.verify = certificate or True
        if client_certificate:
            session.cert = (client_certificate, client_key) if client_key else client_certificate
        return session, {"content-type": "application/x-protobuf", **self._given_headers}

    def send(self, payload: bytes, deadline: float) -> Outcome:
        """Post one request.

        The other side may have closed an idle connection, which shows only when it is used: such a request is repeated
        at once.
        """
        body = payload if self._compress is None else self._compress(payload)
        for reused in (self._proven, False):
            try:
                return self._post(body, deadline)
            except Exception as error:
                failure, cause = error, innermost(error)
            self._proven = False
            if not (reused and isinstance(cause, ConnectionError)):
                break
        return no_answer(failure, self._url, self.proxy, late=isinstance(cause, self._timeouts))

    def _post(self, body: bytes, deadline: float) -> Outcome:
        left = deadline - time.monotonic()
        if left <= 0:
            return Outcome(Verdict.UNREACHABLE, "timeout", "no time left")
        self._deadline = deadline
        answer = self._post_body(body, left)
        try:
            self._proven = True
            self.date = answer.headers.get("date", "")
            read = self._read(answer, deadline)
            return understood(Answer(answer.status, str(answer.reason or ""), answer.headers, *read), self.proxy)
        finally:
            answer.close()  # which closes the connection, if not all of the answer was read

    def _read(self, answer: Any, deadline: float) -> tuple[bytes, bool]:
        """The answer's body, or what has come of it, and whether that is all."""
        # read() waits until it has all it was asked for, however slowly that comes.
        read: Callable[[int], bytes] = getattr(answer, "read1", None) or answer.read
        body = b""
        try:
            while len(body) < _ANSWER_BYTES and time.monotonic() < deadline:
                piece = read(_ANSWER_BYTES)
                if not piece:
                    return body, True
                body += piece
        except Exception:
            return body, False
        return body, False

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()
        # The session only drops its reference; connections of a pool that is referenced elsewhere stay open.
        if self._pool is not None:
            self._pool.close()

    def abandon(self) -> None:
        """Forget the inherited connections: closing a descriptor here neither sends anything nor ends the parent's.

        The parent's thread may have held the lock of urllib3's queue of connections when it forked, and nobody in
        this process would ever release it: the queue is made anew in place, for its finalizer to find at exit.
        """
        for adapter in self._session.adapters.values():
            managers = [getattr(adapter, "poolmanager", None), *getattr(adapter, "proxy_manager", {}).values()]
            for manager in managers:
                pools = getattr(getattr(manager, "pools", None), "_container", {})
                for pool in pools.values():
                    connections = getattr(pool, "pool", None)
                    if connections is not None:
                        for connection in filter(None, connections.queue):
                            connection.close()
                        connections.__init__(connections.maxsize)


def _gzip(payload: bytes) -> bytes:
    return gzip.compress(payload, 6, mtime=0)


_COMPRESSIONS: dict[str, Callable[[bytes], bytes] | None] = {"none": None, "gzip": _gzip, "deflate": zlib.compress}
